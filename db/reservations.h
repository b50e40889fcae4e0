/*
 * What of the host is reserved for each VM, and the sum of it. Of a VM that runs and was made smaller since, what its process was started with stays reserved
 * until it is known to be gone. Freed with the VM's row. Adding up costs nothing: triggers of the schema keep the sum.
 */
#ifndef SMARTVM_DB_RESERVATIONS_H
#define SMARTVM_DB_RESERVATIONS_H

#include "core/capacity.h"
#include "db/db.h"

/* Of all VMs. */
int reservations_sum(struct db *db, struct reservation *ret, struct error *err);

/* Of one, with what its process has; zeroes when there is none. *ret_wanted (may be NULL): without that. */
int reservations_get(struct db *db, int64_t vm_uid, struct reservation *ret, struct reservation *ret_wanted, struct error *err);

/* Makes this what the VM is to have, in the caller's transaction. What it had stays reserved until reservations_settle(). */
int reservations_set(struct db *db, int64_t vm_uid, const struct reservation *wanted, struct error *err);

/* After what was observed is stored: frees what only a process of before had, if the worker has looked at what is wanted now, and that process is gone. */
int reservations_settle(struct db *db, int64_t vm_uid, struct error *err);

/* Reserves for every VM that has nothing reserved, by its document and by what it ran on last; in the caller's transaction. */
int reservations_complete(struct db *db, struct error *err);

#endif
