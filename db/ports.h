/*
 * Published ports: ports of the host and the ports of a VM that they lead to. A host port, at an address and of a protocol, belongs to one VM at
 * most, as ports_set() makes sure; it is freed with the VM's row. What a VM publishes is told by its document (core/vm_config.h): these rows are for
 * what is looked up across all of them.
 */
#ifndef SMARTVM_DB_PORTS_H
#define SMARTVM_DB_PORTS_H

#include "core/network_rows.h"
#include "core/port_set.h"
#include "db/db.h"

#include <stddef.h>

/* Where the daemon chooses host ports by itself, and which of them programs of the host have. */
struct ports_choice {
    uint16_t first, last;
    const struct port_set *busy; /* may be NULL */
};

/*
 * Makes these the ports of the VM, in the caller's transaction. Those with host_port 0 are chosen, and filled in; without `choice` there must be none. IN_USE when
 * another VM has one of them, or none is free: then *ret_taken is its number, and the message names the VM.
 */
int ports_set(struct db *db, int64_t vm_uid, struct vm_port *ports, size_t count, const struct ports_choice *choice, size_t *ret_taken, struct error *err);

/* All of them, with the address of their VM's first interface. *ret is owned by the caller (free). */
int ports_list(struct db *db, struct port_row **ret, size_t *ret_count, struct error *err);

#endif
