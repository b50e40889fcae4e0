/*
 * Inside worker/: the firewall's maps of published ports. A port stands in them while its VM's addresses stand in the firewall; which those are
 * is known for certain only under worker->guests_lock, which the callers hold.
 */
#ifndef SMARTVM_WORKER_NETWORK_PORTS_H
#define SMARTVM_WORKER_NETWORK_PORTS_H

#include "core/vm_row.h"
#include "worker/context.h"
#include "worker/network/ports_diff.h"

/*
 * Makes the ports of one VM as its row wants them, or, when not `present`, removes them. One that still leads to another VM, whose row has it no
 * more, is taken over. Also lets the host reach them at 127.0.0.1. *ret_diff (zeroed before; ports_diff_free()): what was changed.
 */
int network_ports_of_vm(struct worker *worker, const struct vm_row *row, bool present, struct ports_diff *ret_diff, struct error *err);

#endif
