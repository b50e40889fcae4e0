/* Repairs that were asked for: a row each, with its outcome. The newest LIMIT_REPAIRS are kept. */
#ifndef SMARTVM_DB_REPAIRS_H
#define SMARTVM_DB_REPAIRS_H

#include "db/db.h"

struct repair_row {
    int64_t id; /* given once, in order */
    int64_t requested_ms;
    int64_t done_ms; /* 0: pending */
    char *outcome;   /* JSON object: "found" while it is pending, then "repaired" and "remaining" too; owned */
};
void repair_row_free(struct repair_row *row); /* what it points to; harmless on a zeroed one */
#define AUTO_REPAIR_ROW __attribute__((cleanup(repair_row_free))) struct repair_row

/* Inside the caller's transaction. */
int repairs_insert(struct db *db, int64_t *ret_id, struct error *err);

/* *ret_found false when there is none. *ret must be zeroed before. */
int repairs_get(struct db *db, int64_t id, struct repair_row *ret, bool *ret_found, struct error *err);

/* Writes the outcome; `done`: it is final. */
int repairs_set(struct db *db, int64_t id, const char *outcome, bool done, struct error *err);

/* Calls `found` with each that is pending. */
int repairs_each_pending(struct db *db, void (*found)(int64_t id, void *ctx), void *ctx, struct error *err);

#endif
