/*
 * Conditions: what resources tell of themselves, each with a type, a status, a reason, a message and the time of its status. Types and reasons are
 * tables (core/condition_type.def, core/condition_reason.def): what is not in them can't be told. Any thread.
 */
#ifndef SMARTVM_CORE_CONDITION_H
#define SMARTVM_CORE_CONDITION_H

#include "core/error.h"

#include <jansson.h>

enum condition_type {
#define X(name, text, resource, sentence) CONDITION_##name,
#include "core/condition_type.def"
#undef X
    CONDITION_TYPE_COUNT_
};

/* Those of the table, and behind them each error code: a `ready` that is false has one for a reason. */
enum condition_reason {
#define X(name, text, types, sentence) REASON_##name,
#include "core/condition_reason.def"
#undef X
    REASON_COUNT_,
    REASON_OF_ERRORS_ = REASON_COUNT_ - 1,
#define X(name, status, title, sentence) REASON_ERR_##name,
#include "core/error.def"
#undef X
};

enum condition_status { CONDITION_FALSE, CONDITION_TRUE, CONDITION_UNKNOWN, CONDITION_STATUS_COUNT_ };

const char *condition_type_name(enum condition_type type);       /* "ready" */
const char *condition_reason_name(enum condition_reason reason); /* "set_up" */
const char *condition_status_name(enum condition_status status); /* "true" */

enum condition_reason condition_reason_of(enum error_code code);

/* Of a list of conditions as resources have it (may be NULL), the one of that type; borrowed, NULL: there is none. */
const json_t *condition_find(const json_t *list, enum condition_type type);

/* False for NULL. */
bool condition_has_status(const json_t *condition, enum condition_status status);
bool condition_has_reason(const json_t *condition, enum condition_reason reason);

#endif
