/*
 * A growing text buffer. It never fails half-way: after an allocation failure `failed` is set, every later call does
 * nothing, and the caller checks once, at the end. `data` is always terminated, and NULL only while nothing was added.
 */
#ifndef SMARTVM_CORE_STRBUF_H
#define SMARTVM_CORE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
    char *data; /* owned */
    size_t len;
    size_t size;
    bool failed;
};

#define STRBUF_INIT ((struct strbuf){NULL, 0, 0, false})

void strbuf_add(struct strbuf *b, const char *text);
void strbuf_add_bytes(struct strbuf *b, const void *bytes, size_t len);
void strbuf_add_char(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_reset(struct strbuf *b); /* keeps the memory */
void strbuf_free(struct strbuf *b);
/* Hands the text over to the caller, who frees it; NULL after an allocation failure. An empty buffer gives "". */
char *strbuf_take(struct strbuf *b);

#define AUTO_STRBUF __attribute__((cleanup(strbuf_free))) struct strbuf

#endif
