#include "core/core_dumps.h"

#include "core/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void core_dumps_off_of(pid_t pid)
{
    static const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    char path[64];
    (void)prlimit(pid, RLIMIT_CORE, &none, NULL);
    (void)snprintf(path, sizeof path, "/proc/%d/coredump_filter", (int)pid);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "0", 1) != 1) {
        return; /* it has ended */
    }
}

void core_dumps_off(void)
{
    core_dumps_off_of(getpid());
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
