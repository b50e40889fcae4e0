/* Inside worker/: what the log tells of a VM's life. docs/logging.md lists it. Any thread. */
#ifndef SMARTVM_WORKER_VM_LOG_H
#define SMARTVM_WORKER_VM_LOG_H

#include "worker/vm/work.h"

/* A boot that was asked for has a guest now: what it took, in all and step by step. */
void vm_log_started(const struct vm_work *work);
/* A process of an earlier daemon was taken over. */
void vm_log_adopted(const struct vm_work *work);
/* The process ended, as work->exit tells. */
void vm_log_ended(const struct vm_work *work);
/* It failed, by work->error. */
void vm_log_failed(const struct vm_work *work);
void vm_log_deleted(const struct vm_work *work);

#endif
