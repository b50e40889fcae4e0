/*
 * oneOf and anyOf. When nothing fits, the faults of the alternative that was meant are worth more than "none
 * of them": it is the only one of the right type, or the only one whose constants ("type": "disk") are in the
 * value, or the only one whose required members are all there.
 */
#include "api/spec/schema.h"

#include "core/cleanup.h"
#include "core/strbuf.h"

#include <string.h>

/* The one value, or the list of values, that a schema allows; NULL when it is not made of such. */
static const json_t *fixed_values(const struct schema *schema)
{
    for (; schema != NULL; schema = schema->ref) {
        if (schema->constant != NULL || schema->enumeration != NULL) {
            return schema->constant != NULL ? schema->constant : schema->enumeration;
        }
    }
    return NULL;
}

typedef bool excludes_fn(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at);

static bool excludes_type(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    (void)walk;
    (void)at;
    unsigned types = schema_types(schema);
    return types != 0 && (types & schema_type_of(value)) == 0;
}

/* A member is there that the alternative fixes to something else. */
static bool excludes_constant(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    if (!json_is_object(value)) {
        const json_t *fixed = fixed_values(schema);
        return fixed != NULL && !schema_fits(walk, schema, value, at);
    }
    const char *key;
    json_t *member;
    json_object_foreach(value, key, member)
    {
        const struct schema *property = schema_find_property(schema, key);
        if (property != NULL && fixed_values(property) != NULL && !schema_fits(walk, property, member, at)) {
            return true;
        }
    }
    return false;
}

static bool excludes_absence(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    for (size_t i = 0; i < json_array_size(schema->required); i++) {
        if (json_object_get(value, json_string_value(json_array_get(schema->required, i))) == NULL) {
            return true;
        }
    }
    return schema->ref != NULL && excludes_absence(walk, schema->ref, value, at);
}

/* The alternatives of `candidates` that are not excluded. */
static uint32_t keep(struct walk *walk, const struct schema_list *list, uint32_t candidates, excludes_fn *excludes, json_t *value, const struct place *at)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        uint32_t bit = UINT32_C(1) << i;
        if ((candidates & bit) != 0 && !excludes(walk, list->items[i], value, at)) {
            kept |= bit;
        }
    }
    return kept;
}

static bool is_single(uint32_t bits)
{
    return bits != 0 && (bits & (bits - 1)) == 0;
}

static const struct schema *find_meant(struct walk *walk, const struct schema_list *list, json_t *value, const struct place *at)
{
    static excludes_fn *const filters[] = {excludes_type, excludes_constant, excludes_absence};
    uint32_t candidates = UINT32_MAX; /* keep() looks at those that there are */
    for (size_t i = 0; i < ARRAY_LEN(filters) && candidates != 0; i++) {
        candidates = keep(walk, list, candidates, filters[i], value, at);
        if (is_single(candidates)) {
            return list->items[__builtin_ctz(candidates)];
        }
    }
    return NULL;
}

static void describe_all(struct strbuf *out, const struct schema_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        strbuf_add(out, i == 0 ? "" : i + 1 < list->count ? ", " : " or ");
        schema_describe(out, list->items[i]);
    }
}

void schema_walk_alternatives(struct walk *walk, const struct schema_list *list, bool only_one, json_t *value, const struct place *at)
{
    size_t fitting = 0;
    size_t enough = only_one ? 2 : 1;
    for (size_t i = 0; i < list->count && fitting < enough; i++) {
        fitting += schema_fits(walk, list->items[i], value, at);
    }
    if (fitting == 1 || (fitting > 1 && !only_one)) {
        return;
    }
    if (walk->faults == NULL) {
        walk_fault(walk, at, "fits none");
        return;
    }
    const struct schema *meant = fitting == 0 ? find_meant(walk, list, value, at) : NULL;
    if (meant != NULL) {
        schema_walk(walk, meant, value, at);
        return;
    }
    AUTO_STRBUF text = STRBUF_INIT;
    describe_all(&text, list);
    walk_fault(walk, at, fitting == 0 ? "must be %s" : "must be only one of: %s", text.data != NULL ? text.data : "something else");
}
