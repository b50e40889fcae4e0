#include "core/record.h"

#include "core/cleanup.h"

#include <string.h>

enum { BYTES_FIRST = 256, KEY_MAX = 64 };

void record_bytes_free(struct record_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct record_bytes){.data = NULL};
}

static void put(struct record_bytes *bytes, const void *data, size_t len)
{
    if (bytes->failed) {
        return;
    }
    if (len > bytes->size - bytes->len) {
        size_t size = bytes->size > 0 ? bytes->size : BYTES_FIRST;
        while (len > size - bytes->len) {
            size *= 2;
        }
        uint8_t *grown = realloc(bytes->data, size);
        if (grown == NULL) {
            bytes->failed = true;
            return;
        }
        bytes->data = grown;
        bytes->size = size;
    }
    if (len > 0) {
        memcpy(bytes->data + bytes->len, data, len);
        bytes->len += len;
    }
}

static void put_number(struct record_bytes *bytes, uint64_t value, size_t len)
{
    uint8_t buf[8];
    for (size_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)(value >> (8 * i));
    }
    put(bytes, buf, len);
}

static const uint8_t *member(const struct record_field *field, const void *record)
{
    return (const uint8_t *)record + field->offset;
}

static uint8_t *member_of(const struct record_field *field, void *record)
{
    return (uint8_t *)record + field->offset;
}

static size_t count_of(const struct record_field *field, const void *record)
{
    size_t count;
    memcpy(&count, (const uint8_t *)record + field->count_offset, sizeof count);
    return count;
}

static const void *pointer_of(const struct record_field *field, const void *record)
{
    void *pointer;
    memcpy(&pointer, member(field, record), sizeof pointer);
    return pointer;
}

static bool is_list(const struct record_field *field)
{
    return field->type == RECORD_LIST || field->type == RECORD_ARRAY;
}

/* The first element of a list; NULL when there is none. */
static const uint8_t *elements_of(const struct record_field *field, const void *record)
{
    return field->type == RECORD_ARRAY ? member(field, record) : pointer_of(field, record);
}

/* The value of a field that is a number. */
static int64_t number_of(const struct record_field *field, const void *record)
{
    const uint8_t *at = member(field, record);
    union {
        int64_t i64;
        uint32_t u32;
        uint16_t u16;
        uint8_t u8;
        unsigned e;
        bool b;
    } value = {.i64 = 0};
    switch (field->type) {
    case RECORD_INT:
        memcpy(&value.i64, at, sizeof value.i64);
        return value.i64;
    case RECORD_UINT32:
        memcpy(&value.u32, at, sizeof value.u32);
        return value.u32;
    case RECORD_UINT16:
        memcpy(&value.u16, at, sizeof value.u16);
        return value.u16;
    case RECORD_UINT8:
        memcpy(&value.u8, at, sizeof value.u8);
        return value.u8;
    case RECORD_ENUM:
        memcpy(&value.e, at, sizeof value.e);
        return value.e;
    case RECORD_BOOL:
        memcpy(&value.b, at, sizeof value.b);
        return value.b ? 1 : 0;
    case RECORD_NAME:
    case RECORD_TEXT:
    case RECORD_BYTES:
    case RECORD_BLOB:
    case RECORD_LIST:
    case RECORD_ARRAY:
    case RECORD_TYPE_COUNT_:
        break;
    }
    return 0;
}

