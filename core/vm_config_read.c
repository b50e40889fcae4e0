/* Reading values of the document: what is there, of which type, in which range; and the faults. */
#include "core/json.h"
#include "core/vm_config_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Goes into logs and conditions: nothing but printable ASCII, whatever is stored. */
static void note_first(struct config_parse *parse, const char *pointer, const char *message)
{
    (void)snprintf(parse->first, sizeof parse->first, "%s %s", pointer[0] != '\0' ? pointer : "the document", message);
    for (char *p = parse->first; *p != '\0'; p++) {
        *p = *p < ' ' || *p > '~' ? '?' : *p;
    }
}

static void add_fault(struct config_parse *parse, const char *pointer, const char *fmt, va_list ap)
{
    char message[CONFIG_MESSAGE_MAX];
    (void)vsnprintf(message, sizeof message, fmt, ap);
    if (parse->faults++ == 0) {
        note_first(parse, pointer, message);
    }
    if (parse->fault != NULL) {
        parse->fault(parse->ctx, pointer, message);
    }
}

void config_fault(struct config_parse *parse, const char *pointer, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_fault(parse, pointer, fmt, ap);
    va_end(ap);
}

/* RFC 6901. A name that would be too long names the place around instead. */
static void point_at(char buf[CONFIG_POINTER_MAX], const char *pointer, const char *member)
{
    size_t len = (size_t)snprintf(buf, CONFIG_POINTER_MAX, "%s/", pointer);
    for (const char *p = member; *p != '\0'; p++) {
        if (len + 3 > CONFIG_POINTER_MAX) {
            (void)snprintf(buf, CONFIG_POINTER_MAX, "%s", pointer);
            return;
        }
        if (*p == '~' || *p == '/') {
            buf[len++] = '~';
            buf[len++] = *p == '~' ? '0' : '1';
        } else {
            buf[len++] = *p;
        }
        buf[len] = '\0';
    }
}

void config_member_fault(struct config_parse *parse, const char *pointer, const char *member, const char *fmt, ...)
{
    char at[CONFIG_POINTER_MAX];
    va_list ap;
    point_at(at, pointer, member);
    va_start(ap, fmt);
    add_fault(parse, at, fmt, ap);
    va_end(ap);
}

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

bool config_is_object(struct config_parse *parse, const json_t *value, const char *pointer, const char *const *names, size_t count)
{
    const char *key = NULL;
    json_t *member = NULL;
    if (!json_is_object(value)) {
        config_fault(parse, pointer, "must be an object");
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (!is_among(key, names, count)) {
            config_member_fault(parse, pointer, key, "is not a known field");
        }
    }
    return true;
}

bool config_is_array(struct config_parse *parse, const json_t *value, const char *pointer, size_t at_most)
{
    if (!json_is_array(value)) {
        config_fault(parse, pointer, "must be an array");
        return false;
    }
    if (json_array_size(value) > at_most) {
        config_fault(parse, pointer, "must have at most %zu items", at_most);
        return false;
    }
    return true;
}

void config_integer(struct config_parse *parse, const json_t *object, const char *pointer, const char *member, int64_t min, int64_t max, int64_t *ret)
{
    const json_t *value = json_object_get(object, member);
    int64_t number = 0;
    if (value == NULL) {
        return;
    }
    if (!json_integral(value, &number)) {
        config_member_fault(parse, pointer, member, "must be an integer");
    } else if (number < min) {
        config_member_fault(parse, pointer, member, "must be at least %lld", (long long)min);
    } else if (number > max) {
        config_member_fault(parse, pointer, member, "must be at most %lld", (long long)max);
    } else {
        *ret = number;
    }
}

void config_name(struct config_parse *parse, const json_t *object, const char *pointer, const char *member, const char *const *names, size_t count,
                 unsigned *ret)
{
    const char *text = config_string(parse, object, pointer, member);
    for (size_t i = 0; text != NULL && i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = (unsigned)i;
            return;
        }
    }
    if (text != NULL) {
        config_member_fault(parse, pointer, member, "is not one of those that it can be");
    }
}

const char *config_string(struct config_parse *parse, const json_t *object, const char *pointer, const char *member)
{
    const json_t *value = json_object_get(object, member);
    if (value != NULL && !json_is_string(value)) {
        config_member_fault(parse, pointer, member, "must be a string");
    }
    return json_string_value(value);
}

bool config_required(struct config_parse *parse, const json_t *object, const char *pointer, const char *member)
{
    if (json_object_get(object, member) != NULL) {
        return true;
    }
    config_member_fault(parse, pointer, member, "is required");
    return false;
}
