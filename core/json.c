#include "core/json.h"

#include "core/limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int fault_at(struct error *err, int line, int column, const char *what)
{
    return error_set(err, ERR_INVALID_JSON, "line %d, column %d: %s", line, column, what);
}

/*
 * Jansson's own limit of nesting is 2048, and is met only after a value for each level was made. Inside a
 * string nothing counts; where the text is not JSON at all, both look at the same bytes up to the first
 * fault.
 */
static int check_depth(const char *text, size_t len, struct error *err)
{
    int line = 1;
    size_t line_start = 0;
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '\n') {
            line++;
            line_start = i + 1;
        } else if (in_string) {
            in_string = c != '"';
            i += c == '\\';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > LIMIT_JSON_DEPTH) {
                return error_set(err, ERR_INVALID_JSON, "line %d, column %zu: nested deeper than %d levels", line, i - line_start + 1, LIMIT_JSON_DEPTH);
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return 0;
}

/*
 * Jansson quotes a little of the text behind "near", which may be a part of a secret and need not be UTF-8. Line and column say where it is, so
 * the message ends before the quotation.
 */
static void make_quotable(char *text)
{
    char *quotation = strstr(text, " near ");
    if (quotation != NULL) {
        *quotation = '\0';
    }
    for (char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < ' ' || c >= 0x7f) {
            *p = '?';
        }
    }
}

/* Jansson tells of a text that it got no memory for as of an invalid one, so it is noted here. */
static _Thread_local bool no_memory;

static void *allocate(size_t size)
{
    void *memory = malloc(size);
    no_memory = no_memory || memory == NULL;
    return memory;
}

void json_watch_memory(void)
{
    json_set_alloc_funcs(allocate, free);
}

int json_parse(const char *text, size_t len, json_t **ret, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, json_watch_memory);
    no_memory = false;
    if (check_depth(text, len, err) < 0) {
        return -1;
    }
    json_error_t fault;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
    if (value != NULL) {
        *ret = value;
        return 0;
    }
    if (no_memory) {
        return error_oom(err);
    }
    switch ((int)json_error_code(&fault)) {
    case json_error_out_of_memory:
        return error_oom(err);
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return fault_at(err, fault.line, fault.column, "a string must not hold the character \\u0000");
    default:
        make_quotable(fault.text);
        return fault_at(err, fault.line, fault.column, fault.text);
    }
}

/* Into `target`, which nobody else has. The patch is not deeper than LIMIT_JSON_DEPTH, as it was parsed. */
static int merge(json_t *target, const json_t *patch) // NOLINT(misc-no-recursion)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (json_is_null(value)) {
            (void)json_object_del(target, key); /* also where there is none */
            continue;
        }
        json_t *merged = json_merged(json_object_get(target, key), value);
        if (json_object_set_new(target, key, merged) != 0) {
            return -1;
        }
    }
    return 0;
}

json_t *json_merged(const json_t *target, const json_t *patch) // NOLINT(misc-no-recursion)
{
    if (!json_is_object(patch)) {
        return json_deep_copy(patch);
    }
    json_t *merged = json_is_object(target) ? json_deep_copy(target) : json_object();
    if (merged == NULL || merge(merged, patch) != 0) {
        json_decref(merged);
        return NULL;
    }
    return merged;
}

char *json_text(const json_t *value)
{
    return value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
}

const char *json_get_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The doubles from -2^63 up to but not including 2^63 are those that fit; NaN fails both comparisons. */
bool json_integral(const json_t *value, int64_t *ret)
{
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return true;
    }
    if (!json_is_real(value)) {
        return false;
    }
    double real = json_real_value(value);
    if (!(real >= -9223372036854775808.0 && real < 9223372036854775808.0) || (double)(int64_t)real != real) {
        return false;
    }
    *ret = (int64_t)real;
    return true;
}

int64_t json_get_int(const json_t *object, const char *key, int64_t fallback)
{
    int64_t value = 0;
    return json_integral(json_object_get(object, key), &value) ? value : fallback;
}

bool json_get_bool(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}
