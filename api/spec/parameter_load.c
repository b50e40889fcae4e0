/* Reads the parameters of an operation from the document. */
#include "api/spec/internal.h"

#include "core/json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const parameter_place_names[] = {"path", "query", "header"};

static int read_place(const json_t *source, const struct place *at, enum parameter_place *ret, struct error *err)
{
    const char *in = json_get_string(source, "in");
    for (int place = PARAMETER_PATH; in != NULL && place <= PARAMETER_HEADER; place++) {
        if (strcmp(in, parameter_place_names[place]) == 0) {
            *ret = (enum parameter_place)place;
            return 0;
        }
    }
    return place_error(err, at, "'in' must be path, query or header");
}

/* Values come as text, so there must be one way to read them. */
static int read_type(const struct schema *schema, const struct place *at, struct parameter *parameter, struct error *err)
{
    unsigned types = schema_types(schema);
    if (types == SCHEMA_ARRAY && parameter->place == PARAMETER_QUERY && !parameter->is_array) {
        const struct schema *items = schema;
        while (items != NULL && items->items == NULL) {
            items = items->ref;
        }
        parameter->is_array = true;
        return items == NULL ? place_error(err, at, "has no items") : read_type(items->items, at, parameter, err);
    }
    if (types == 0) { /* "enum" and "const" are often there alone */
        types = SCHEMA_STRING;
    }
    if (types != SCHEMA_STRING && types != SCHEMA_INTEGER && types != SCHEMA_NUMBER && types != SCHEMA_BOOLEAN) {
        return place_error(err, at, "must be a string, an integer, a number or a boolean, or in a query an array of them");
    }
    parameter->type = (enum schema_type)types;
    return 0;
}

/* OpenAPI 3.1: parameters of these names are ignored, so they would be checked by nobody. */
static bool is_reserved_header(const char *name)
{
    return strcasecmp(name, "Accept") == 0 || strcasecmp(name, "Content-Type") == 0 || strcasecmp(name, "Authorization") == 0;
}

static int check_style(const json_t *source, const struct parameter *parameter, const struct place *at, struct error *err)
{
    const char *style = parameter->place == PARAMETER_QUERY ? "form" : "simple";
    const json_t *given = json_object_get(source, "style");
    const json_t *explode = json_object_get(source, "explode");
    if (given != NULL && (!json_is_string(given) || strcmp(json_string_value(given), style) != 0)) {
        return place_error(err, at, "'style' must be %s", style);
    }
    if (explode != NULL && parameter->is_array && !json_is_true(explode)) {
        return place_error(err, at, "'explode' must be true");
    }
    if (parameter->place == PARAMETER_HEADER && is_reserved_header(parameter->name)) {
        return place_error(err, at, "%s cannot be described as a parameter", parameter->name);
    }
    return parameter->place == PARAMETER_PATH && !parameter->required ? place_error(err, at, "a path parameter must be required") : 0;
}

static int load_parameter(struct spec *spec, const json_t *value, const struct place *at, struct parameter *parameter, struct error *err)
{
    static const char *const known[] = {"name", "in", "required", "schema", "description", "deprecated", "style", "explode", "example", "examples", NULL};
    const json_t *source = NULL;
    if (spec_resolve(spec, value, "parameters", at, &source, err) < 0 || spec_check_keys(source, known, at, err) < 0 ||
        read_place(source, at, &parameter->place, err) < 0) {
        return -1;
    }
    struct place schema_at = place_member(at, "schema");
    parameter->name = json_get_string(source, "name");
    if (parameter->name == NULL) {
        return place_error(err, at, "has no name");
    }
    if (spec_read_flag(source, "required", at, &parameter->required, err) < 0 ||
        schema_compile(&spec->schemas, json_object_get(source, "schema"), &schema_at, &parameter->schema, err) < 0 ||
        read_type(parameter->schema, at, parameter, err) < 0) {
        return -1;
    }
    parameter->fallback = schema_default(parameter->schema);
    return check_style(source, parameter, at, err);
}

static bool is_called(const struct parameter *parameter, const char *name)
{
    return parameter->name != NULL && strcmp(parameter->name, name) == 0;
}

/*
 * What the operation says of a name replaces what its path says. Across places a name is unique: the values
 * of a request are kept by it.
 */
static int add_parameter(struct operation *operation, const struct parameter *parameter, bool inherited, const struct place *at, struct error *err)
{
    for (size_t i = 0; i < operation->parameter_count; i++) {
        if (is_called(&operation->parameters[i], parameter->name)) {
            return inherited && operation->parameters[i].place == parameter->place ? 0
                                                                                   : place_error(err, at, "the parameter %s is there twice", parameter->name);
        }
    }
    operation->parameters[operation->parameter_count++] = *parameter;
    return 0;
}

static int load_list(struct spec *spec, const json_t *list, bool inherited, const struct place *at, struct operation *operation, struct error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct place item = place_item(at, i);
        struct parameter parameter = {0};
        if (load_parameter(spec, json_array_get(list, i), &item, &parameter, err) < 0 || add_parameter(operation, &parameter, inherited, &item, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Each {name} of the path has a parameter, and each path parameter a {name}. */
static int match_path(const struct path *path, const struct operation *operation, const struct place *at, struct error *err)
{
    size_t described = 0;
    size_t named = 0;
    for (size_t i = 0; i < operation->parameter_count; i++) {
        described += operation->parameters[i].place == PARAMETER_PATH;
    }
    for (size_t i = 0; i < path->segment_count; i++) {
        bool found = !path->segments[i].is_parameter;
        named += path->segments[i].is_parameter;
        for (size_t k = 0; k < operation->parameter_count && !found; k++) {
            const struct parameter *parameter = &operation->parameters[k];
            found = parameter->place == PARAMETER_PATH && is_called(parameter, path->segments[i].text);
        }
        if (!found) {
            return place_error(err, at, "the path parameter %s is not described", path->segments[i].text);
        }
    }
    return described == named ? 0 : place_error(err, at, "a path parameter is not in the path");
}

int parameters_load(struct spec *spec, const struct path *path, const json_t *own, const json_t *inherited, const struct place *at, struct operation *operation,
                    struct error *err)
{
    if ((own != NULL && !json_is_array(own)) || (inherited != NULL && !json_is_array(inherited))) {
        return place_error(err, at, "must be an array");
    }
    size_t count = json_array_size(own) + json_array_size(inherited);
    operation->parameters = calloc(count + 1, sizeof *operation->parameters);
    if (operation->parameters == NULL) {
        return error_oom(err);
    }
    if (load_list(spec, own, false, at, operation, err) < 0 || load_list(spec, inherited, true, at, operation, err) < 0) {
        return -1;
    }
    return match_path(path, operation, at, err);
}
