/* Holds a value against a compiled schema. */
#include "api/spec/schema.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/strbuf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void fault_with_values(struct walk *walk, const struct place *at, const char *words, const json_t *values,
                              void (*describe)(struct strbuf *out, const json_t *values))
{
    if (walk->faults == NULL) {
        walk_fault(walk, at, "%s", words);
        return;
    }
    AUTO_STRBUF text = STRBUF_INIT;
    describe(&text, values);
    walk_fault(walk, at, "%s%s", words, text.failed || text.data == NULL ? "another value" : text.data);
}

static bool check_type(struct walk *walk, unsigned types, const json_t *value, const struct place *at)
{
    if (types == 0 || (types & schema_type_of(value)) != 0) {
        return true;
    }
    if (walk->faults == NULL) {
        walk_fault(walk, at, "must be of another type");
        return false;
    }
    AUTO_STRBUF text = STRBUF_INIT;
    schema_describe_types(&text, types);
    walk_fault(walk, at, "must be %s", text.failed ? "of another type" : text.data);
    return false;
}

static bool is_among(const json_t *values, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(values); i++) {
        if (schema_equal(json_array_get(values, i), value)) {
            return true;
        }
    }
    return false;
}

static void check_values(struct walk *walk, const struct schema *schema, const json_t *value, const struct place *at)
{
    if (schema->enumeration != NULL && !is_among(schema->enumeration, value)) {
        fault_with_values(walk, at, json_array_size(schema->enumeration) > 1 ? "must be one of " : "must be ", schema->enumeration, schema_describe_values);
    }
    if (schema->constant != NULL && !schema_equal(schema->constant, value)) {
        fault_with_values(walk, at, "must be ", schema->constant, schema_describe_value);
    }
}

/* `words` ends where the number stands. */
static void bound_fault(struct walk *walk, const struct place *at, const char *words, struct schema_number bound)
{
    if (bound.is_integer) {
        walk_fault(walk, at, "%s %" PRId64, words, bound.integer);
    } else {
        walk_fault(walk, at, "%s %.15g", words, bound.real);
    }
}

static bool is_multiple(struct schema_number value, struct schema_number of)
{
    if (value.is_integer && of.is_integer) {
        return value.integer % of.integer == 0;
    }
    double quotient = value.real / of.real;
    bool is_whole = quotient <= -9007199254740992.0 || quotient >= 9007199254740992.0; /* 2^53: no fractions above */
    return is_whole || (double)(int64_t)quotient == quotient;
}

static void check_number(struct walk *walk, const struct schema *schema, const json_t *json, const struct place *at)
{
    struct schema_number value = schema_number_of(json);
    if (schema->minimum.present && schema_number_compare(value, schema->minimum) < 0) {
        bound_fault(walk, at, "must be at least", schema->minimum);
    }
    if (schema->maximum.present && schema_number_compare(value, schema->maximum) > 0) {
        bound_fault(walk, at, "must be at most", schema->maximum);
    }
    if (schema->above.present && schema_number_compare(value, schema->above) <= 0) {
        bound_fault(walk, at, "must be more than", schema->above);
    }
    if (schema->below.present && schema_number_compare(value, schema->below) >= 0) {
        bound_fault(walk, at, "must be less than", schema->below);
    }
    if (schema->multiple_of.present && !is_multiple(value, schema->multiple_of)) {
        bound_fault(walk, at, "must be a multiple of", schema->multiple_of);
    }
}

/* Returns whether the size lies between the two. */
static bool check_size(struct walk *walk, struct schema_count least, struct schema_count most, size_t size, const char *unit, const struct place *at)
{
    if (least.present && size < least.value) {
        walk_fault(walk, at, "must have at least %zu %s%s", least.value, unit, least.value == 1 ? "" : "s");
        return false;
    }
    if (most.present && size > most.value) {
        walk_fault(walk, at, "must have at most %zu %s%s", most.value, unit, most.value == 1 ? "" : "s");
        return false;
    }
    return true;
}

static size_t code_points(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return count;
}

static bool is_matched(const struct schema *schema, const char *text, size_t len)
{
    return schema->regex == NULL || (memchr(text, '\0', len) == NULL && regexec(schema->regex, text, 0, NULL, 0) == 0);
}

/* Lengths and patterns are for machines where the document has words for people. */
static void check_described_text(struct walk *walk, const struct schema *schema, const char *text, size_t len, const struct place *at)
{
    size_t count = code_points(text, len);
    if ((schema->min_length.present && count < schema->min_length.value) || (schema->max_length.present && count > schema->max_length.value) ||
        !is_matched(schema, text, len)) {
        walk_fault(walk, at, "must be %s", schema->says);
    }
}

/* A text of the wrong length is not matched: the length is what bounds the time that a match takes. */
static void check_text(struct walk *walk, const struct schema *schema, const char *text, size_t len, const struct place *at)
{
    bool is_sized = schema->min_length.present || schema->max_length.present;
    if (schema->says != NULL) {
        check_described_text(walk, schema, text, len, at);
        return;
    }
    if (is_sized && !check_size(walk, schema->min_length, schema->max_length, code_points(text, len), "character", at)) {
        return;
    }
    if (!is_matched(schema, text, len)) {
        walk_fault(walk, at, "must match %s", schema->pattern);
    }
}

