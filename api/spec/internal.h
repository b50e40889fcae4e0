/* The document as the router and the parameters use it. Private to api/spec*.c; borrows from the document. */
#ifndef SMARTVM_API_SPEC_INTERNAL_H
#define SMARTVM_API_SPEC_INTERNAL_H

#include "api/spec/schema.h"
#include "core/limits.h"

enum { SPEC_PATH_PARAMETERS_MAX = sizeof((struct spec_route *)NULL)->path_parameters / sizeof(struct spec_name_value) };

enum parameter_place { PARAMETER_PATH, PARAMETER_QUERY, PARAMETER_HEADER };
extern const char *const parameter_place_names[]; /* "path", "query", "header" */

struct parameter {
    const char *name;
    enum parameter_place place;
    bool required;
    bool is_array;         /* then `type` is that of an item */
    enum schema_type type; /* one of string, integer, number, boolean */
    const struct schema *schema;
    const json_t *fallback; /* NULL: no default */
};

struct operation {
    struct spec_operation facts;  /* first: what callers hold points here */
    struct parameter *parameters; /* owned */
    size_t parameter_count;
    const struct schema *body; /* NULL: has no body */
};

static inline const struct operation *operation_of(const struct spec_operation *facts)
{
    return (const struct operation *)facts;
}

enum method { METHOD_GET, METHOD_PUT, METHOD_POST, METHOD_PATCH, METHOD_DELETE, METHOD_OPTIONS, METHOD_COUNT };

struct segment {
    const char *text; /* in path.storage; of a parameter, its name */
    bool is_parameter;
};

struct path {
    const char *template;
    char *storage; /* owned */
    struct segment segments[LIMIT_PATH_SEGMENTS];
    size_t segment_count;
    struct operation *operations[METHOD_COUNT]; /* borrowed, NULL where there is none */
    char allow[sizeof((struct spec_route *)NULL)->allow];
};

struct spec {
    json_t *document; /* owned, like all that follows */
    struct schema_set schemas;
    struct operation **operations; /* in the order of the document */
    size_t operation_count;
    struct path *paths; /* sorted for spec_find() */
    size_t path_count;
};

/* One operation of a path, with the parameters of the path. Error INTERNAL, saying where. */
int operation_load(struct spec *spec, const struct path *path, const json_t *source, const json_t *path_parameters, const struct place *at,
                   struct operation *operation, struct error *err);
int parameters_load(struct spec *spec, const struct path *path, const json_t *own, const json_t *inherited, const struct place *at, struct operation *operation,
                    struct error *err);

int path_parse(struct path *path, const char *template, const struct place *at, struct error *err);
/* Brings the paths into the order in which spec_find() tries them. Two that match the same are an error. */
int paths_sort(struct spec *spec, struct error *err);

/* What `$ref` names below components/<kind>, or the value itself. */
int spec_resolve(const struct spec *spec, const json_t *value, const char *kind, const struct place *at, const json_t **ret, struct error *err);

/* false when absent. */
int spec_read_flag(const json_t *object, const char *key, const struct place *at, bool *ret, struct error *err);

/* Refuses members of an object that are neither in the list (ended by NULL) nor begin with "x-". */
int spec_check_keys(const json_t *object, const char *const *known, const struct place *at, struct error *err);

#endif
