/* Loads the document: its frame and its paths. */
#include "api/spec/internal.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key;
    const char *name;
} methods[METHOD_COUNT] = {
    [METHOD_GET] = {"get", "GET"},       [METHOD_PUT] = {"put", "PUT"},          [METHOD_POST] = {"post", "POST"},
    [METHOD_PATCH] = {"patch", "PATCH"}, [METHOD_DELETE] = {"delete", "DELETE"}, [METHOD_OPTIONS] = {"options", "OPTIONS"},
};

int spec_check_keys(const json_t *object, const char *const *known, const struct place *at, struct error *err)
{
    if (!json_is_object(object)) {
        return place_error(err, at, "must be an object");
    }
    const char *key;
    json_t *value;
    json_object_foreach(schema_mutable(object), key, value)
    {
        const char *const *name = known;
        while (*name != NULL && strcmp(*name, key) != 0) {
            name++;
        }
        if (*name == NULL && strncmp(key, "x-", 2) != 0) {
            struct place inside = place_member(at, key);
            return place_error(err, &inside, "is not a known keyword");
        }
    }
    return 0;
}

int spec_read_flag(const json_t *object, const char *key, const struct place *at, bool *ret, struct error *err)
{
    const json_t *value = json_object_get(object, key);
    if (value != NULL && !json_is_boolean(value)) {
        return place_error(err, at, "'%s' must be true or false", key);
    }
    *ret = json_is_true(value);
    return 0;
}

int spec_resolve(const struct spec *spec, const json_t *value, const char *kind, const struct place *at, const json_t **ret, struct error *err)
{
    const json_t *ref = json_object_get(value, "$ref");
    if (ref == NULL) {
        *ret = value;
        return 0;
    }
    static const char *const known[] = {"$ref", "description", "summary", NULL};
    static const char prefix[] = "#/components/";
    const char *text = json_string_value(ref);
    size_t len = strlen(kind);
    if (spec_check_keys(value, known, at, err) < 0) {
        return -1;
    }
    if (text == NULL || strncmp(text, prefix, sizeof prefix - 1) != 0 || strncmp(text + sizeof prefix - 1, kind, len) != 0 ||
        text[sizeof prefix - 1 + len] != '/') {
        return place_error(err, at, "$ref must be %s%s/ and a name", prefix, kind);
    }
    const json_t *all = json_object_get(json_object_get(spec->document, "components"), kind);
    const json_t *found = json_object_get(all, text + sizeof prefix + len);
    if (found == NULL || json_object_get(found, "$ref") != NULL) {
        return place_error(err, at, found == NULL ? "there is no %s" : "%s is itself a $ref", text);
    }
    *ret = found;
    return 0;
}

