#include "host/vmm/argv.h"

#include "core/cleanup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes text over; NULL is an allocation that failed. */
static void add_owned(struct argv *argv, char *text)
{
    char **items = NULL;
    if (text != NULL && !argv->failed) {
        items = realloc(argv->items, (argv->count + 2) * sizeof *items);
    }
    if (items == NULL) {
        free(text);
        argv->failed = true;
        return;
    }
    items[argv->count++] = text;
    items[argv->count] = NULL;
    argv->items = items;
}

void argv_add(struct argv *argv, const char *text)
{
    add_owned(argv, strdup(text));
}

void argv_addf(struct argv *argv, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int len = vasprintf(&text, fmt, ap);
    va_end(ap);
    add_owned(argv, len < 0 ? NULL : text);
}

void argv_free(struct argv *argv)
{
    for (size_t i = 0; i < argv->count; i++) {
        free(argv->items[i]);
    }
    free(argv->items);
    *argv = ARGV_INIT;
}

char **argv_take(struct argv *argv)
{
    if (argv->failed) {
        return NULL;
    }
    char **items = TAKE_PTR(argv->items);
    *argv = ARGV_INIT;
    return items;
}
