/* Fills in what a value leaves out. */
#include "api/spec/internal.h"

#include "core/json.h"

static int apply(const struct schema *schema, json_t *value, unsigned depth, struct error *err);

static int apply_to_member(const struct schema *schema, json_t *object, const char *name, unsigned depth, struct error *err)
{
    json_t *member = json_object_get(object, name);
    const json_t *fallback = member == NULL ? schema_default(schema) : NULL;
    if (fallback != NULL) {
        if (json_object_set_new(object, name, json_deep_copy(fallback)) < 0) {
            return error_oom(err);
        }
        member = json_object_get(object, name);
    }
    return member != NULL ? apply(schema, member, depth, err) : 0;
}

static int apply_to_members(const struct schema *schema, json_t *object, unsigned depth, struct error *err)
{
    if (schema->additional != NULL && !schema->additional->never) {
        const char *key;
        json_t *member;
        json_object_foreach(object, key, member)
        {
            if (schema_own_property(schema, key, json_object_iter_key_len(json_object_key_to_iter(key))) == NULL &&
                apply(schema->additional, member, depth, err) < 0) {
                return -1;
            }
        }
    }
    for (size_t i = 0; i < schema->property_count; i++) {
        const struct schema_property *property = &schema->properties[i];
        if (apply_to_member(property->schema, object, property->name, depth, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int apply_list(const struct schema_list *list, bool only_first_fitting, json_t *value, unsigned depth, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (only_first_fitting && !schema_check(list->items[i], value, "body", NULL, NULL)) {
            continue;
        }
        if (apply(list->items[i], value, depth, err) < 0) {
            return -1;
        }
        if (only_first_fitting) {
            break;
        }
    }
    return 0;
}

/* `depth` ends a default that contains itself. */
static int apply(const struct schema *schema, json_t *value, unsigned depth, struct error *err)
{
    if (depth > LIMIT_JSON_DEPTH) {
        return error_set(err, ERR_INTERNAL, "defaults are nested too deeply");
    }
    if (schema->ref != NULL && apply(schema->ref, value, depth, err) < 0) {
        return -1;
    }
    if (json_is_object(value) && apply_to_members(schema, value, depth + 1, err) < 0) {
        return -1;
    }
    for (size_t i = 0; schema->items != NULL && i < json_array_size(value); i++) {
        if (apply(schema->items, json_array_get(value, i), depth + 1, err) < 0) {
            return -1;
        }
    }
    return apply_list(&schema->all_of, false, value, depth, err) < 0 || apply_list(&schema->one_of, true, value, depth, err) < 0 ||
                   apply_list(&schema->any_of, true, value, depth, err) < 0
               ? -1
               : 0;
}

int spec_apply_defaults(const struct spec *spec, const char *name, json_t *value, struct error *err)
{
    const struct schema *schema = schema_named(&spec->schemas, name);
    if (schema == NULL) {
        return error_set(err, ERR_INTERNAL, "there is no schema '%s'", name);
    }
    return apply(schema, value, 0, err);
}
