/* The reconciler of the host's network: bridge, firewall, uplink, forwarding, and what is left over of VMs that are gone. */
#ifndef SMARTVM_WORKER_NETWORK_NETWORK_H
#define SMARTVM_WORKER_NETWORK_NETWORK_H

#include "worker/context.h"

/* One call at a time (the key "network" of the queue). An error means that it should be tried again later. */
int network_reconcile(struct worker *worker, struct error *err);

#endif
