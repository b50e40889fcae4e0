#include "worker/vm/look.h"

#include <stdio.h>
#include <string.h>

int vm_look(struct worker *worker, const struct vm_row *row, bool asks_vmm, struct vm_look *ret, struct error *err)
{
    memset(ret, 0, sizeof *ret);
    ret->work = (struct vm_work){.worker = worker, .row = *row, .runtime = &ret->runtime, .looks_only = true, .asks_no_vmm = !asks_vmm};
    (void)snprintf(ret->work.dir, sizeof ret->work.dir, "%s/vm/%s", worker->config->run_dir, row->id);
    runtimes_copy(worker->runtimes, row->uid, &ret->runtime);
    if (vm_observe(&ret->work, err) != 0) {
        return -1;
    }
    vm_work_want(&ret->work);
    return 0;
}

void vm_look_free(struct vm_look *look)
{
    vm_boot_free(&look->runtime.boot);
}
