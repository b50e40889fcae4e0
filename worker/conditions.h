/* Conditions (core/condition.h) of a resource, as a list of {"type", "status", "reason", "message", "since"}. Any thread. */
#ifndef SMARTVM_WORKER_CONDITIONS_H
#define SMARTVM_WORKER_CONDITIONS_H

#include "core/condition.h"
#include "core/json_build.h"

/* The one of that type in what was published last ({"conditions": […]}, may be NULL); borrowed, NULL for none. */
const json_t *conditions_find(const json_t *old, enum condition_type type);

/* Was it so, with this reason? */
bool conditions_had(const json_t *old, enum condition_type type, enum condition_status status, enum condition_reason reason);

/* `since` is that of the old one, if its status is the same, whatever its reason was. */
void conditions_add(struct json_build *list, const json_t *old, enum condition_type type, enum condition_status status, enum condition_reason reason,
                    const char *message);

#endif
