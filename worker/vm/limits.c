/* The limits of a VM's cgroup: those that it is to have, against those in force. */
#include "worker/vm/work.h"

#include <string.h>

_Static_assert((int)VM_IO_COUNT_ == (int)CGROUP_IO_COUNT, "limits of input and output are the same, in the same order");

struct cgroup_limits vm_limits_wanted(const struct vm_config *config, const struct vm_boot_record *record)
{
    struct cgroup_limits wanted = record->limits;
    wanted.cpu_max = (uint64_t)config->limits.cpu_percent * CGROUP_CPU_PERIOD_US / 100;
    wanted.cpu_weight = config->limits.cpu_weight;
    memcpy(wanted.io_max, config->limits.io, sizeof wanted.io_max);
    return wanted;
}

void vm_limits_check(struct vm_work *work, const struct vm_boot_record *record)
{
    const struct cgroup_support *support = &work->worker->facts.cgroup;
    work->limits = (struct cgroup_limits){.memory_max = 0};
    work->observed.limits_found[0] = '\0';
    if ((!support->memory && !support->pids && !support->cpu && !support->io) ||
        cgroup_limits_read(work->worker->mark, work->row.id, record->limits.io_device, &work->limits, NULL) != 0) {
        return; /* nothing is in force, and nothing can be */
    }
    const struct cgroup_limits wanted = vm_limits_wanted(&work->row.config, record);
    cgroup_limits_compare(support, &wanted, &work->limits, work->observed.limits_found);
}
