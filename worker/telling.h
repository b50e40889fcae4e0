/*
 * Events about what was done on the host already, so that there is nothing to take back when they can't be stored: a repair, for one, is not made
 * again for the sake of its event. What can't be stored now (the database is locked, full, or memory is short) is kept in the worker's memory, in
 * order, and the key "events" of the queue stores it later. The newest EVENTS_KEPT are kept; none is lost while the daemon lives and fewer wait. No
 * memory is needed to keep one. Any thread, but not inside a transaction.
 */
#ifndef SMARTVM_WORKER_TELLING_H
#define SMARTVM_WORKER_TELLING_H

#include "core/event_type.h"
#include "worker/context.h"

enum { EVENTS_KEPT = 32, EVENT_DATA_MAX = 2048 };

int telling_new(struct telling **ret, struct error *err);
void telling_free(struct telling *telling);

/*
 * `kind` and `id` as in db/events.h. Then the event's data: pairs of (const char *name, const char *value), ended by NULL; a name that ends in "?" is
 * that of a boolean, whose value is "true" or "false". What goes beyond EVENT_DATA_MAX is cut off at the end of a value.
 */
void tell_event(struct worker *worker, enum event_type type, const char *kind, const char *id, ...) __attribute__((sentinel));

/* Stores what waits. An error means that it should be tried again later. */
int tell_waiting(struct worker *worker, struct error *err);

#endif