static int add_operation(struct spec *spec, struct path *path, enum method method, const json_t *source, const json_t *parameters, const struct place *at,
                         struct error *err)
{
    struct operation *operation = calloc(1, sizeof *operation);
    if (operation == NULL) {
        return error_oom(err);
    }
    spec->operations[spec->operation_count++] = operation;
    path->operations[method] = operation;
    operation->facts.method = methods[method].name;
    operation->facts.path = path->template;
    if (operation_load(spec, path, source, parameters, at, operation, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i + 1 < spec->operation_count; i++) {
        if (strcmp(spec->operations[i]->facts.id, operation->facts.id) == 0) {
            return place_error(err, at, "the operationId %s is there twice", operation->facts.id);
        }
    }
    size_t len = strlen(path->allow);
    (void)snprintf(path->allow + len, sizeof path->allow - len, "%s%s%s", len > 0 ? ", " : "", methods[method].name, method == METHOD_GET ? ", HEAD" : "");
    return 0;
}

static int add_path(struct spec *spec, const char *template, const json_t *item, const struct place *at, struct error *err)
{
    static const char *const known[] = {"summary", "description", "parameters", "get", "put", "post", "patch", "delete", "options", NULL};
    _Static_assert(sizeof((struct path *)NULL)->allow > sizeof "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS", "all methods must fit");
    struct path *path = &spec->paths[spec->path_count];
    if (spec_check_keys(item, known, at, err) < 0) {
        return -1;
    }
    spec->path_count++;
    if (path_parse(path, template, at, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const json_t *source = json_object_get(item, methods[i].key);
        struct place inside = place_member(at, methods[i].key);
        if (source != NULL && add_operation(spec, path, (enum method)i, source, json_object_get(item, "parameters"), &inside, err) < 0) {
            return -1;
        }
    }
    if (path->operations[METHOD_OPTIONS] == NULL) { /* which is answered without being described */
        size_t len = strlen(path->allow);
        (void)snprintf(path->allow + len, sizeof path->allow - len, "%sOPTIONS", len > 0 ? ", " : "");
    }
    return 0;
}

static int load_paths(struct spec *spec, const struct place *top, struct error *err)
{
    struct place at = place_member(top, "paths");
    const json_t *paths = json_object_get(spec->document, "paths");
    if (!json_is_object(paths)) {
        return place_error(err, &at, "must be an object");
    }
    size_t count = json_object_size(paths);
    spec->paths = calloc(count + 1, sizeof *spec->paths);
    spec->operations = calloc(count * METHOD_COUNT + 1, sizeof(struct operation *));
    if (spec->paths == NULL || spec->operations == NULL) {
        return error_oom(err);
    }
    const char *template;
    json_t *item;
    json_object_foreach(schema_mutable(paths), template, item)
    {
        struct place inside = place_member(&at, template);
        if (add_path(spec, template, item, &inside, err) < 0) {
            return -1;
        }
    }
    return paths_sort(spec, err);
}

/* What is not read here (info, tags, responses, …) says nothing about requests. */
static int load_frame(const struct spec *spec, const struct place *top, struct error *err)
{
    static const char *const known[] = {"openapi", "info", "jsonSchemaDialect", "servers", "paths", "components", "security", "tags", "externalDocs", NULL};
    static const char *const known_components[] = {"schemas",  "parameters",      "requestBodies", "responses", "headers",
                                                   "examples", "securitySchemes", "links",         NULL};
    if (spec_check_keys(spec->document, known, top, err) < 0) {
        return -1;
    }
    const char *version = json_get_string(spec->document, "openapi");
    if (version == NULL || strncmp(version, "3.1.", 4) != 0) {
        return place_error(err, top, "'openapi' must be 3.1");
    }
    struct place at = place_member(top, "components");
    const json_t *components = json_object_get(spec->document, "components");
    return components == NULL ? 0 : spec_check_keys(components, known_components, &at, err);
}

static void cleanup_spec(struct spec **spec)
{
    spec_free(*spec);
}

int spec_load(const char *yaml, size_t len, struct spec **ret, struct error *err)
{
    struct place top = PLACE_TOP;
    CLEANUP(cleanup_spec) struct spec *spec = calloc(1, sizeof *spec);
    if (spec == NULL) {
        return error_oom(err);
    }
    struct error fault;
    if (yaml_parse(yaml, len, &spec->document, &fault) < 0) {
        return fault.code == ERR_OUT_OF_MEMORY ? error_oom(err) : error_set(err, ERR_INTERNAL, "API description: %s", fault.message);
    }
    if (load_frame(spec, &top, err) < 0) {
        return -1;
    }
    /* First the components, so that no reference without end is followed by what reads the paths; then all of
     * them. */
    const json_t *components = json_object_get(spec->document, "components");
    if (schema_set_load(&spec->schemas, components, err) < 0 || schema_set_verify(&spec->schemas, err) < 0 || load_paths(spec, &top, err) < 0 ||
        schema_set_verify(&spec->schemas, err) < 0) {
        return -1;
    }
    *ret = TAKE_PTR(spec);
    return 0;
}

void spec_free(struct spec *spec)
{
    if (spec == NULL) {
        return;
    }
    for (size_t i = 0; i < spec->operation_count; i++) {
        free(spec->operations[i]->parameters);
        free(spec->operations[i]);
    }
    for (size_t i = 0; i < spec->path_count; i++) {
        free(spec->paths[i].storage);
    }
    free(spec->operations);
    free(spec->paths);
    schema_set_free(&spec->schemas);
    json_decref(spec->document);
    free(spec);
}

const json_t *spec_document(const struct spec *spec)
{
    return spec->document;
}

size_t spec_operation_count(const struct spec *spec)
{
    return spec->operation_count;
}

const struct spec_operation *spec_operation_at(const struct spec *spec, size_t index)
{
    return &spec->operations[index]->facts;
}

bool spec_check_body(const struct spec *spec, const struct spec_operation *operation, const json_t *body, struct spec_faults *faults)
{
    (void)spec;
    const struct schema *schema = operation_of(operation)->body;
    if (schema == NULL) {
        spec_faults_add(faults, "body", "", "must be absent: this operation takes no body");
        return false;
    }
    return schema_check(schema, body, "body", NULL, faults);
}

bool spec_check_component(const struct spec *spec, const char *name, const json_t *value, const char *in, struct spec_faults *faults)
{
    const struct schema *schema = schema_named(&spec->schemas, name);
    if (schema == NULL) {
        spec_faults_add(faults, in, "", "cannot be checked: there is no schema '%s'", name);
        return false;
    }
    return schema_check(schema, value, in, NULL, faults);
}
