/* What PATCH /network has changed: one row, written by the API process, read by both. */
#ifndef SMARTVM_DB_NETWORK_H
#define SMARTVM_DB_NETWORK_H

#include "core/network_rows.h"
#include "db/db.h"

/* Nothing was ever changed: everything as configured, generation 0. */
int network_overrides_get(struct db *db, struct network_overrides *ret, struct error *err);

/* Stores what is set, with generation one higher (also in *overrides). In the caller's transaction. */
int network_overrides_set(struct db *db, struct network_overrides *overrides, struct error *err);

/* VMs that have an address outside [first, last], by id: at most `limit` of them, and *ret_total how many there are. */
int network_addresses_outside(struct db *db, uint32_t first, uint32_t last, size_t limit, struct network_address_row *ret, size_t *ret_count, size_t *ret_total,
                              struct error *err);

/* VMs with an address that are neither stopped nor failed: their guests can't be told of another one. Else as above. */
int network_addresses_in_use(struct db *db, size_t limit, struct network_address_row *ret, size_t *ret_count, size_t *ret_total, struct error *err);

#endif
