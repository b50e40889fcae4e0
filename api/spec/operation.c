/* Reads one operation of the document: what it is called, what body it takes, what parameters. */
#include "api/spec/internal.h"

#include "core/json.h"

#include <string.h>

static bool is_json(const char *media_type)
{
    size_t len = strlen(media_type);
    return strcmp(media_type, "application/json") == 0 || (len > 5 && strcmp(media_type + len - 5, "+json") == 0);
}

/* The body is read and checked in one way, whatever it is called: so all are JSON with one schema, or none is. */
static int load_media_type(struct spec *spec, const char *name, const json_t *media, const struct place *at, struct operation *operation, struct error *err)
{
    static const char *const known[] = {"schema", "example", "examples", NULL};
    struct spec_operation *facts = &operation->facts;
    struct place inside = place_member(at, name);
    struct place schema_at = place_member(&inside, "schema");
    const json_t *schema = json_object_get(media, "schema");
    if (spec_check_keys(media, known, &inside, err) < 0) {
        return -1;
    }
    facts->body_media_types[facts->body_media_type_count++] = name;
    if (facts->body_media_type_count == 1) {
        facts->body_is_json = is_json(name);
        return schema_compile(&spec->schemas, schema, &schema_at, &operation->body, err);
    }
    if (is_json(name) != facts->body_is_json || (is_json(name) && !json_equal(schema, operation->body->source))) {
        return place_error(err, &inside, "must be JSON of the same schema as %s, or neither", facts->body_media_types[0]);
    }
    return 0;
}

static int load_content(struct spec *spec, const json_t *content, const struct place *at, struct operation *operation, struct error *err)
{
    size_t count = json_object_size(content);
    if (count == 0 || count > SPEC_MEDIA_TYPES_MAX) {
        return place_error(err, at, "must have 1 to %d media types", SPEC_MEDIA_TYPES_MAX);
    }
    const char *name;
    json_t *media;
    json_object_foreach(schema_mutable(content), name, media)
    {
        if (load_media_type(spec, name, media, at, operation, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int load_body(struct spec *spec, const json_t *source, const struct place *at, struct operation *operation, struct error *err)
{
    static const char *const known[] = {"description", "content", "required", NULL};
    const json_t *body = NULL;
    if (spec_resolve(spec, source, "requestBodies", at, &body, err) < 0 || spec_check_keys(body, known, at, err) < 0) {
        return -1;
    }
    struct place content = place_member(at, "content");
    operation->facts.has_body = true;
    if (spec_read_flag(body, "required", at, &operation->facts.body_required, err) < 0) {
        return -1;
    }
    return load_content(spec, json_object_get(body, "content"), &content, operation, err);
}

static int load_limits(const json_t *source, const struct place *at, struct spec_operation *facts, struct error *err)
{
    const json_t *limit = json_object_get(source, "x-max-body-bytes");
    const json_t *code = json_object_get(source, "x-invalid-code");
    int64_t bytes = LIMIT_BODY_BYTES;
    enum error_code known = ERR_INVALID_REQUEST;
    if (limit != NULL && (!json_integral(limit, &bytes) || bytes <= 0)) {
        return place_error(err, at, "x-max-body-bytes must be a number above 0");
    }
    if (code != NULL && (!json_is_string(code) || !error_code_from_name(json_string_value(code), &known))) {
        return place_error(err, at, "x-invalid-code must be the name of an error code");
    }
    facts->max_body_bytes = (size_t)bytes;
    facts->invalid_code = error_code_name(known);
    return 0;
}

int operation_load(struct spec *spec, const struct path *path, const json_t *source, const json_t *path_parameters, const struct place *at,
                   struct operation *operation, struct error *err)
{
    static const char *const known[] = {"operationId", "tags",     "summary",      "description", "parameters", "requestBody",
                                        "responses",   "security", "externalDocs", "deprecated",  NULL};
    if (spec_check_keys(source, known, at, err) < 0 || load_limits(source, at, &operation->facts, err) < 0) {
        return -1;
    }
    operation->facts.id = json_get_string(source, "operationId");
    if (operation->facts.id == NULL) {
        operation->facts.id = "";
        return place_error(err, at, "has no operationId");
    }
    struct place parameters = place_member(at, "parameters");
    if (parameters_load(spec, path, json_object_get(source, "parameters"), path_parameters, &parameters, operation, err) < 0) {
        return -1;
    }
    const json_t *body = json_object_get(source, "requestBody");
    struct place body_at = place_member(at, "requestBody");
    return body == NULL ? 0 : load_body(spec, body, &body_at, operation, err);
}
