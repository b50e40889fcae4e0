/*
 * Wanted firewall policies and address sets, as JSON text (core/policy.h reads it): written by the API process, read by both.
 *
 * Every change takes the next generation, of one sequence for all of them. The worker applies everything up to a generation and notes it, so
 * a row is in force when its generation is not newer than the observed one.
 *
 * Commit-confirm: a change with a deadline keeps what was before; firewall_confirm() forgets that, any later change without a deadline too, and
 * firewall_roll_back() puts it back when the deadline (wall clock) has passed. Several unconfirmed changes of one row go back to what was
 * before the first.
 */
#ifndef SMARTVM_DB_FIREWALL_H
#define SMARTVM_DB_FIREWALL_H

#include "core/firewall_rows.h"
#include "db/db.h"

/* *ret must be zeroed. *ret_found false when there is none. */
int firewall_policy_get(struct db *db, int64_t vm_uid, struct firewall_row *ret, bool *ret_found, struct error *err);
int firewall_set_get(struct db *db, const char *name, struct firewall_row *ret, bool *ret_found, struct error *err);

/* Store, in the caller's transaction. confirm_until_ms 0: for good. *ret_generation is the change's. */
int firewall_policy_put(struct db *db, int64_t vm_uid, const char *text, int64_t confirm_until_ms, int64_t *ret_generation, struct error *err);
int firewall_set_put(struct db *db, const char *name, const char *text, int64_t confirm_until_ms, int64_t *ret_generation, struct error *err);
int firewall_policy_remove(struct db *db, int64_t vm_uid, int64_t *ret_generation, struct error *err);
int firewall_set_remove(struct db *db, const char *name, int64_t *ret_generation, struct error *err);

/* A set that a policy names is there. */
int firewall_load(struct db *db, struct firewall_rows *ret, struct error *err);
/* How many sets there are, as firewall_load() has them. */
int firewall_sets_count(struct db *db, int64_t *ret, struct error *err);

/* Is the set named by a policy, or by one that may come back? Compares "@name" as a JSON string in the text. */
int firewall_set_is_used(struct db *db, const char *name, bool *ret, struct error *err);

/* Everything that still waits (wall clock) is for good. In the caller's transaction. */
int firewall_confirm(struct db *db, size_t *ret_count, struct error *err);
/* Calls `found` with each change that firewall_roll_back() would take back: of a VM's policy, of a set, or (both NULL) of the host-wide policy. */
int firewall_each_overdue(struct db *db, int64_t now_ms, void (*found)(const char *vm, const char *set, void *ctx), void *ctx, struct error *err);
/* Puts back what was not confirmed by now_ms, each with a generation of its own and an event. Its own transaction. */
int firewall_roll_back(struct db *db, int64_t now_ms, size_t *ret_count, struct error *err);
/* The earliest deadline; 0: nothing waits. */
int firewall_next_deadline(struct db *db, int64_t *ret_ms, struct error *err);

int firewall_observed_get(struct db *db, struct firewall_observed *ret, struct error *err);
/* `attempted`, what is in force (`generation`), and why it is not that: `code` and `error`, both "" when it is. */
int firewall_observed_set(struct db *db, const struct firewall_observed *observed, bool *ret_changed, struct error *err);

#endif
