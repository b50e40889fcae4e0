/* Values as JSON Schema sees them. */
#include "api/spec/schema.h"

#include "core/json.h"

#include <string.h>

unsigned schema_type_of(const json_t *value)
{
    int64_t integer = 0;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return SCHEMA_OBJECT;
    case JSON_ARRAY:
        return SCHEMA_ARRAY;
    case JSON_STRING:
        return SCHEMA_STRING;
    case JSON_INTEGER:
        return SCHEMA_INTEGER | SCHEMA_NUMBER;
    case JSON_REAL:
        return json_integral(value, &integer) ? SCHEMA_INTEGER | SCHEMA_NUMBER : SCHEMA_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return SCHEMA_BOOLEAN;
    case JSON_NULL:
        return SCHEMA_NULL;
    }
    return 0;
}

struct schema_number schema_number_of(const json_t *value)
{
    struct schema_number number = {.present = true, .real = json_number_value(value)};
    number.is_integer = json_integral(value, &number.integer);
    return number;
}

int schema_number_compare(struct schema_number a, struct schema_number b)
{
    if (a.is_integer && b.is_integer) {
        return (a.integer > b.integer) - (a.integer < b.integer);
    }
    return (a.real > b.real) - (a.real < b.real);
}

static bool arrays_equal(const json_t *a, const json_t *b)
{
    if (json_array_size(a) != json_array_size(b)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(a); i++) {
        if (!schema_equal(json_array_get(a, i), json_array_get(b, i))) {
            return false;
        }
    }
    return true;
}

static bool objects_equal(const json_t *a, const json_t *b)
{
    if (json_object_size(a) != json_object_size(b)) {
        return false;
    }
    const char *key;
    json_t *member;
    json_object_foreach(schema_mutable(a), key, member)
    {
        const json_t *other = json_object_get(b, key);
        if (other == NULL || !schema_equal(member, other)) {
            return false;
        }
    }
    return true;
}

bool schema_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        return schema_number_compare(schema_number_of(a), schema_number_of(b)) == 0;
    }
    if (json_typeof(a) != json_typeof(b)) {
        return false;
    }
    if (json_is_array(a)) {
        return arrays_equal(a, b);
    }
    if (json_is_object(a)) {
        return objects_equal(a, b);
    }
    return !json_is_string(a) ||
           (json_string_length(a) == json_string_length(b) && memcmp(json_string_value(a), json_string_value(b), json_string_length(a)) == 0);
}
