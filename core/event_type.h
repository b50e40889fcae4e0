/* The types of events, as one table (core/event_type.def): what is not in it can't be told. Pure. */
#ifndef SMARTVM_CORE_EVENT_TYPE_H
#define SMARTVM_CORE_EVENT_TYPE_H

enum event_type {
#define X(name, text, resource, data, sentence) EVENT_##name,
#include "core/event_type.def"
#undef X
    EVENT_TYPE_COUNT_
};

const char *event_type_name(enum event_type type); /* "vm.created" */

#endif
