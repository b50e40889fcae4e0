/* Conditions of what there is one of, as a list of {"type", "status", "reason", "message", "since"}. Any thread. */
#ifndef SMARTVM_WORKER_CONDITIONS_H
#define SMARTVM_WORKER_CONDITIONS_H

#include <jansson.h>
#include <stdbool.h>

/* The one of that type in what was published last ({"conditions": […]}, may be NULL); borrowed, NULL for none. */
const json_t *conditions_find(const json_t *old, const char *type);

/* `since` is that of the old one, if its status is the same. */
void conditions_add(json_t *list, const json_t *old, const char *type, bool status, const char *reason, const char *message);

#endif
