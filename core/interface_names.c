#include "core/interface_names.h"

#include <stdio.h>
#include <string.h>

static size_t position(const struct interface_names *names, const char *name)
{
    size_t i = 0;
    while (i < names->count && strcmp(names->items[i], name) != 0) {
        i++;
    }
    return i;
}

bool interface_names_have(const struct interface_names *names, const char *name)
{
    return position(names, name) < names->count;
}

bool interface_names_add(struct interface_names *names, const char *name)
{
    if (interface_names_have(names, name)) {
        return true;
    }
    if (names->count == INTERFACE_NAMES_MAX || strlen(name) >= INTERFACE_NAME_MAX) {
        return false;
    }
    (void)snprintf(names->items[names->count++], INTERFACE_NAME_MAX, "%s", name);
    return true;
}

void interface_names_remove(struct interface_names *names, const char *name)
{
    size_t i = position(names, name);
    if (i < names->count) {
        names->count--;
        memmove(names->items[i], names->items[i + 1], (names->count - i) * sizeof names->items[0]);
    }
}

bool interface_names_within(const struct interface_names *names, const struct interface_names *all)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!interface_names_have(all, names->items[i])) {
            return false;
        }
    }
    return true;
}

bool interface_names_equal(const struct interface_names *a, const struct interface_names *b)
{
    return a->count == b->count && interface_names_within(a, b);
}

char *interface_names_format(const struct interface_names *names, char *buf)
{
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < names->count; i++) {
        used += (size_t)snprintf(buf + used, INTERFACE_NAMES_TEXT_MAX - used, "%s%s", i > 0 ? " " : "", names->items[i]);
    }
    return buf;
}

void interface_names_parse(const char *text, struct interface_names *ret)
{
    memset(ret, 0, sizeof *ret);
    for (const char *c = text + strspn(text, " "); *c != '\0'; c += strspn(c, " ")) {
        char name[INTERFACE_NAME_MAX];
        size_t len = strcspn(c, " ");
        if (len < sizeof name) {
            memcpy(name, c, len);
            name[len] = '\0';
            (void)interface_names_add(ret, name);
        }
        c += len;
    }
}
