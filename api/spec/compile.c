/* From the text of a schema to struct schema: a row per keyword. */
#include "api/spec/schema.h"

#include "core/cleanup.h"

#include <stdlib.h>
#include <string.h>

struct job {
    struct schema_set *set;
    struct schema *schema;
    void *field; /* of the schema, by the offset of the keyword's row */
};

typedef int keyword_fn(const struct job *job, const json_t *value, const struct place *at, struct error *err);

int schema_compile(struct schema_set *set, const json_t *source, const struct place *at, const struct schema **ret, struct error *err)
{
    struct schema *schema = schema_new(set, source);
    if (schema == NULL) {
        return error_oom(err);
    }
    if (schema_compile_into(set, schema, at, err) < 0) {
        return -1;
    }
    *ret = schema;
    return 0;
}

static int read_nothing(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    (void)job;
    (void)value;
    (void)at;
    (void)err;
    return 0;
}

static int read_value(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    (void)at;
    (void)err;
    *(const json_t **)job->field = value;
    return 0;
}

static int read_text(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (!json_is_string(value)) {
        return place_error(err, at, "must be a string");
    }
    *(const char **)job->field = json_string_value(value);
    return 0;
}

static int read_flag(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (!json_is_boolean(value)) {
        return place_error(err, at, "must be true or false");
    }
    *(bool *)job->field = json_is_true(value);
    return 0;
}

static int read_count(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    int64_t count = 0;
    if (!json_integral(value, &count) || count < 0) {
        return place_error(err, at, "must be an integer that is not negative");
    }
    *(struct schema_count *)job->field = (struct schema_count){true, (size_t)count};
    return 0;
}

static int read_number(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (!json_is_number(value)) {
        return place_error(err, at, "must be a number");
    }
    *(struct schema_number *)job->field = schema_number_of(value);
    return 0;
}

static int read_divisor(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (!json_is_number(value) || !(json_number_value(value) > 0)) {
        return place_error(err, at, "must be a number above 0");
    }
    return read_number(job, value, at, err);
}

static int read_values(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (json_array_size(value) == 0) {
        return place_error(err, at, "must be an array with at least one value");
    }
    return read_value(job, value, at, err);
}

static int read_schema(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    return schema_compile(job->set, value, at, (const struct schema **)job->field, err);
}

static int read_schemas(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    struct schema_list *list = job->field;
    size_t count = json_array_size(value);
    if (count == 0 || count > SCHEMA_ALTERNATIVES_MAX) {
        return place_error(err, at, "must be an array of 1 to %d schemas", SCHEMA_ALTERNATIVES_MAX);
    }
    list->items = calloc(count, sizeof(const struct schema *));
    if (list->items == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct place item = place_item(at, i);
        if (schema_compile(job->set, json_array_get(value, i), &item, &list->items[i], err) < 0) {
            return -1;
        }
        list->count++;
    }
    return 0;
}

static int read_ref(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    static const char prefix[] = "#/components/schemas/";
    const char *text = json_string_value(value);
    if (text == NULL || strncmp(text, prefix, sizeof prefix - 1) != 0) {
        return place_error(err, at, "must be %s and a name", prefix);
    }
    job->schema->ref = schema_named(job->set, text + sizeof prefix - 1);
    return job->schema->ref != NULL ? 0 : place_error(err, at, "there is no %s", text);
}

static const struct {
    const char *name;
    unsigned type;
} type_names[] = {
    {"object", SCHEMA_OBJECT}, {"array", SCHEMA_ARRAY},     {"string", SCHEMA_STRING}, {"integer", SCHEMA_INTEGER},
    {"number", SCHEMA_NUMBER}, {"boolean", SCHEMA_BOOLEAN}, {"null", SCHEMA_NULL},
};

static int add_type(struct schema *schema, const json_t *value, const struct place *at, struct error *err)
{
    for (size_t i = 0; json_is_string(value) && i < ARRAY_LEN(type_names); i++) {
        if (strcmp(json_string_value(value), type_names[i].name) == 0) {
            schema->types |= type_names[i].type;
            return 0;
        }
    }
    return place_error(err, at, "must be the name of a type, or an array of them");
}

