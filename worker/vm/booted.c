/* What is known of the boot that a VM's process is of: remembered, or read once from the runtime directory, when an earlier daemon started it. */
#include "core/cleanup.h"
#include "worker/vm/row_copy.h"
#include "worker/vm/work.h"

#include <string.h>

/* NULL: what is kept is of another boot, or can't be read. */
static char *config_of(struct vm_work *work, int64_t boot)
{
    struct message_vm_restore copy;
    char *config = NULL;
    vm_row_copy_read(work->worker, work->row.id, &copy);
    if (copy.count == 1 && copy.items[0].uid == work->row.uid && copy.items[0].boot_wanted == boot) {
        config = TAKE_PTR(copy.items[0].config_text);
    }
    vm_row_copy_free(&copy);
    return config;
}

const struct vm_boot *vm_boot_of(struct vm_work *work)
{
    struct vm_boot found = {.is_known = false};
    char network[VM_NETWORK_ARGUMENTS_MAX];
    if (work->runtime->boot.is_known) {
        return &work->runtime->boot;
    }
    if (!vm_boot_record_read(work->dir, &found.record)) {
        return NULL;
    }
    found.is_known = true;
    found.network = vm_network_record_read(work->dir, network) ? strdup(network) : NULL;
    found.config = config_of(work, found.record.boot);
    runtimes_set_boot(work->worker->runtimes, work->runtime, &found);
    return &work->runtime->boot;
}
