/* What the host shows of VMs that the database does not know: left by a daemon that died while it deleted or created them. */
#ifndef SMARTVM_WORKER_SWEEP_H
#define SMARTVM_WORKER_SWEEP_H

#include "worker/context.h"

/*
 * Kills processes in cgroups of VMs that are gone, and removes those cgroups, runtime directories and staged drives. At start, before the
 * threads. TAPs and firewall elements are the network reconciler's.
 */
int sweep_leftovers(struct worker *worker, struct error *err);

/* Does any VM have a process? */
bool sweep_any_process(struct worker *worker);

#endif