/* `value` is in the range of its type. */
static void set_number(const struct record_field *field, void *record, int64_t value)
{
    uint8_t *at = member_of(field, record);
    const uint32_t u32 = (uint32_t)value;
    const uint16_t u16 = (uint16_t)value;
    const uint8_t u8 = (uint8_t)value;
    const unsigned e = (unsigned)value;
    const bool b = value != 0;
    switch (field->type) {
    case RECORD_INT:
        memcpy(at, &value, sizeof value);
        break;
    case RECORD_UINT32:
        memcpy(at, &u32, sizeof u32);
        break;
    case RECORD_UINT16:
        memcpy(at, &u16, sizeof u16);
        break;
    case RECORD_UINT8:
        memcpy(at, &u8, sizeof u8);
        break;
    case RECORD_ENUM:
        memcpy(at, &e, sizeof e);
        break;
    case RECORD_BOOL:
        memcpy(at, &b, sizeof b);
        break;
    case RECORD_NAME:
    case RECORD_TEXT:
    case RECORD_BYTES:
    case RECORD_BLOB:
    case RECORD_LIST:
    case RECORD_ARRAY:
    case RECORD_TYPE_COUNT_:
        break;
    }
}

/* What is too long anyway is cut behind the byte by which that is seen: one row does not fill a message. */
static size_t bytes_of(const struct record_field *field, size_t len)
{
    return (int64_t)len > field->max ? (size_t)field->max + 1 : len;
}

static void write_field(const struct record_field *field, const void *record, struct record_bytes *bytes)
{
    put_number(bytes, field->type, 1);
    const void *pointer = NULL;
    size_t len = 0;
    switch (field->type) {
    case RECORD_INT:
    case RECORD_UINT32:
    case RECORD_UINT16:
    case RECORD_UINT8:
    case RECORD_ENUM:
    case RECORD_BOOL:
        put_number(bytes, (uint64_t)number_of(field, record), 8);
        return;
    case RECORD_NAME:
        pointer = member(field, record);
        len = strnlen(pointer, field->size);
        break;
    case RECORD_TEXT:
        pointer = pointer_of(field, record);
        len = pointer != NULL ? bytes_of(field, strlen(pointer)) : 0;
        break;
    case RECORD_BYTES:
        put(bytes, member(field, record), field->size);
        return;
    case RECORD_BLOB:
        pointer = pointer_of(field, record);
        len = pointer != NULL ? bytes_of(field, count_of(field, record)) : 0;
        break;
    case RECORD_LIST:
    case RECORD_ARRAY:
        len = count_of(field, record);
        put_number(bytes, len, 4);
        for (size_t i = 0; i < len; i++) {
            record_write(field->of, elements_of(field, record) + i * field->size, bytes);
        }
        return;
    case RECORD_TYPE_COUNT_:
        return;
    }
    put_number(bytes, pointer != NULL ? len : RECORD_NULL, 4);
    put(bytes, pointer, len);
}

void record_write(const struct record_table *table, const void *record, struct record_bytes *bytes)
{
    for (size_t i = 0; i < table->field_count; i++) {
        write_field(&table->fields[i], record, bytes);
    }
}

void record_free(const struct record_table *table, void *record)
{
    for (size_t i = 0; i < table->field_count; i++) {
        const struct record_field *field = &table->fields[i];
        if (is_list(field)) {
            uint8_t *elements = (uint8_t *)(uintptr_t)elements_of(field, record);
            for (size_t k = 0; elements != NULL && k < count_of(field, record); k++) {
                record_free(field->of, elements + k * field->size);
            }
            free(field->type == RECORD_LIST ? elements : NULL);
        } else if (field->type == RECORD_TEXT || field->type == RECORD_BLOB) {
            free((void *)(uintptr_t)pointer_of(field, record));
        }
    }
    memset(record, 0, table->size);
}

static int damaged(const struct record_table *table, const struct record_field *field, const char *what, struct error *err)
{
    return error_set(err, ERR_ROW_DAMAGED, "%s.%s %s", table->name, field->name, what);
}

static int check_text(const struct record_table *table, const struct record_field *field, const char *text, struct error *err)
{
    size_t len = strlen(text);
    if ((int64_t)len < field->min || (int64_t)len > field->max) {
        return damaged(table, field, "is too short or too long", err);
    }
    return field->valid == NULL || field->valid(text) ? 0 : damaged(table, field, "is not of the form that it must have", err);
}

