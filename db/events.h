/* Events: what happened, in a stored sequence. Written in the transaction of what they tell, or in one of their own. */
#ifndef SMARTVM_DB_EVENTS_H
#define SMARTVM_DB_EVENTS_H

#include "core/event_type.h"
#include "db/db.h"

/* `kind` "vm" or "image" (or "network" with the id ""), `data` a JSON object as text. */
int events_add(struct db *db, enum event_type type, const char *kind, const char *id, const char *data, struct error *err);

struct event_row {
    int64_t seq;
    int64_t at_ms;
    char *type;
    char *resource; /* "/vms/a" */
    char *data;
};

/* Events after `after`, in order, at most `limit`. */
int events_list(struct db *db, int64_t after, size_t limit, struct event_row **ret, size_t *ret_count, struct error *err);
void events_list_free(struct event_row *rows, size_t count);

/* The smallest number that is stored and the greatest that was ever given; 0 when there is none. */
int events_range(struct db *db, int64_t *ret_first, int64_t *ret_last, struct error *err);

#endif
