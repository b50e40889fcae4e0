/*
 * Records: a struct, and a table that tells each of its fields: type, range, length, pattern. By the table it is written as bytes, read back,
 * checked and freed. What crosses the border between the keeper, who is believed nothing, and the worker is records and nothing else
 * (core/message.h).
 *
 * The bytes: the fields in the order of the table, each with its type in one byte. An integer has 8 bytes (little-endian); a text, a blob or a list has a
 * length in 4 bytes, of bytes or of elements, RECORD_NULL for an optional one that is NULL; then come these. Both ends are the same program.
 *
 * Two kinds of faults are told apart. Bytes that are no record (a wrong type, a length beyond the end, something behind the end) fail as a whole: BAD_REQUEST,
 * the other end is broken. A value that its field does not allow is ROW_DAMAGED, with the field's name and never the value; in a list whose
 * elements are looked at one by one (`spare`), only that element is left out, and told. So it is with more elements than a list may have: those behind
 * the last one that has room are left out, and the first of them is told; a list without `spare` is damaged by them.
 *
 * Pure functions, any thread.
 */
#ifndef SMARTVM_CORE_RECORD_H
#define SMARTVM_CORE_RECORD_H

#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

enum record_type {
    RECORD_INT = 1, /* int64_t */
    RECORD_UINT32,  /* uint32_t */
    RECORD_UINT16,  /* uint16_t */
    RECORD_UINT8,   /* uint8_t */
    RECORD_ENUM,    /* an enum, whose first value is 0 */
    RECORD_BOOL,    /* bool */
    RECORD_NAME,    /* char[size], terminated */
    RECORD_TEXT,    /* char *, owned, terminated: no NUL within */
    RECORD_BYTES,   /* uint8_t[size] */
    RECORD_BLOB,    /* uint8_t *, owned; its length is a size_t at `count_offset` */
    RECORD_LIST,    /* elements of `of`, owned; how many is a size_t at `count_offset` */
    RECORD_ARRAY,   /* the same, but they lie in the struct itself, which has room for `max` */
    RECORD_TYPE_COUNT_
};

struct record_field {
    const char *name;
    enum record_type type;
    size_t offset;
    size_t size;                     /* RECORD_NAME and RECORD_BYTES: of the array; RECORD_LIST and RECORD_ARRAY: of an element */
    size_t count_offset;             /* RECORD_BLOB, RECORD_LIST and RECORD_ARRAY */
    int64_t min, max;                /* of an integer's value, an enum's too; of bytes of a text or blob; of elements of a list */
    bool optional;                   /* RECORD_TEXT and RECORD_BLOB: may be NULL */
    bool spare;                      /* RECORD_LIST and RECORD_ARRAY: an element that does not fit is left out */
    bool (*valid)(const char *text); /* RECORD_NAME and RECORD_TEXT: a pattern; NULL: any text */
    const struct record_table *of;   /* RECORD_LIST and RECORD_ARRAY */
};

/* Of a table of fields: {RECORD_FIELD(vm_row, id), .type = …}, the field's name being the member's. */
#define RECORD_FIELD(struct_name, member) .name = #member, .offset = offsetof(struct struct_name, member)

struct record_table {
    const char *name;
    size_t size; /* of the struct */
    const struct record_field *fields;
    size_t field_count;
};

#define RECORD_NULL UINT32_MAX

/* Bytes being written. After an allocation failure `failed` is set, and every later call does nothing. */
struct record_bytes {
    uint8_t *data; /* owned */
    size_t len, size;
    bool failed;
};
void record_bytes_free(struct record_bytes *bytes); /* harmless on zeroes */
#define AUTO_RECORD_BYTES __attribute__((cleanup(record_bytes_free))) struct record_bytes

void record_write(const struct record_table *table, const void *record, struct record_bytes *bytes);

/* An element of a list was left out: `key` is its first text or name as far as it could be read, "" when it has none. */
typedef void record_spared_fn(void *ctx, const char *list, const char *key, const struct error *why);

/* *ret is zeroed first, and is again after a failure; else to be freed with record_free(). `spared` may be NULL. */
int record_read(const struct record_table *table, const uint8_t *data, size_t len, void *ret, record_spared_fn *spared, void *ctx, struct error *err);

/* What it points to; leaves it zeroed. Harmless on zeroes. */
void record_free(const struct record_table *table, void *record);

/* Is the value of each field allowed? For the sender's own tests; record_read() asks the same. */
int record_check(const struct record_table *table, const void *record, struct error *err);

#endif
