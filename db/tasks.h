/* Tasks: a row each, with its outcome. The newest LIMIT_TASKS are kept. */
#ifndef SMARTVM_DB_TASKS_H
#define SMARTVM_DB_TASKS_H

#include "core/task_row.h"
#include "db/db.h"

/* Inside the caller's transaction; `subject` "" for the whole host. */
int tasks_insert(struct db *db, enum task_kind kind, const char *subject, int64_t *ret_id, struct error *err);

/* *ret_found false when there is none. *ret must be zeroed before. */
int tasks_get(struct db *db, int64_t id, struct task_row *ret, bool *ret_found, struct error *err);

/* Writes the outcome; `ended`: it is final, and what has ended is not written again. */
int tasks_report(struct db *db, int64_t id, const char *outcome, bool ended, struct error *err);

/* Calls `found` with each that is pending. */
int tasks_each_pending(struct db *db, void (*found)(int64_t id, void *ctx), void *ctx, struct error *err);

#endif
