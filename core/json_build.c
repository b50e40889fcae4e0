#include "core/json_build.h"

#include <stddef.h>
#include <stdint.h>

struct json_build json_build_object(void)
{
    return (struct json_build){.value = json_object()};
}

struct json_build json_build_array(void)
{
    return (struct json_build){.value = json_array()};
}

static void fail(struct json_build *build)
{
    json_decref(build->value);
    build->value = NULL;
}

/* With a container or a value that is NULL jansson fails as well, and lets go of the value. */
void json_build_put(struct json_build *object, const char *key, json_t *value)
{
    if (json_object_set_new(object->value, key, value) != 0) {
        fail(object);
    }
}

void json_build_add(struct json_build *array, json_t *value)
{
    if (json_array_append_new(array->value, value) != 0) {
        fail(array);
    }
}

json_t *json_or_null(const json_t *value)
{
    return value != NULL ? json_incref((json_t *)(uintptr_t)value) : json_null();
}

json_t *json_build_take(struct json_build *build)
{
    json_t *value = build->value;
    build->value = NULL;
    return value;
}

void json_build_free(struct json_build *build)
{
    fail(build);
}
