/* Schemas in words, for those who read a fault. */
#include "api/spec/schema.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/strbuf.h"

void schema_describe_value(struct strbuf *out, const json_t *value)
{
    AUTO_FREE char *text = json_text(value);
    strbuf_add(out, text != NULL ? text : "something else");
}

void schema_describe_values(struct strbuf *out, const json_t *values)
{
    for (size_t i = 0; i < json_array_size(values); i++) {
        strbuf_add(out, i > 0 ? ", " : "");
        schema_describe_value(out, json_array_get(values, i));
    }
}

void schema_describe_types(struct strbuf *out, unsigned types)
{
    static const struct {
        unsigned type;
        const char *words;
    } rows[] = {
        {SCHEMA_OBJECT, "an object"},      {SCHEMA_ARRAY, "an array"},     {SCHEMA_STRING, "a string"}, {SCHEMA_NUMBER, "a number"},
        {SCHEMA_BOOLEAN, "true or false"}, {SCHEMA_INTEGER, "an integer"}, {SCHEMA_NULL, "null"},
    };
    const char *before = "";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if ((types & rows[i].type) != 0) {
            strbuf_add(out, before);
            strbuf_add(out, rows[i].words);
            before = " or ";
        }
    }
}

static void describe_members(struct strbuf *out, const json_t *required)
{
    for (size_t i = 0; i < json_array_size(required); i++) {
        strbuf_add(out, i == 0 ? " with " : " and ");
        schema_describe_value(out, json_array_get(required, i));
    }
}

static void describe_alternatives(struct strbuf *out, const struct schema_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        strbuf_add(out, i > 0 ? " or " : "");
        schema_describe(out, list->items[i]);
    }
}

void schema_describe(struct strbuf *out, const struct schema *schema)
{
    if (out->len > sizeof((struct spec_fault *)NULL)->message) {
        return;
    }
    if (schema->title != NULL || schema->says != NULL) {
        strbuf_add(out, schema->title != NULL ? schema->title : schema->says);
    } else if (schema->constant != NULL) {
        schema_describe_value(out, schema->constant);
    } else if (schema->enumeration != NULL) {
        strbuf_add(out, json_array_size(schema->enumeration) > 1 ? "one of " : "");
        schema_describe_values(out, schema->enumeration);
    } else if (schema->one_of.count > 0 || schema->any_of.count > 0) {
        describe_alternatives(out, schema->one_of.count > 0 ? &schema->one_of : &schema->any_of);
    } else if (schema->required != NULL && json_array_size(schema->required) > 0) {
        strbuf_add(out, "an object");
        describe_members(out, schema->required);
    } else if (schema->types != 0) {
        schema_describe_types(out, schema->types);
        if (schema->pattern != NULL) {
            strbuf_addf(out, " that matches %s", schema->pattern);
        }
    } else if (schema->ref != NULL) {
        schema_describe(out, schema->ref);
    } else {
        strbuf_add(out, "something else");
    }
}
