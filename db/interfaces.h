/* Network interfaces of VMs, where they are looked for across all VMs. Written and read with their VM by
 * db/vms.h. */
#ifndef SMARTVM_DB_INTERFACES_H
#define SMARTVM_DB_INTERFACES_H

#include "core/network_rows.h"
#include "db/db.h"

/* Does an interface of any VM have this MAC? */
int interfaces_mac_taken(struct db *db, struct mac mac, bool *ret, struct error *err);

/*
 * Is this the first address of a VM whose wanted state the worker has not followed yet? What is there of such a VM is neither old nor new for
 * certain.
 */
int interfaces_vm_changes(struct db *db, uint32_t address, bool *ret, struct error *err);

/* The id of the VM that has the TAP of this name; *ret NULL when there is none, else owned by the caller. */
int interfaces_vm_of_tap(struct db *db, const char *tap, char **ret, struct error *err);

/* The interfaces of all VMs, by TAP. *ret is owned by the caller (free). */
int interfaces_list(struct db *db, struct interface_row **ret, size_t *ret_count, struct error *err);

#endif
