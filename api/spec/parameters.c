/* Path, query and header of a request: text to values, and the values against their schemas. */
#include "api/spec/internal.h"

#include "core/json.h"

#include <string.h>
#include <strings.h>

/* What a request gives in one place. */
struct given {
    const struct spec_name_value *items;
    size_t count;
};

static bool is_named(const struct parameter *parameter, const char *name)
{
    return parameter->place == PARAMETER_HEADER ? strcasecmp(name, parameter->name) == 0 : strcmp(name, parameter->name) == 0;
}

/* Numbers are spelled as in JSON, with nothing around them: no "+5", " 5", "05" or "0x5". */
static json_t *read_number(const char *text, bool integer, const char **fault)
{
    size_t len = strlen(text);
    json_error_t error = {0};
    json_t *number = NULL;
    *fault = integer ? "must be an integer" : "must be a number";
    if (len > 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) && text[len - 1] > ' ') {
        number = json_loadb(text, len, JSON_DECODE_ANY, &error);
    }
    if (number == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        *fault = integer ? "must be an integer of at most 64 bits" : "must be a number of at most 64 bits";
    }
    if (integer && json_is_real(number)) {
        json_decref(number);
        return NULL;
    }
    return number;
}

/* NULL and words about the fault when the text is not of the type. */
static json_t *read_text(enum schema_type type, const char *text, const char **fault)
{
    switch (type) {
    case SCHEMA_INTEGER:
    case SCHEMA_NUMBER:
        return read_number(text, type == SCHEMA_INTEGER, fault);
    case SCHEMA_BOOLEAN:
        *fault = "must be true or false";
        return strcmp(text, "true") == 0 ? json_true() : strcmp(text, "false") == 0 ? json_false() : NULL;
    case SCHEMA_OBJECT:
    case SCHEMA_ARRAY:
    case SCHEMA_STRING:
    case SCHEMA_NULL:
        break;
    }
    *fault = "must be UTF-8";
    return json_string(text);
}

/* The values of that name: NULL when there is none, or when there is a fault. */
static json_t *read_given(const struct parameter *parameter, const struct given *given, bool *absent, struct spec_faults *faults)
{
    const char *in = parameter_place_names[parameter->place];
    AUTO_JSON *array = json_array();
    *absent = false;
    for (size_t i = 0; i < given->count; i++) {
        if (!is_named(parameter, given->items[i].name)) {
            continue;
        }
        const char *fault = NULL;
        const char *text = given->items[i].value != NULL ? given->items[i].value : "";
        json_t *value = read_text(parameter->type, text, &fault);
        if (value == NULL || json_array_append_new(array, value) < 0) {
            spec_faults_add(faults, in, parameter->name, "%s", value == NULL ? fault : "out of memory");
            return NULL;
        }
    }
    if (json_array_size(array) == 0) {
        *absent = true;
        return NULL;
    }
    if (!parameter->is_array && json_array_size(array) > 1) {
        spec_faults_add(faults, in, parameter->name, "is given more than once");
        return NULL;
    }
    return json_incref(parameter->is_array ? array : json_array_get(array, 0));
}

static bool check_parameter(const struct parameter *parameter, const struct given *given, json_t *values, struct spec_faults *faults)
{
    const char *in = parameter_place_names[parameter->place];
    bool absent = false;
    AUTO_JSON *value = read_given(parameter, given, &absent, faults);
    if (absent && parameter->fallback != NULL) {
        value = json_deep_copy(parameter->fallback);
    } else if (absent && parameter->required) {
        spec_faults_add(faults, in, parameter->name, "is required");
        return false;
    } else if (absent) {
        return true;
    } else if (value == NULL || !schema_check(parameter->schema, value, in, parameter->name, faults)) {
        return false;
    }
    if (json_object_set(values, parameter->name, value) < 0) {
        spec_faults_add(faults, in, parameter->name, "out of memory");
        return false;
    }
    return true;
}

static bool check_unknown(const struct operation *operation, const struct given *query, struct spec_faults *faults)
{
    bool all_known = true;
    for (size_t i = 0; i < query->count; i++) {
        bool known = false;
        for (size_t k = 0; k < operation->parameter_count && !known; k++) {
            const struct parameter *parameter = &operation->parameters[k];
            known = parameter->place == PARAMETER_QUERY && is_named(parameter, query->items[i].name);
        }
        if (!known) {
            spec_faults_add(faults, "query", query->items[i].name, "is not a known parameter");
            all_known = false;
        }
    }
    return all_known;
}

bool spec_check_parameters(const struct spec *spec, const struct spec_route *route, const struct spec_name_value *query, size_t query_count,
                           const struct spec_name_value *headers, size_t header_count, json_t **ret_values, struct spec_faults *faults)
{
    (void)spec;
    const struct operation *operation = operation_of(route->operation);
    const struct given given[] = {
        [PARAMETER_PATH] = {route->path_parameters, route->path_parameter_count},
        [PARAMETER_QUERY] = {query, query_count},
        [PARAMETER_HEADER] = {headers, header_count},
    };
    AUTO_JSON *values = json_object();
    bool fits = check_unknown(operation, &given[PARAMETER_QUERY], faults);
    for (size_t i = 0; i < operation->parameter_count; i++) {
        const struct parameter *parameter = &operation->parameters[i];
        fits = check_parameter(parameter, &given[parameter->place], values, faults) && fits;
    }
    if (values == NULL) {
        spec_faults_add(faults, "query", "", "out of memory");
        return false;
    }
    if (fits) {
        *ret_values = json_incref(values);
    }
    return fits;
}
