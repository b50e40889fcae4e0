#include "core/event_type.h"

const char *event_type_name(enum event_type type)
{
    static const char *const names[EVENT_TYPE_COUNT_] = {
#define X(name, text, resource, data, sentence) [EVENT_##name] = text,
#include "core/event_type.def"
#undef X
    };
    return names[type];
}
