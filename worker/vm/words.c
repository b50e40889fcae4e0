/* The last words of a VMM, out of its log. */
#include "core/cleanup.h"
#include "host/vmm/console.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/work.h"

enum { TAIL_BYTES = 8192 };

enum vmm_cause vm_last_words(struct vm_work *work, enum vmm_kind kind, char *ret, size_t size)
{
    char tail[TAIL_BYTES];
    int opened = -1;
    ret[0] = '\0';
    console_hub_flush(work->worker->consoles, work->row.uid);
    if (console_log_open_read(work->dir, "vmm.log", &opened, NULL) != 0) {
        return VMM_CAUSE_NONE;
    }
    AUTO_CLOSE int fd = opened;
    off_t end = lseek(fd, 0, SEEK_END);
    ssize_t n = pread(fd, tail, sizeof tail, end > TAIL_BYTES ? end - TAIL_BYTES : 0);
    if (n <= 0) {
        return VMM_CAUSE_NONE;
    }
    const struct vmm_driver *driver = &vmm_drivers[kind];
    vmm_last_words(driver, tail, (size_t)n, ret, size);
    return driver->cause != NULL ? driver->cause(tail, (size_t)n) : VMM_CAUSE_NONE;
}
