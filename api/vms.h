/* Inside api/ only: what the operations on VMs share. */
#ifndef SMARTVM_API_VMS_H
#define SMARTVM_API_VMS_H

#include "api/wait.h"
#include "db/vms.h"

extern const struct wait_subject vm_subject;

/* NOT_FOUND when there is none. */
int vm_find(struct api *api, const char *id, struct vm_row *ret, struct error *err);

/* Fills *ret (zeroed) from the row, with its body. `settled` for a VM that nobody is working on any more. */
void vm_look_at(struct api *api, const struct vm_row *row, struct look *ret);
bool vm_is_settled(const struct vm_row *row);

/* Changes the wanted part of *row, from which it may read everything. *ret_done: nothing is left for the
 * worker to do. */
typedef int (*vm_change_fn)(struct call *call, struct vm_row *row, bool *ret_done, struct error *err);

/*
 * A write to the VM of the call, in one transaction: finds it, checks If-Match, lets `change` change what is
 * wanted, writes it if it differs, stores the answer under the Idempotency-Key; then wakes the worker, and
 * answers or waits.
 */
int vm_write(struct call *call, enum write_kind kind, vm_change_fn change, struct api_reply *reply,
             struct error *err);

/* INSUFFICIENT_MEMORY when the host has less than this, as far as that is known. */
int vm_check_memory(struct api *api, unsigned mem_size_mib, struct error *err);

/* Faults of machine_config that its schema can't tell: an odd number of virtual CPUs. */
void vm_check_machine_config(struct call *call);

#endif
