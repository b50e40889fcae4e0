/*
 * JSON as serde reads it: fields in the order of the text, the first wrong one counts; what is missing is told at
 * the end. The place in its "at line 1 column 15" is not imitated: nobody reads it, and the comparison with the real
 * one leaves it out.
 */
#include "standin.h"

#include <string.h>

static void unexpected(const json_t *value, char *buf, size_t size)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        (void)snprintf(buf, size, "map");
        return;
    case JSON_ARRAY:
        (void)snprintf(buf, size, "sequence");
        return;
    case JSON_STRING:
        (void)snprintf(buf, size, "string \"%.80s\"", json_string_value(value));
        return;
    case JSON_INTEGER:
        (void)snprintf(buf, size, "integer `%lld`", (long long)json_integer_value(value));
        return;
    case JSON_REAL:
        (void)snprintf(buf, size, "floating point `%g`", json_real_value(value));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        (void)snprintf(buf, size, "boolean `%s`", json_is_true(value) ? "true" : "false");
        return;
    case JSON_NULL:
        (void)snprintf(buf, size, "null");
        return;
    }
}

/* "`a`", "`a` or `b`", "one of `a`, `b`, `c`" */
static void expected_names(const char *const *names, size_t count, char *buf, size_t size)
{
    size_t len = (size_t)snprintf(buf, size, "%s", count > 2 ? "one of " : "");
    for (size_t i = 0; i < count && len < size; i++) {
        const char *separator = i == 0 ? "" : count == 2 ? " or " : ", ";
        len += (size_t)snprintf(buf + len, size - len, "%s`%s`", separator, names[i]);
    }
}

static bool check_variant(const char *text, const char *const *variants, char *why, size_t size)
{
    size_t count = 0;
    char names[256];
    for (; variants[count] != NULL; count++) {
        if (strcmp(text, variants[count]) == 0) {
            return true;
        }
    }
    expected_names(variants, count, names, sizeof names);
    (void)snprintf(why, size, "unknown variant `%.80s`, expected %s", text, names);
    return false;
}

static bool check_integer(const json_t *value, int64_t max, const char *type, char *why, size_t size)
{
    char found[128];
    const bool is_integer = json_is_integer(value);
    if (is_integer && json_integer_value(value) >= 0 && json_integer_value(value) <= max) {
        return true;
    }
    unexpected(value, found, sizeof found);
    (void)snprintf(why, size, "invalid %s: %s, expected %s", is_integer ? "value" : "type", found, type);
    return false;
}

static bool check_field(const json_t *value, const struct standin_field *field, char *why, size_t size)
{
    char found[128];
    const char *wanted = "a string";
    if (json_is_null(value) && !field->required) {
        return true;
    }
    switch (field->type) {
    case STANDIN_ANY:
        return true;
    case STANDIN_U8:
        return check_integer(value, UINT8_MAX, "u8", why, size);
    case STANDIN_USIZE:
        return check_integer(value, INT64_MAX, "usize", why, size);
    case STANDIN_BOOL:
        if (json_is_boolean(value)) {
            return true;
        }
        wanted = "a boolean";
        break;
    case STANDIN_ENUM:
        if (json_is_string(value)) {
            return check_variant(json_string_value(value), field->variants, why, size);
        }
        (void)snprintf(why, size, "expected value"); /* serde_json looks for a string or an object */
        return false;
    case STANDIN_STRING:
        if (json_is_string(value)) {
            return true;
        }
        break;
    }
    unexpected(value, found, sizeof found);
    (void)snprintf(why, size, "invalid type: %s, expected %s", found, wanted);
    return false;
}

static const struct standin_field *field_named(const struct standin_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (strcmp(shape->fields[i].name, name) == 0) {
            return &shape->fields[i];
        }
    }
    return NULL;
}

static void unknown_field(const struct standin_shape *shape, const char *key, char *why, size_t size)
{
    const char *names[16];
    char list[256];
    const size_t count = shape->count < ARRAY_LEN(names) ? shape->count : ARRAY_LEN(names);
    for (size_t i = 0; i < count; i++) {
        names[i] = shape->fields[i].name;
    }
    expected_names(names, count, list, sizeof list);
    (void)snprintf(why, size, "unknown field `%.80s`, expected %s", key, list);
}

bool standin_check_shape(const json_t *value, const struct standin_shape *shape, char *ret_why, size_t size)
{
    char found[128];
    const char *key = NULL;
    json_t *member = NULL;
    if (json_is_array(value) && json_array_size(value) == 0) {
        (void)snprintf(ret_why, size, "invalid length 0, expected struct %s with %zu element%s", shape->name, shape->count, shape->count == 1 ? "" : "s");
        return false;
    }
    if (!json_is_object(value)) {
        unexpected(value, found, sizeof found);
        (void)snprintf(ret_why, size, "invalid type: %s, expected struct %s", found, shape->name);
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        const struct standin_field *field = field_named(shape, key);
        if (field == NULL && !shape->open) {
            unknown_field(shape, key, ret_why, size);
            return false;
        }
        if (field != NULL && !check_field(member, field, ret_why, size)) {
            return false;
        }
    }
    for (size_t i = 0; i < shape->count; i++) {
        if (shape->fields[i].required && json_object_get(value, shape->fields[i].name) == NULL) {
            (void)snprintf(ret_why, size, "missing field `%s`", shape->fields[i].name);
            return false;
        }
    }
    return true;
}

json_t *standin_parse(const char *text, size_t len, const struct standin_shape *shape, char *ret_why, size_t size)
{
    json_error_t error;
    AUTO_JSON *value = json_loadb(text, len, JSON_DECODE_ANY, &error);
    if (value == NULL) {
        const bool ended = json_error_code(&error) == json_error_premature_end_of_input;
        (void)snprintf(ret_why, size, "%s", ended ? "EOF while parsing an object" : "expected value");
        return NULL;
    }
    return standin_check_shape(value, shape, ret_why, size) ? TAKE_PTR(value) : NULL;
}
