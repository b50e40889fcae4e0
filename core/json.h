/*
 * Reading JSON and YAML from outside. JSON: strict, UTF-8 checked, duplicate keys, NUL in strings, trailing text and nesting deeper than LIMIT_JSON_DEPTH
 * refused. YAML (libyaml): one document, the JSON-like core schema (null, true/false, integers, reals, strings), duplicate keys, non-string keys, tags and deep nesting
 * refused; anchors and aliases refused. Code: INVALID_JSON for JSON, INVALID_CONFIG for YAML, with line and column.
 */
#ifndef SMARTVM_CORE_JSON_H
#define SMARTVM_CORE_JSON_H

#include "core/error.h"

#include <jansson.h>

static inline void cleanup_json(json_t **value)
{
    json_decref(*value);
}
#define AUTO_JSON __attribute__((cleanup(cleanup_json))) json_t

/* New reference. Any JSON value is accepted at the top. */
int json_parse(const char *text, size_t len, json_t **ret, struct error *err);
int yaml_parse(const char *text, size_t len, json_t **ret, struct error *err);

/* Compact text, keys in the order of insertion; NULL when out of memory. Owned by the caller (free). */
char *json_text(const json_t *value);

/* Members of an object, without ever failing: NULL / the fallback when absent or of another type. */
const char *json_get_string(const json_t *object, const char *key);
int64_t json_get_int(const json_t *object, const char *key, int64_t fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);

#endif
