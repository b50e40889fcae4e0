/*
 * Reading JSON and YAML from outside.
 *
 * JSON: strict, UTF-8 checked; duplicate keys, NUL in strings, integers of more than 64 bits, trailing text
 * and nesting deeper than LIMIT_JSON_DEPTH refused.
 *
 * YAML: one document in UTF-8, in YAML's JSON schema: a plain scalar is null (also `~` and nothing), true,
 * false or a number if it is spelled like one in JSON, and a string otherwise ("yes", "0x10" and "1_000" are
 * strings). Duplicate keys, non-string keys (so HTTP statuses are quoted), tags, anchors, aliases, NUL in
 * strings, integers of more than 64 bits and nesting deeper than LIMIT_JSON_DEPTH refused.
 *
 * Codes: INVALID_JSON for JSON, INVALID_CONFIG for YAML, with line and column.
 */
#ifndef SMARTVM_CORE_JSON_H
#define SMARTVM_CORE_JSON_H

#include "core/error.h"

#include <jansson.h>
#include <stdint.h>

static inline void cleanup_json(json_t **value)
{
    json_decref(*value);
}
#define AUTO_JSON __attribute__((cleanup(cleanup_json))) json_t

/* New reference. Any JSON value is accepted at the top. */
int json_parse(const char *text, size_t len, json_t **ret, struct error *err);
int yaml_parse(const char *text, size_t len, json_t **ret, struct error *err);

/* A merge patch (RFC 7396): a new reference, NULL when memory is short. */
json_t *json_merged(const json_t *target, const json_t *patch);

/* Compact text, keys in the order of insertion; NULL when out of memory. Owned by the caller (free). */
char *json_text(const json_t *value);

/*
 * A number without a fraction that fits 64 bits. To JSON Schema 1.0 is an integer like 1, so a checked
 * "integer" may be a JSON_REAL: use this or json_get_int(), never json_integer_value(), on what came from
 * outside.
 */
bool json_integral(const json_t *value, int64_t *ret);

/* Members of an object, without ever failing: NULL / the fallback when absent or of another type. */
const char *json_get_string(const json_t *object, const char *key);
int64_t json_get_int(const json_t *object, const char *key, int64_t fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);

/* Jansson allocates by malloc() and free() of our own code from now on, and json_parse() sees when it gets nothing. json_parse() does it, too. */
void json_watch_memory(void);

#endif