static int check_field(const struct record_table *table, const struct record_field *field, const void *record, struct error *err)
{
    int64_t number = 0;
    switch (field->type) {
    case RECORD_INT:
    case RECORD_UINT32:
    case RECORD_UINT16:
    case RECORD_UINT8:
    case RECORD_ENUM:
    case RECORD_BOOL:
        number = number_of(field, record);
        return number >= field->min && number <= field->max ? 0 : damaged(table, field, "is out of range", err);
    case RECORD_NAME:
        return check_text(table, field, (const char *)member(field, record), err);
    case RECORD_TEXT:
        if (pointer_of(field, record) == NULL) {
            return field->optional ? 0 : damaged(table, field, "is missing", err);
        }
        return check_text(table, field, pointer_of(field, record), err);
    case RECORD_BLOB:
        if (pointer_of(field, record) == NULL) {
            return field->optional ? 0 : damaged(table, field, "is missing", err);
        }
        number = (int64_t)count_of(field, record);
        return number >= field->min && number <= field->max ? 0 : damaged(table, field, "is too short or too long", err);
    case RECORD_LIST:
    case RECORD_ARRAY:
        number = (int64_t)count_of(field, record);
        return number >= field->min && number <= field->max ? 0 : damaged(table, field, "has too few or too many elements", err);
    case RECORD_BYTES:
    case RECORD_TYPE_COUNT_:
        break;
    }
    return 0;
}

