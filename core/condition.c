#include "core/condition.h"

#include "core/json.h"

#include <string.h>

static const char *const types[CONDITION_TYPE_COUNT_] = {
#define X(name, text, resource, sentence) [CONDITION_##name] = text,
#include "core/condition_type.def"
#undef X
};

static const char *const reasons[] = {
#define X(name, text, types, sentence) [REASON_##name] = text,
#include "core/condition_reason.def"
#undef X
#define X(name, status, title, sentence) [REASON_ERR_##name] = #name,
#include "core/error.def"
#undef X
};

const char *condition_type_name(enum condition_type type)
{
    return types[type];
}

const char *condition_reason_name(enum condition_reason reason)
{
    return reasons[reason];
}

const char *condition_status_name(enum condition_status status)
{
    static const char *const names[CONDITION_STATUS_COUNT_] = {"false", "true", "unknown"};
    return names[status];
}

enum condition_reason condition_reason_of(enum error_code code)
{
    return (enum condition_reason)(REASON_ERR_INTERNAL + (int)code);
}

static bool is(const json_t *condition, const char *member, const char *word)
{
    const char *text = json_get_string(condition, member);
    return text != NULL && strcmp(text, word) == 0;
}

const json_t *condition_find(const json_t *list, enum condition_type type)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(list, i, item)
    {
        if (is(item, "type", condition_type_name(type))) {
            return item;
        }
    }
    return NULL;
}

bool condition_has_status(const json_t *condition, enum condition_status status)
{
    return is(condition, "status", condition_status_name(status));
}

bool condition_has_reason(const json_t *condition, enum condition_reason reason)
{
    return is(condition, "reason", condition_reason_name(reason));
}
