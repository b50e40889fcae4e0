/*
 * The API description, openapi.yaml (OpenAPI 3.1), as the router and the validator use it. Nothing about
 * paths, methods, parameters, headers, media types and bodies is repeated in C: what the document says is
 * what is checked.
 *
 * Understood of JSON Schema 2020-12: true, false, $ref (to components/schemas; other keywords beside it count
 * too), type (one or a list), enum, const, properties, required, additionalProperties, propertyNames (lengths
 * and a pattern), minProperties, maxProperties, minimum, maximum, exclusiveMinimum, exclusiveMaximum,
 * multipleOf, minLength, maxLength (code points), pattern, items, minItems, maxItems, uniqueItems, oneOf,
 * anyOf, allOf, not, default; title, description, examples, format, deprecated, readOnly and writeOnly are
 * annotations.
 *
 * Beside components/schemas there is components/x-schemas, for what is checked by name and is no part of the
 * API. With `x-checked-by-handler: true` only the type is checked here: the handler accepts other spellings,
 * brings them into the form that the schema describes, and checks that.
 *
 * "x-says" beside lengths and a pattern is what such a text must be, in words for people ("a network such as 172.30.0.0/24"), and is what faults say.
 *
 * spec_load() fails on a keyword that is not known (names that begin with "x-" are free), so that nothing in
 * the document is silently not checked. It also fails on what could not work or would cost too much: a
 * default that does not fit, a required name that additionalProperties forbids, a reference that comes back
 * to itself on the same value, uniqueItems without maxItems, two paths that match the same, a path parameter
 * that is missing on one side, and a pattern that POSIX extended regular expressions and ECMAScript read
 * differently (\d, (?:, a backslash in brackets).
 *
 * Integers are those of 64 bits; 1.0 is one. Immutable after spec_load(): any thread may use it.
 */
#ifndef SMARTVM_API_SPEC_SPEC_H
#define SMARTVM_API_SPEC_SPEC_H

#include "core/error.h"

#include <jansson.h>

struct spec;

enum { SPEC_POINTER_MAX = 256, SPEC_MEDIA_TYPES_MAX = 4 };

/*
 * One wrong field. Both texts are valid UTF-8, whatever the client sent. A pointer that would be too long
 * names the nearest place around instead, and the message begins with "something below this".
 */
struct spec_fault {
    const char *in;                 /* static: "body", "query", "path", "header" */
    char pointer[SPEC_POINTER_MAX]; /* JSON pointer (RFC 6901) for the body, else the parameter's name */
    char message[256];              /* "must be at most 32", "is not a known field" */
};

/* All faults of a request, at most LIMIT_JSON_ERRORS; `more` tells that there were others. */
struct spec_faults {
    struct spec_fault *items; /* owned */
    size_t count;
    bool more;
};
void spec_faults_add(struct spec_faults *faults, const char *in, const char *pointer, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void spec_faults_free(struct spec_faults *faults);

/* Parses and compiles the document. Error INTERNAL, saying where. */
int spec_load(const char *yaml, size_t len, struct spec **ret, struct error *err);
void spec_free(struct spec *spec);
const json_t *spec_document(const struct spec *spec); /* borrowed */

struct spec_operation {
    const char *id; /* operationId */
    const char *method;
    const char *path;         /* template, "/vms/{id}" */
    const char *invalid_code; /* x-invalid-code: of a body that does not fit; else "INVALID_REQUEST" */
    bool has_body;
    bool body_required;
    bool body_is_json;                                  /* application/json or …+json (a charset parameter of utf-8 may follow) */
    const char *body_media_types[SPEC_MEDIA_TYPES_MAX]; /* those that the operation takes, the usual one first */
    size_t body_media_type_count;
    size_t max_body_bytes; /* x-max-body-bytes, or LIMIT_BODY_BYTES */
};

size_t spec_operation_count(const struct spec *spec);
const struct spec_operation *spec_operation_at(const struct spec *spec, size_t index);

enum spec_route_result { SPEC_ROUTE_FOUND, SPEC_ROUTE_NO_PATH, SPEC_ROUTE_NO_METHOD };

struct spec_name_value {
    const char *name;
    const char *value;
};

struct spec_route {
    const struct spec_operation *operation;
    struct spec_name_value path_parameters[4]; /* values borrowed from the segments given */
    size_t path_parameter_count;
    char allow[64]; /* for NO_METHOD: "GET, HEAD, DELETE, OPTIONS" */
};

/*
 * `segments`: the path split on '/' and percent-decoded, without the empty first one. HEAD is answered as
 * GET. Plain text goes before a parameter ("/vms/batch" before "/vms/{id}"), from the left, also when its
 * path does not have the method. A parameter is never empty.
 */
enum spec_route_result spec_find(const struct spec *spec, const char *method, const char *const *segments, size_t count, struct spec_route *ret);

/*
 * Checks path, query and header parameters: missing required ones, wrong values, query parameters that the
 * operation does not have, repeated ones. Numbers (spelled as in JSON), booleans (true, false) and in queries
 * arrays (style form, explode true) are converted. *ret_values (new reference, untouched on a fault) is a
 * JSON object {"limit": 50, "label": ["a=b"], "If-Match": "…"} by the names in the document, with defaults
 * filled in. Header fields that the operation does not describe are ignored. Returns whether there were no
 * faults.
 */
bool spec_check_parameters(const struct spec *spec, const struct spec_route *route, const struct spec_name_value *query, size_t query_count,
                           const struct spec_name_value *headers, size_t header_count, json_t **ret_values, struct spec_faults *faults);

/* Checks a parsed JSON body. Takes no memory when it fits. Returns whether there were no new faults. */
bool spec_check_body(const struct spec *spec, const struct spec_operation *operation, const json_t *body, struct spec_faults *faults);

/*
 * In what a client sends, null for a known field that is not required and can't be null is the same as leaving it out: such members are taken
 * out, in place and recursively. In a merge patch (RFC 7396) null means removal, so there that is done inside of arrays only.
 */
void spec_drop_nulls(const struct spec_operation *operation, json_t *body);
void spec_drop_component_nulls(const struct spec *spec, const char *name, json_t *value);

/* Checks a value against the schema of this name (configuration, manifests). `in` is that of the faults. */
bool spec_check_component(const struct spec *spec, const char *name, const json_t *value, const char *in, struct spec_faults *faults);

/*
 * Fills in the `default` values of the schema of this name, in place and recursively through members and
 * items that are there (or were just filled in). Of oneOf and anyOf the first that fits counts.
 */
int spec_apply_defaults(const struct spec *spec, const char *name, json_t *value, struct error *err);

#endif