int record_check(const struct record_table *table, const void *record, struct error *err)
{
    for (size_t i = 0; i < table->field_count; i++) {
        const struct record_field *field = &table->fields[i];
        if (check_field(table, field, record, err) != 0) {
            return -1;
        }
        for (size_t k = 0; is_list(field) && k < count_of(field, record); k++) {
            if (record_check(field->of, elements_of(field, record) + k * field->size, err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

struct reader {
    const uint8_t *data;
    size_t left;
    record_spared_fn *spared;
    void *ctx;
};

static int malformed(const struct record_table *table, const char *field, struct error *err)
{
    return error_set(err, ERR_BAD_REQUEST, "these bytes are no %s: %s", table->name, field);
}

static bool take(struct reader *reader, size_t len, const uint8_t **ret)
{
    if (len > reader->left) {
        return false;
    }
    *ret = reader->data;
    reader->data += len;
    reader->left -= len;
    return true;
}

static bool take_number(struct reader *reader, size_t len, uint64_t *ret)
{
    const uint8_t *at = NULL;
    if (!take(reader, len, &at)) {
        return false;
    }
    *ret = 0;
    for (size_t i = 0; i < len; i++) {
        *ret |= (uint64_t)at[i] << (8 * i);
    }
    return true;
}

/* Does the value fit into what holds it? Its range proper is asked for later. */
static bool fits(enum record_type type, int64_t value)
{
    switch (type) {
    case RECORD_INT:
        return true;
    case RECORD_UINT32:
        return value >= 0 && value <= UINT32_MAX;
    case RECORD_UINT16:
        return value >= 0 && value <= UINT16_MAX;
    case RECORD_UINT8:
        return value >= 0 && value <= UINT8_MAX;
    case RECORD_ENUM:
        return value >= 0 && value <= INT32_MAX;
    case RECORD_BOOL:
        return value == 0 || value == 1;
    case RECORD_NAME:
    case RECORD_TEXT:
    case RECORD_BYTES:
    case RECORD_BLOB:
    case RECORD_LIST:
    case RECORD_ARRAY:
    case RECORD_TYPE_COUNT_:
        break;
    }
    return false;
}

/* What a record is being filled with: the first fault of a value; the reading goes on behind it, to the record's end. */
struct filling {
    const struct record_table *table;
    void *record;
    bool is_damaged;
    struct error why;
};

static void note_damage(struct filling *filling, const struct record_field *field, const char *what)
{
    if (!filling->is_damaged) {
        (void)damaged(filling->table, field, what, &filling->why);
        filling->is_damaged = true;
    }
}

static int read_text(struct reader *reader, struct filling *filling, const struct record_field *field, struct error *err)
{
    uint64_t len = 0;
    const uint8_t *at = NULL;
    if (!take_number(reader, 4, &len)) {
        return malformed(filling->table, field->name, err);
    }
    if (len == RECORD_NULL) {
        return 0;
    }
    if (!take(reader, (size_t)len, &at)) {
        return malformed(filling->table, field->name, err);
    }
    bool too_long = (int64_t)len > field->max || (field->type == RECORD_NAME && len >= field->size);
    bool has_nul = field->type != RECORD_BLOB && len > 0 && memchr(at, '\0', (size_t)len) != NULL;
    if (too_long || has_nul) {
        note_damage(filling, field, too_long ? "is too short or too long" : "has a NUL within");
        return 0;
    }
    if (field->type == RECORD_NAME) {
        memcpy(member_of(field, filling->record), at, (size_t)len); /* the rest is zeroed */
        return 0;
    }
    uint8_t *copy = malloc((size_t)len + 1);
    if (copy == NULL) {
        return error_oom(err);
    }
    memcpy(copy, at, (size_t)len);
    copy[len] = '\0';
    memcpy(member_of(field, filling->record), &copy, sizeof(void *));
    if (field->type == RECORD_BLOB) {
        const size_t count = (size_t)len;
        memcpy((uint8_t *)filling->record + field->count_offset, &count, sizeof count);
    }
    // cppcheck-suppress memleak ; the record points to it
    return 0;
}

static int read_record(struct reader *reader, const struct record_table *table, void *ret, bool *ret_damaged, struct error *ret_why, struct error *err);

static const char *key_of(const struct record_table *table, const void *record)
{
    for (size_t i = 0; i < table->field_count; i++) {
        const struct record_field *field = &table->fields[i];
        if (field->type == RECORD_NAME) {
            return (const char *)member(field, record);
        }
        if (field->type == RECORD_TEXT && pointer_of(field, record) != NULL) {
            return pointer_of(field, record);
        }
    }
    return "";
}

/* An element that does not fit: told, where its list goes on without it, or else damage of the record that holds the list. */
static void leave_out(struct reader *reader, struct filling *filling, const struct record_field *field, void *element, const struct error *why)
{
    if (!field->spare) {
        if (!filling->is_damaged) {
            filling->why = *why;
            filling->is_damaged = true;
        }
    } else if (reader->spared != NULL) {
        reader->spared(reader->ctx, field->name, key_of(field->of, element), why);
    }
    record_free(field->of, element);
}

/* Those behind the `max` first ones are read, too, so that what follows them is found; there is no room for them. */
static int read_surplus(struct reader *reader, struct filling *filling, const struct record_field *field, size_t count, struct error *err)
{
    AUTO_FREE void *element = calloc(1, field->size);
    struct error too_many;
    bool is_damaged = false;
    if (element == NULL) {
        return error_oom(err);
    }
    (void)damaged(filling->table, field, "has too many elements", &too_many);
    for (size_t i = 0; i < count; i++) {
        struct error why;
        if (read_record(reader, field->of, element, &is_damaged, &why, err) != 0) {
            return -1;
        }
        if (i == 0) {
            leave_out(reader, filling, field, element, &too_many);
        }
        record_free(field->of, element);
    }
    return 0;
}

static int read_elements(struct reader *reader, struct filling *filling, const struct record_field *field, size_t count, struct error *err)
{
    uint8_t *elements = field->type == RECORD_ARRAY ? member_of(field, filling->record) : calloc(count, field->size);
    size_t kept = 0;
    if (elements == NULL) {
        return error_oom(err);
    }
    if (field->type == RECORD_LIST) {
        memcpy(member_of(field, filling->record), &elements, sizeof(void *));
    }
    for (size_t i = 0; i < count; i++) {
        bool is_damaged = false;
        struct error why;
        void *element = elements + kept * field->size;
        if (read_record(reader, field->of, element, &is_damaged, &why, err) != 0) {
            return -1;
        }
        if (is_damaged) {
            leave_out(reader, filling, field, element, &why);
            continue;
        }
        kept++;
        memcpy((uint8_t *)filling->record + field->count_offset, &kept, sizeof kept);
    }
    return 0;
}

static int read_list(struct reader *reader, struct filling *filling, const struct record_field *field, struct error *err)
{
    uint64_t count = 0;
    /* An element has a byte at least, so that no few bytes make us reserve much. */
    if (!take_number(reader, 4, &count) || count > reader->left) {
        return malformed(filling->table, field->name, err);
    }
    const size_t room = (int64_t)count > field->max ? (size_t)field->max : (size_t)count;
    if (room > 0 && read_elements(reader, filling, field, room, err) != 0) {
        return -1;
    }
    return count > room ? read_surplus(reader, filling, field, (size_t)count - room, err) : 0;
}

static int read_field(struct reader *reader, struct filling *filling, const struct record_field *field, struct error *err)
{
    uint64_t value = 0;
    uint64_t type = 0;
    if (!take_number(reader, 1, &type) || type != (uint64_t)field->type) {
        return malformed(filling->table, field->name, err);
    }
    if (is_list(field)) {
        return read_list(reader, filling, field, err);
    }
    if (field->type == RECORD_BYTES) {
        const uint8_t *at = NULL;
        if (!take(reader, field->size, &at)) {
            return malformed(filling->table, field->name, err);
        }
        memcpy(member_of(field, filling->record), at, field->size);
        return 0;
    }
    if (field->type == RECORD_NAME || field->type == RECORD_TEXT || field->type == RECORD_BLOB) {
        return read_text(reader, filling, field, err);
    }
    if (!take_number(reader, 8, &value)) {
        return malformed(filling->table, field->name, err);
    }
    if (fits(field->type, (int64_t)value)) {
        set_number(field, filling->record, (int64_t)value);
    } else {
        note_damage(filling, field, "is out of range");
    }
    return 0;
}

/* -1: no record can be made of these bytes, or there is no memory; *ret is zeroed. *ret_damaged: what could be read is there. */
static int read_record(struct reader *reader, const struct record_table *table, void *ret, bool *ret_damaged, struct error *ret_why, struct error *err)
{
    struct filling filling = {.table = table, .record = ret};
    memset(ret, 0, table->size);
    for (size_t i = 0; i < table->field_count; i++) {
        if (read_field(reader, &filling, &table->fields[i], err) != 0) {
            record_free(table, ret);
            return -1;
        }
    }
    for (size_t i = 0; i < table->field_count && !filling.is_damaged; i++) {
        filling.is_damaged = check_field(table, &table->fields[i], ret, &filling.why) != 0;
    }
    *ret_damaged = filling.is_damaged;
    if (filling.is_damaged) {
        *ret_why = filling.why;
    }
    return 0;
}

int record_read(const struct record_table *table, const uint8_t *data, size_t len, void *ret, record_spared_fn *spared, void *ctx, struct error *err)
{
    struct reader reader = {.data = data, .left = len, .spared = spared, .ctx = ctx};
    bool is_damaged = false;
    struct error why;
    if (read_record(&reader, table, ret, &is_damaged, &why, err) != 0) {
        return -1;
    }
    if (reader.left > 0 || is_damaged) {
        record_free(table, ret);
        if (reader.left > 0) {
            return malformed(table, "something stands behind its end", err);
        }
        if (err != NULL) {
            *err = why;
        }
        return -1;
    }
    return 0;
}
