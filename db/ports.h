/*
 * Published ports: a port of the host and the port of a VM that it leads to. A host port and protocol belong to one VM at most, by
 * constraint; they are freed with the VM's row. Written and read with their VM by db/vms.h.
 */
#ifndef SMARTVM_DB_PORTS_H
#define SMARTVM_DB_PORTS_H

#include "core/limits.h"
#include "db/db.h"

#include <stddef.h>

/* Host byte order, 1 to 65535. `protocol` is IPPROTO_TCP or IPPROTO_UDP. */
struct vm_port {
    uint8_t protocol;
    uint16_t host_port, guest_port;
};

/* The ports of a VM in the order in which they were given. At most LIMIT_PORTS. */
int ports_get(struct db *db, int64_t vm_uid, struct vm_port ret[LIMIT_PORTS], size_t *ret_count, struct error *err);

/*
 * Makes these the ports of the VM, in the caller's transaction. IN_USE when another VM has one of them: then *ret_taken is its number, and
 * the message names the VM.
 */
int ports_set(struct db *db, int64_t vm_uid, const struct vm_port *ports, size_t count, size_t *ret_taken, struct error *err);

/* All of them, with the address of their VM's first interface, by protocol and host port. *ret is owned by the caller (free). */
struct port_row {
    int64_t vm_uid;
    struct vm_port port;
    uint32_t address;
};
int ports_list(struct db *db, struct port_row **ret, size_t *ret_count, struct error *err);

#endif
