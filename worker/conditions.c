#include "worker/conditions.h"

#include "core/clock.h"
#include "core/json.h"

const json_t *conditions_find(const json_t *old, enum condition_type type)
{
    return condition_find(json_object_get(old, "conditions"), type);
}

bool conditions_had(const json_t *old, enum condition_type type, enum condition_status status, enum condition_reason reason)
{
    const json_t *before = conditions_find(old, type);
    return condition_has_status(before, status) && condition_has_reason(before, reason);
}

void conditions_add(struct json_build *list, const json_t *old, enum condition_type type, enum condition_status status, enum condition_reason reason,
                    const char *message)
{
    char now[CLOCK_TEXT_MAX];
    const json_t *before = conditions_find(old, type);
    const char *since = condition_has_status(before, status) ? json_get_string(before, "since") : NULL;
    json_build_add(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", condition_type_name(type), "status", condition_status_name(status), "reason",
                                   condition_reason_name(reason), "message", message, "since", since != NULL ? since : clock_format(clock_wall_ms(), now)));
}
