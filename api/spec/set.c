/* All schemas of a document: made, found by name, held against each other, given back. */
#include "api/spec/schema.h"

#include "core/limits.h"

#include <stdlib.h>
#include <string.h>

struct schema *schema_new(struct schema_set *set, const json_t *source)
{
    struct schema *schema = calloc(1, sizeof *schema);
    if (schema != NULL) {
        schema->source = source;
        schema->next = set->all;
        set->all = schema;
    }
    return schema;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct schema_named *)a)->name, ((const struct schema_named *)b)->name);
}

const struct schema *schema_named(const struct schema_set *set, const char *name)
{
    struct schema_named wanted = {.name = name};
    const struct schema_named *found = set->named_count == 0 ? NULL : bsearch(&wanted, set->named, set->named_count, sizeof wanted, compare_names);
    return found != NULL ? found->schema : NULL;
}

static int add_named(struct schema_set *set, const json_t *schemas, struct error *err)
{
    const char *name;
    json_t *source;
    json_object_foreach(schema_mutable(schemas), name, source)
    {
        struct schema_named *named = &set->named[set->named_count];
        *named = (struct schema_named){name, schema_new(set, source)};
        if (named->schema == NULL) {
            return error_oom(err);
        }
        set->named_count++;
    }
    return 0;
}

/* All are made before the first is compiled, so that each can refer to any. */
int schema_set_load(struct schema_set *set, const json_t *components, struct error *err)
{
    struct place top = PLACE_TOP;
    struct place within = place_member(&top, "components");
    struct place at = place_member(&within, "schemas");
    const json_t *of_api = json_object_get(components, "schemas");
    const json_t *others = json_object_get(components, "x-schemas");
    set->named = calloc(json_object_size(of_api) + json_object_size(others) + 1, sizeof *set->named);
    if (set->named == NULL) {
        return error_oom(err);
    }
    if (add_named(set, of_api, err) < 0 || add_named(set, others, err) < 0) {
        return -1;
    }
    qsort(set->named, set->named_count, sizeof *set->named, compare_names);
    for (size_t i = 0; i < set->named_count; i++) {
        struct place inside = place_member(&at, set->named[i].name);
        if (schema_compile_into(set, set->named[i].schema, &inside, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int search(struct schema *schema, struct error *err);

static int search_list(const struct schema_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (search(schema_unconst(list->items[i]), err) < 0) {
            return -1;
        }
    }
    return 0;
}

/*
 * Only the keywords that look at the same value again are followed: a schema that comes back to itself
 * through them would never end. (Through members and items it may: the value ends.)
 */
static int search(struct schema *schema, struct error *err)
{
    if (schema == NULL || schema->state == SCHEMA_CHECKED) {
        return 0;
    }
    if (schema->state == SCHEMA_CHECKING) {
        return error_set(err, ERR_INTERNAL, "API description: a schema refers to itself without end");
    }
    schema->state = SCHEMA_CHECKING;
    if (search(schema_unconst(schema->ref), err) < 0 || search(schema_unconst(schema->negated), err) < 0 || search_list(&schema->one_of, err) < 0 ||
        search_list(&schema->any_of, err) < 0 || search_list(&schema->all_of, err) < 0) {
        return -1;
    }
    schema->state = SCHEMA_CHECKED;
    return 0;
}

static int verify_default(const struct schema *schema, struct error *err)
{
    struct spec_faults faults = {0};
    if (schema->fallback == NULL || schema_check(schema, schema->fallback, "default", NULL, &faults)) {
        return 0;
    }
    (void)error_set(err, ERR_INTERNAL, "API description: a default does not fit its schema: %s %s", faults.count > 0 ? faults.items[0].pointer : "",
                    faults.count > 0 ? faults.items[0].message : "");
    spec_faults_free(&faults);
    return -1;
}

/* Names of members are text and no values: only what speaks of text can be checked of them. */
static int verify_names(const struct schema *schema, struct error *err)
{
    const struct schema *names = schema->property_names;
    while (names != NULL) {
        if (names->enumeration != NULL || names->constant != NULL || names->one_of.count > 0 || names->any_of.count > 0 || names->all_of.count > 0 ||
            names->negated != NULL) {
            return error_set(err, ERR_INTERNAL, "API description: propertyNames has more than lengths and a pattern");
        }
        names = names->ref;
    }
    return 0;
}

int schema_set_verify(const struct schema_set *set, struct error *err)
{
    for (struct schema *schema = set->all; schema != NULL; schema = schema->next) {
        if (search(schema, err) < 0) {
            return -1;
        }
    }
    for (const struct schema *schema = set->all; schema != NULL; schema = schema->next) {
        if (verify_default(schema, err) < 0 || verify_names(schema, err) < 0) {
            return -1;
        }
    }
    return 0;
}

unsigned schema_types(const struct schema *schema)
{
    unsigned types = schema->types;
    for (size_t i = 0; types == 0 && i < schema->all_of.count; i++) {
        types = schema_types(schema->all_of.items[i]);
    }
    return types == 0 && schema->ref != NULL ? schema_types(schema->ref) : types;
}

const json_t *schema_default(const struct schema *schema)
{
    const json_t *value = schema->fallback;
    for (size_t i = 0; value == NULL && i < schema->all_of.count; i++) {
        value = schema_default(schema->all_of.items[i]);
    }
    return value == NULL && schema->ref != NULL ? schema_default(schema->ref) : value;
}

const struct schema *schema_find_property(const struct schema *schema, const char *name)
{
    const struct schema_property *own = schema_own_property(schema, name, strlen(name));
    const struct schema *found = own != NULL ? own->schema : NULL;
    for (size_t i = 0; found == NULL && i < schema->all_of.count; i++) {
        found = schema_find_property(schema->all_of.items[i], name);
    }
    return found == NULL && schema->ref != NULL ? schema_find_property(schema->ref, name) : found;
}

void schema_set_free(struct schema_set *set)
{
    while (set->all != NULL) {
        struct schema *schema = set->all;
        set->all = schema->next;
        if (schema->regex != NULL) {
            regfree(schema->regex);
            free(schema->regex);
        }
        free(schema->properties);
        free(schema->one_of.items);
        free(schema->any_of.items);
        free(schema->all_of.items);
        free(schema);
    }
    free(set->named);
    *set = (struct schema_set){0};
}
