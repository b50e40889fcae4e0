/* The last words of a VMM, out of its log. */
#include "core/cleanup.h"
#include "host/console.h"
#include "worker/console_hub.h"
#include "worker/vm_work.h"

enum { TAIL_BYTES = 8192 };

void vm_last_words(struct vm_work *work, char *ret, size_t size)
{
    char tail[TAIL_BYTES];
    struct vm_boot_record record;
    int opened = -1;
    ret[0] = '\0';
    console_hub_flush(work->worker->consoles, work->row.uid);
    if (!vm_boot_record_read(work->dir, &record) || console_log_open_read(work->dir, "vmm.log", &opened, NULL) != 0) {
        return;
    }
    AUTO_CLOSE int fd = opened;
    off_t end = lseek(fd, 0, SEEK_END);
    ssize_t n = pread(fd, tail, sizeof tail, end > TAIL_BYTES ? end - TAIL_BYTES : 0);
    if (n > 0) {
        vmm_last_words(&vmm_drivers[record.kind], tail, (size_t)n, ret, size);
    }
}
