/*
 * Drift: what on the host is not as it is wanted although nobody asked for a change. What is on its way because
 * somebody asked for it (a VM that starts) is no drift; the VM's state tells of it.
 */
#ifndef SMARTVM_WORKER_DRIFT_H
#define SMARTVM_WORKER_DRIFT_H

#include "worker/context.h"

#include <jansson.h>

/*
 * Looks at the network and at all running VMs, plans, and changes nothing: {"items": [{"resource", "operation",
 * "description", "found", "waits_ms"}…], "total": n}, at most LIMIT_DRIFT_ITEMS of them. Takes some
 * milliseconds and 0.1 ms for each interface: not for the main loop. NULL on failure. Any thread. `patient`: it waits, for 2 s in all, for VMs
 * that are worked on; not for a thread that works on keys itself.
 */
json_t *drift_look(struct worker *worker, bool patient, struct error *err);

/* A step of TASK_REPAIR: what is found is repaired by the reconcilers, and looked at again until it is gone. */
struct task_row;
int drift_repair_step(struct worker *worker, const struct task_row *row, struct error *err);

#endif
