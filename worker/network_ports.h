/*
 * Inside worker/: the firewall's maps of published ports. A port stands in them while its VM's addresses stand in the firewall; which those are
 * is known for certain only under worker->guests_lock, which the callers hold.
 */
#ifndef SMARTVM_WORKER_NETWORK_PORTS_H
#define SMARTVM_WORKER_NETWORK_PORTS_H

#include "db/vms.h"
#include "worker/context.h"

/*
 * Makes the ports of one VM as its row wants them, or, when not `present`, removes them. One that still leads to another VM, whose row has it no
 * more, is taken over. Also lets the host reach them at 127.0.0.1.
 */
int network_ports_of_vm(struct worker *worker, const struct vm_row *row, bool present, struct error *err);

#endif
