/* Inside worker/: the operations that bring a VM up. */
#ifndef SMARTVM_WORKER_VM_BOOT_H
#define SMARTVM_WORKER_VM_BOOT_H

#include "worker/vm/work.h"

int vm_make_run_dir(struct vm_work *work, struct error *err);
int vm_take_uid(struct vm_work *work, struct error *err);
int vm_stage_drives(struct vm_work *work, struct error *err);
int vm_prepare_vmm(struct vm_work *work, struct error *err);
int vm_spawn(struct vm_work *work, struct error *err);
int vm_await(struct vm_work *work, struct error *err);

/* The image of a boot and what is made of it, from its first operation to its last; work->boot, NULL outside of a start. */
void boot_plan_free(struct boot_plan *boot);               /* harmless on NULL */
json_t *vm_boot_drives_json(const struct boot_plan *boot); /* as the API shows them: a new reference, NULL when memory is short */

/* <stage_root>/<id> */
void vm_stage_dir(const struct vm_work *work, char *buf, size_t size);
/* Removes a directory below run_dir or stage_root with the plain files in it; none is no failure. */
int vm_remove_dir(const char *path, struct error *err);

#endif
