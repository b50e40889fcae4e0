/* The reconciler of VMs: observe, plan, apply, report. Any worker thread, one call per VM at a time (the queue sees to that). */
#ifndef SMARTVM_WORKER_VM_VM_H
#define SMARTVM_WORKER_VM_VM_H

#include "worker/context.h"

/* An error means that it should be tried again later. */
int vm_reconcile(struct worker *worker, const char *id, struct error *err);

#endif
