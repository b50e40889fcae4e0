/* What a client says by null. */
#include "api/spec/internal.h"

#include <string.h>

static void drop(const struct schema *schema, json_t *value, bool dropping);

static bool can_be_null(const struct schema *schema)
{
    return schema_check(schema, json_null(), "body", NULL, NULL);
}

static void drop_members(const struct schema *schema, json_t *object, bool dropping)
{
    for (size_t i = 0; i < schema->property_count; i++) {
        const struct schema_property *property = &schema->properties[i];
        json_t *member = json_object_get(object, property->name);
        if (dropping && json_is_null(member) && !property->required && !can_be_null(property->schema)) {
            (void)json_object_del(object, property->name);
        } else if (member != NULL) {
            drop(property->schema, member, dropping);
        }
    }
}

static void drop_in_all(const struct schema_list *list, json_t *value, bool dropping)
{
    for (size_t i = 0; i < list->count; i++) {
        drop(list->items[i], value, dropping);
    }
}

/* The depth is that of the value, which is bounded: no schema comes back to itself on the same value. */
static void drop(const struct schema *schema, json_t *value, bool dropping)
{
    if (schema->ref != NULL) {
        drop(schema->ref, value, dropping);
    }
    if (json_is_object(value)) {
        drop_members(schema, value, dropping);
    }
    for (size_t i = 0; schema->items != NULL && i < json_array_size(value); i++) {
        drop(schema->items, json_array_get(value, i), true);
    }
    drop_in_all(&schema->all_of, value, dropping);
    drop_in_all(&schema->one_of, value, dropping);
    drop_in_all(&schema->any_of, value, dropping);
}

void spec_drop_nulls(const struct spec_operation *operation, json_t *body)
{
    const struct schema *schema = operation_of(operation)->body;
    if (schema != NULL) {
        drop(schema, body, strcmp(operation->method, "PATCH") != 0);
    }
}

void spec_drop_component_nulls(const struct spec *spec, const char *name, json_t *value)
{
    const struct schema *schema = schema_named(&spec->schemas, name);
    if (schema != NULL) {
        drop(schema, value, true);
    }
}
