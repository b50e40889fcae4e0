/* The limits of a VM's cgroup: those that its boot was given, against those in force. */
#include "worker/vm/work.h"

#include <inttypes.h>
#include <stdio.h>

void vm_limits_check(struct worker *worker, const char *id, const struct vm_boot_record *record, struct cgroup_limits *ret,
                     char found[VM_LIMITS_FOUND_MAX])
{
    const struct cgroup_support *support = &worker->facts.cgroup;
    *ret = (struct cgroup_limits){.memory_max = 0};
    found[0] = '\0';
    if ((!support->memory && !support->pids) || cgroup_limits_read(worker->mark, id, ret, NULL) != 0) {
        return; /* nothing is in force, and nothing can be */
    }
    if (support->memory && ret->memory_max != record->limits.memory_max) {
        (void)snprintf(found, VM_LIMITS_FOUND_MAX, "memory.max of the cgroup is %" PRIu64 ", not %" PRIu64, ret->memory_max, record->limits.memory_max);
    } else if (support->pids && ret->pids_max != record->limits.pids_max) {
        (void)snprintf(found, VM_LIMITS_FOUND_MAX, "pids.max of the cgroup is %" PRIu64 ", not %" PRIu64, ret->pids_max, record->limits.pids_max);
    }
}