static void check_items(struct walk *walk, const struct schema *schema, const json_t *value, const struct place *at)
{
    size_t count = json_array_size(value);
    bool fits = check_size(walk, schema->min_items, schema->max_items, count, "item", at);
    for (size_t i = 0; schema->items != NULL && i < count && !walk->ended; i++) {
        struct place item = place_item(at, i);
        schema_walk(walk, schema->items, json_array_get(value, i), &item);
    }
    for (size_t i = 1; schema->unique_items && fits && i < count && !walk->ended; i++) {
        for (size_t k = 0; k < i; k++) {
            if (schema_equal(json_array_get(value, i), json_array_get(value, k))) {
                struct place item = place_item(at, i);
                walk_fault(walk, &item, "is the same as item %zu", k);
                break;
            }
        }
    }
}

static void check_name(struct walk *walk, const struct schema *names, const char *name, const struct place *at)
{
    const char *prefix = walk->prefix;
    walk->prefix = "has a name that ";
    for (; names != NULL && !walk->ended; names = names->ref) {
        if (names->never || (names->types != 0 && (names->types & SCHEMA_STRING) == 0)) {
            walk_fault(walk, at, "is not allowed");
        }
        check_text(walk, names, name, strlen(name), at);
    }
    walk->prefix = prefix;
}

static void check_required(struct walk *walk, const struct schema *schema, const json_t *value, const struct place *at)
{
    for (size_t i = 0; i < json_array_size(schema->required) && !walk->ended; i++) {
        const char *name = json_string_value(json_array_get(schema->required, i));
        if (json_object_get(value, name) == NULL) {
            struct place member = place_member(at, name);
            walk_fault(walk, &member, "is required");
        }
    }
}

/* Returns whether the member is one that is required. */
static bool check_member(struct walk *walk, const struct schema *schema, const char *key, size_t key_len, json_t *member, const struct place *at)
{
    if (schema->property_names != NULL) {
        check_name(walk, schema->property_names, key, at);
    }
    const struct schema_property *property = schema_own_property(schema, key, key_len);
    if (property != NULL) {
        schema_walk(walk, property->schema, member, at);
        return property->required;
    }
    if (schema->additional != NULL && schema->additional->never) {
        walk_fault(walk, at, "is not a known field");
    } else if (schema->additional != NULL) {
        schema_walk(walk, schema->additional, member, at);
    }
    return false;
}

static void check_members(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    if (!check_size(walk, schema->min_properties, schema->max_properties, json_object_size(value), "member", at)) {
        return;
    }
    size_t required = 0;
    for (void *i = json_object_iter(value); i != NULL && !walk->ended; i = json_object_iter_next(value, i)) {
        const char *key = json_object_iter_key(i);
        struct place inside = place_member(at, key);
        required += check_member(walk, schema, key, json_object_iter_key_len(i), json_object_iter_value(i), &inside);
    }
    if (required < json_array_size(schema->required)) {
        check_required(walk, schema, value, at);
    }
}

static void check_combined(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    for (size_t i = 0; i < schema->all_of.count && !walk->ended; i++) {
        schema_walk(walk, schema->all_of.items[i], value, at);
    }
    if (schema->one_of.count > 0 && !walk->ended) {
        schema_walk_alternatives(walk, &schema->one_of, true, value, at);
    }
    if (schema->any_of.count > 0 && !walk->ended) {
        schema_walk_alternatives(walk, &schema->any_of, false, value, at);
    }
    if (schema->negated != NULL && !walk->ended && schema_fits(walk, schema->negated, value, at)) {
        AUTO_STRBUF text = STRBUF_INIT;
        if (walk->faults != NULL) {
            schema_describe(&text, schema->negated);
        }
        walk_fault(walk, at, "must not be %s", text.data != NULL ? text.data : "this");
    }
}

static void check_contents(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        check_members(walk, schema, value, at);
        break;
    case JSON_ARRAY:
        check_items(walk, schema, value, at);
        break;
    case JSON_STRING:
        check_text(walk, schema, json_string_value(value), json_string_length(value), at);
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        check_number(walk, schema, value, at);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        break;
    }
}

void schema_walk(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    if (walk->ended) {
        return;
    }
    if (*walk->steps == 0 || at->depth > LIMIT_JSON_DEPTH) {
        walk_fault(walk, at, *walk->steps == 0 ? "is too large to be checked" : "is nested too deeply");
        walk->ended = true;
        return;
    }
    --*walk->steps;
    if (schema->never) {
        walk_fault(walk, at, "is not allowed");
        return;
    }
    if (schema->checked_by_handler) {
        (void)check_type(walk, schema_types(schema), value, at);
        return;
    }
    if (!check_type(walk, schema->types, value, at)) {
        return;
    }
    check_values(walk, schema, value, at);
    if (schema->ref != NULL) {
        schema_walk(walk, schema->ref, value, at);
    }
    if (!walk->ended) {
        check_contents(walk, schema, value, at);
        check_combined(walk, schema, value, at);
    }
}

bool schema_fits(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at)
{
    struct walk quiet = {.in = walk->in, .prefix = "", .steps = walk->steps};
    schema_walk(&quiet, schema, value, at);
    return !quiet.failed;
}

bool schema_check(const struct schema *schema, const json_t *value, const char *in, const char *name, struct spec_faults *faults)
{
    struct place top = PLACE_TOP;
    size_t steps = SCHEMA_STEPS_MAX;
    struct walk walk = {.faults = faults, .in = in, .name = name, .prefix = "", .steps = &steps};
    schema_walk(&walk, schema, schema_mutable(value), &top);
    if (steps == 0 && !walk.failed) {
        walk_fault(&walk, &top, "is too large to be checked");
    }
    return !walk.failed;
}
