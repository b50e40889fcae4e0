/* Does a Firecracker process still have a guest? Its threads say so. */
#include "host/vmm/firecracker.h"

#include "core/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { COMM_MAX = 18 }; /* TASK_COMM_LEN, and the end of the line */

/* "" when the thread ended meanwhile. */
static void thread_name(int tasks, const char *tid, char name[COMM_MAX])
{
    char path[64];
    (void)snprintf(path, sizeof path, "%.32s/comm", tid);
    AUTO_CLOSE int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, name, COMM_MAX - 1) : 0;
    name[len > 0 ? len : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
}

enum vmm_guest firecracker_guest(pid_t pid, pid_t *ret_vcpu)
{
    char path[64];
    bool has_api = false;
    *ret_vcpu = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    AUTO_CLOSEDIR DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return VMM_GUEST_UNKNOWN;
    }
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        char name[COMM_MAX];
        if (entry->d_name[0] == '.') {
            continue;
        }
        thread_name(dirfd(tasks), entry->d_name, name);
        if (strncmp(name, "fc_vcpu", 7) == 0) {
            *ret_vcpu = (pid_t)strtol(entry->d_name, NULL, 10);
            return VMM_GUEST_PRESENT;
        }
        has_api = has_api || strcmp(name, "fc_api") == 0;
    }
    return has_api ? VMM_GUEST_NONE : VMM_GUEST_UNKNOWN;
}
