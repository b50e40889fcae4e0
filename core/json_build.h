/*
 * Building JSON while memory may be short. Jansson's functions that add to a document answer -1 when they could not, and a document that somebody forgot
 * to ask is one without a condition, or without an error. A builder remembers: after a failure every later call does nothing, and what is taken
 * out at the end is NULL. A value that could not be made (NULL) is such a failure, so builders nest without a look at anything in between.
 *
 * Like jansson's "new" functions, put and add take over the reference to `value`, whatever happens. Any thread, one at a time.
 */
#ifndef SMARTVM_CORE_JSON_BUILD_H
#define SMARTVM_CORE_JSON_BUILD_H

#include <jansson.h>
#include <stdbool.h>

struct json_build {
    json_t *value; /* the object or array; NULL after a failure */
};

struct json_build json_build_object(void);
struct json_build json_build_array(void);

void json_build_put(struct json_build *object, const char *key, json_t *value); /* replaces what has the key */
void json_build_add(struct json_build *array, json_t *value);

/* For a value that somebody else holds, and that may be absent: a reference of its own, or null. */
json_t *json_or_null(const json_t *value);

/* Hands the document over; NULL after a failure. */
json_t *json_build_take(struct json_build *build);
void json_build_free(struct json_build *build);

#define AUTO_JSON_BUILD __attribute__((cleanup(json_build_free))) struct json_build

#endif
