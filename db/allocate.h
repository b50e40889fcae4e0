/*
 * What an interface of a VM is given of the network: an address and the name of its TAP. Both are unique by constraint, and both are looked for in the
 * caller's transaction. Nothing is taken here: that is done by storing the VM (db/vms.h).
 */
#ifndef SMARTVM_DB_ALLOCATE_H
#define SMARTVM_DB_ALLOCATE_H

#include "core/network_settings.h"
#include "db/vms.h"

/*
 * A free address for the interface `index` of the row: see db/leases.h. The first `picked` interfaces of the row have theirs, which are not stored yet.
 * IP_EXHAUSTED.
 */
int allocate_address(struct db *db, const struct network_settings *settings, const struct vm_row *row, size_t picked, uint32_t *ret, struct error *err);

/*
 * A free name for the TAP of the interface `index` of the row, whose address is known: with the number of the address in the subnet, or, where a VM of
 * another subnet has that name already (it keeps it for its lifetime), with the next number that is free.
 */
int allocate_tap(struct db *db, const struct network_settings *settings, struct vm_row *row, size_t index, struct error *err);

#endif