static int read_type(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (json_array_size(value) == 0) {
        return add_type(job->schema, value, at, err);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        struct place item = place_item(at, i);
        if (add_type(job->schema, json_array_get(value, i), &item, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_required(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (!json_is_array(value)) {
        return place_error(err, at, "must be an array of names");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i))) {
            return place_error(err, at, "must be an array of names");
        }
    }
    return read_value(job, value, at, err);
}

static int compare_properties(const void *a, const void *b)
{
    const struct schema_property *left = a;
    const struct schema_property *right = b;
    if (left->name_len != right->name_len) {
        return left->name_len < right->name_len ? -1 : 1;
    }
    return memcmp(left->name, right->name, left->name_len);
}

const struct schema_property *schema_own_property(const struct schema *schema, const char *name, size_t len)
{
    struct schema_property wanted = {.name = name, .name_len = len};
    return schema->property_count == 0 ? NULL : bsearch(&wanted, schema->properties, schema->property_count, sizeof wanted, compare_properties);
}

static int read_properties(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    struct schema *schema = job->schema;
    if (!json_is_object(value)) {
        return place_error(err, at, "must be an object");
    }
    schema->properties = calloc(json_object_size(value) + 1, sizeof *schema->properties);
    if (schema->properties == NULL) {
        return error_oom(err);
    }
    const char *key;
    json_t *member;
    json_object_foreach(schema_mutable(value), key, member)
    {
        struct place inside = place_member(at, key);
        struct schema_property *property = &schema->properties[schema->property_count];
        if (schema_compile(job->set, member, &inside, &property->schema, err) < 0) {
            return -1;
        }
        property->name = key;
        property->name_len = strlen(key);
        schema->property_count++;
    }
    qsort(schema->properties, schema->property_count, sizeof *schema->properties, compare_properties);
    return 0;
}

static int read_pattern(const struct job *job, const json_t *value, const struct place *at, struct error *err)
{
    if (read_text(job, value, at, err) < 0) {
        return -1;
    }
    return schema_compile_pattern(json_string_value(value), at, &job->schema->regex, err);
}

#define ROW(keyword, read, field) \
    { \
        keyword, read, offsetof(struct schema, field) \
    }

static const struct {
    const char *name;
    keyword_fn *read;
    size_t offset;
} keywords[] = {
    ROW("$ref", read_ref, ref),
    ROW("type", read_type, types),
    ROW("enum", read_values, enumeration),
    ROW("const", read_value, constant),
    ROW("default", read_value, fallback),
    ROW("properties", read_properties, properties),
    ROW("required", read_required, required),
    ROW("additionalProperties", read_schema, additional),
    ROW("propertyNames", read_schema, property_names),
    ROW("minProperties", read_count, min_properties),
    ROW("maxProperties", read_count, max_properties),
    ROW("minimum", read_number, minimum),
    ROW("maximum", read_number, maximum),
    ROW("exclusiveMinimum", read_number, above),
    ROW("exclusiveMaximum", read_number, below),
    ROW("multipleOf", read_divisor, multiple_of),
    ROW("minLength", read_count, min_length),
    ROW("maxLength", read_count, max_length),
    ROW("pattern", read_pattern, pattern),
    ROW("items", read_schema, items),
    ROW("minItems", read_count, min_items),
    ROW("maxItems", read_count, max_items),
    ROW("uniqueItems", read_flag, unique_items),
    ROW("oneOf", read_schemas, one_of),
    ROW("anyOf", read_schemas, any_of),
    ROW("allOf", read_schemas, all_of),
    ROW("not", read_schema, negated),
    ROW("title", read_text, title),
    ROW("x-says", read_text, says),
    ROW("description", read_nothing, title),
    ROW("examples", read_nothing, title),
    ROW("format", read_nothing, title),
    ROW("deprecated", read_nothing, title),
    ROW("readOnly", read_nothing, title),
    ROW("writeOnly", read_nothing, title),
    ROW("x-checked-by-handler", read_flag, checked_by_handler),
};

static int read_keyword(struct schema_set *set, struct schema *schema, const char *name, const json_t *value, const struct place *at, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (strcmp(keywords[i].name, name) == 0) {
            struct job job = {set, schema, (char *)schema + keywords[i].offset};
            return keywords[i].read(&job, value, at, err);
        }
    }
    return strncmp(name, "x-", 2) == 0 ? 0 : place_error(err, at, "is not a known keyword");
}

/* What can only be seen with all keywords of the schema read. */
static int finish(struct schema *schema, const struct place *at, struct error *err)
{
    bool closed = schema->additional != NULL && schema->additional->never;
    for (size_t i = 0; i < json_array_size(schema->required); i++) {
        const char *name = json_string_value(json_array_get(schema->required, i));
        const struct schema_property *known = schema_own_property(schema, name, strlen(name));
        if (known == NULL && closed) {
            return place_error(err, at, "requires '%s', which is not among its properties", name);
        }
        if (known != NULL) {
            schema->properties[known - schema->properties].required = true;
        }
    }
    if (schema->unique_items && (!schema->max_items.present || schema->max_items.value > SCHEMA_UNIQUE_ITEMS_MAX)) {
        return place_error(err, at, "uniqueItems needs maxItems of at most %d", SCHEMA_UNIQUE_ITEMS_MAX);
    }
    return 0;
}

int schema_compile_into(struct schema_set *set, struct schema *schema, const struct place *at, struct error *err)
{
    if (json_is_boolean(schema->source)) {
        schema->never = json_is_false(schema->source);
        return 0;
    }
    if (!json_is_object(schema->source)) {
        return place_error(err, at, "must be a schema");
    }
    const char *name;
    json_t *value;
    json_object_foreach(schema_mutable(schema->source), name, value)
    {
        struct place inside = place_member(at, name);
        if (read_keyword(set, schema, name, value, &inside, err) < 0) {
            return -1;
        }
    }
    return finish(schema, at, err);
}
