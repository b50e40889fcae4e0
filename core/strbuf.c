#include "core/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct strbuf *b, size_t more)
{
    if (b->failed) {
        return false;
    }
    if (b->data != NULL && b->size - b->len > more) {
        return true;
    }
    size_t size = b->size == 0 ? 64 : b->size;
    while (size - b->len <= more) {
        size *= 2;
    }
    char *data = realloc(b->data, size);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->size = size;
    return true;
}

void strbuf_add_bytes(struct strbuf *b, const void *bytes, size_t len)
{
    if (make_room(b, len)) {
        if (len > 0) {
            memcpy(b->data + b->len, bytes, len);
        }
        b->len += len;
        b->data[b->len] = '\0';
    }
}

void strbuf_add(struct strbuf *b, const char *text)
{
    strbuf_add_bytes(b, text, strlen(text));
}

void strbuf_add_char(struct strbuf *b, char c)
{
    strbuf_add_bytes(b, &c, 1);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len >= 0 && make_room(b, (size_t)len)) {
        (void)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

void strbuf_reset(struct strbuf *b)
{
    b->len = 0;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

void strbuf_free(struct strbuf *b)
{
    free(b->data);
    *b = STRBUF_INIT;
}

char *strbuf_take(struct strbuf *b)
{
    if (b->data == NULL) {
        strbuf_add(b, "");
    }
    if (b->failed) {
        strbuf_free(b);
        return NULL;
    }
    char *data = b->data;
    *b = STRBUF_INIT;
    return data;
}
