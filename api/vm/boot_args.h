/* Inside api/ only: are a VM's kernel arguments such that the VM can boot with them? (core/kernel_args.h) */
#ifndef SMARTVM_API_VM_BOOT_ARGS_H
#define SMARTVM_API_VM_BOOT_ARGS_H

#include "api/call.h"
#include "db/vms.h"

/*
 * Of the row as it is to be stored, with its addresses, under each VMM that its `vmm` allows. INVALID_CONFIG, with all faults at /boot_args in
 * call->faults. Inside the transaction.
 */
int vm_check_boot_args(struct call *call, const struct vm_row *row, struct error *err);

#endif
