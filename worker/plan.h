/*
 * Plans for dry runs: what would be done on the host if something else were wanted, by the very planners that do it. Nothing is changed.
 *
 * The answer to {"question":"plan"}, which comes with a sealed file of a struct plan_wish (core/plan_wish.h):
 *   {"operations": [{"resource", "operation", "target", "description", "found"}…], "notes": [<what can't be told by operations, in words>…]}
 * The operations of one resource are in the order in which they are done; those of another resource may be done at the same time.
 */
#ifndef SMARTVM_WORKER_PLAN_H
#define SMARTVM_WORKER_PLAN_H

#include "worker/context.h"

#include <jansson.h>

/* From the thread of slow questions. `handed_over` stays the caller's. NULL on failure; UNAVAILABLE: what it is about is worked on for so long. */
json_t *plan_answer(struct worker *worker, int handed_over, struct error *err);

#endif
