#include "worker/conditions.h"

#include "core/clock.h"
#include "core/json.h"

#include <string.h>

const json_t *conditions_find(const json_t *old, const char *type)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(json_object_get(old, "conditions"), i, item)
    {
        const char *name = json_get_string(item, "type");
        if (name != NULL && strcmp(name, type) == 0) {
            return item;
        }
    }
    return NULL;
}

void conditions_add(json_t *list, const json_t *old, const char *type, bool status, const char *reason, const char *message)
{
    char now[CLOCK_TEXT_MAX];
    const char *word = status ? "true" : "false";
    const json_t *before = conditions_find(old, type);
    const char *old_status = json_get_string(before, "status");
    const char *since = old_status != NULL && strcmp(old_status, word) == 0 ? json_get_string(before, "since") : NULL;
    (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", type, "status", word, "reason", reason,
                                                "message", message, "since",
                                                since != NULL ? since : clock_format(clock_wall_ms(), now)));
}
