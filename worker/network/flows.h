/*
 * Inside worker/: cuts tracked flows that would be decided otherwise if they began now (worker/network/stale_flows.h, worker/firewall/flows.h), after a
 * published port, a policy, the masquerade, an uplink or a closed network has come, changed or gone; and no other.
 */
#ifndef SMARTVM_WORKER_NETWORK_FLOWS_H
#define SMARTVM_WORKER_NETWORK_FLOWS_H

#include "core/vm_row.h"
#include "worker/network/ports_diff.h"
#include "worker/network/work.h"

/* What is due after an operation of the network, bits of network_memory.flows_due; `repair` as in struct network_op. */
enum network_flows_due {
    NETWORK_FLOWS_JUDGE = 1,  /* all flows of guests */
    NETWORK_FLOWS_UNMASK = 2, /* also those that appear with the host's address, if guests are to appear with their own */
};
unsigned network_flows_due(enum network_op_type op, bool repair);

/* Does what is due, and notes that. Takes worker->guests_lock: what the firewall leads to guests stands still meanwhile. */
int network_flows_cut(struct network_work *work, struct error *err);

/*
 * After a VM's addresses, policy or ports were added to the firewall, or removed (not `present`): flows that came by ports which changed, those of
 * addresses that are gone, and with `policy` those that the VM's own policy would not let begin. Not under the lock, as it looks at all flows of
 * the host.
 */
int network_flows_cut_of_vm(struct worker *worker, const struct ports_diff *diff, const struct vm_row *row, bool present, bool policy, struct error *err);

#endif
