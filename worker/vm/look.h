/*
 * A look at a VM without a trace: what the reconciler would see and plan, for drift and dry runs. Nothing is taken over, noted, stored or watched, and
 * what the worker remembers of the VM stays as it is. The VM's key must be claimed meanwhile (worker/queue.h), or be the caller's own.
 */
#ifndef SMARTVM_WORKER_VM_LOOK_H
#define SMARTVM_WORKER_VM_LOOK_H

#include "worker/vm/work.h"

struct vm_look {
    struct vm_work work;    /* `row` is borrowed; observed and wanted are filled in; there is no plan yet */
    struct runtime runtime; /* a copy, for the work alone */
};

/*
 * *ret stays where it is, and is freed by vm_look_free(), also after an error. `asks_vmm`: its VMM is asked what it does, for up to 250 ms; else it is believed that it does
 * what the row says.
 */
int vm_look(struct worker *worker, const struct vm_row *row, bool asks_vmm, struct vm_look *ret, struct error *err);
void vm_look_free(struct vm_look *look);

#endif
