/* Addresses: unique by constraint, freed when the VM's teardown is confirmed, and handed out again after a quarantine. */
#ifndef SMARTVM_DB_LEASES_H
#define SMARTVM_DB_LEASES_H

#include "db/db.h"

/*
 * A free address in [first, last], inside the caller's transaction: one that was never used before, else the one that was freed longest
 * ago, if that was at least quarantine_ms ago. IP_EXHAUSTED when there is none. Does not take it: inserting the VM does.
 */
int leases_pick(struct db *db, uint32_t first, uint32_t last, int64_t quarantine_ms, uint32_t *ret, struct error *err);

int leases_take(struct db *db, uint32_t address, int64_t vm_uid, struct error *err);
int leases_free(struct db *db, int64_t vm_uid, struct error *err);
int leases_free_one(struct db *db, int64_t vm_uid, uint32_t address, struct error *err);

int leases_count(struct db *db, int64_t quarantine_ms, int64_t *ret_used, int64_t *ret_quarantined, struct error *err);

struct lease_row {
    uint32_t address;
    bool leased;      /* by a VM; else in quarantine since freed_ms */
    int64_t freed_ms; /* wall clock */
    char vm[64];      /* the rest only when leased */
    char iface_id[40];
    char mac[20];
};
/*
 * Addresses that VMs hold, or that are in quarantine, greater than `after`, by address. An address whose time of freeing lies in the future
 * was freed before the clock was set back: it is not held for that. *ret owned by the caller (free).
 */
int leases_list(struct db *db, uint32_t after, int64_t quarantine_ms, size_t limit, struct lease_row **ret, size_t *ret_count, struct error *err);

#endif
