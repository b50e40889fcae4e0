#include "host/process/vcpus.h"

#include "core/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_MAX = 4096 }; /* of /proc/<pid>/task/<tid>/status: about 1,500 bytes */

struct thread_status {
    char name[16];
    char state; /* 'S': it sleeps, and can be woken */
    uint64_t switches;
};

static const char *value_of(const char *status, const char *key)
{
    const char *at = strstr(status, key);
    return at != NULL ? at + strlen(key) : NULL;
}

static bool parse(const char *status, struct thread_status *ret)
{
    const char *name = value_of(status, "Name:\t");
    const char *state = value_of(status, "\nState:\t");
    const char *slept = value_of(status, "\nvoluntary_ctxt_switches:\t");
    const char *aside = value_of(status, "\nnonvoluntary_ctxt_switches:\t");
    if (name == NULL || state == NULL || slept == NULL || aside == NULL) {
        return false;
    }
    (void)snprintf(ret->name, sizeof ret->name, "%.*s", (int)strcspn(name, "\n"), name);
    ret->state = *state;
    ret->switches = strtoull(slept, NULL, 10) + strtoull(aside, NULL, 10);
    return true;
}

static bool read_thread(int tasks, const char *tid, struct thread_status *ret)
{
    char path[64];
    char status[STATUS_MAX];
    (void)snprintf(path, sizeof path, "%.32s/status", tid);
    AUTO_CLOSE int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, status, sizeof status - 1) : -1;
    if (len <= 0) {
        return false;
    }
    status[len] = '\0';
    return parse(status, ret);
}

bool vcpus_sleep(pid_t pid, const char *name, uint64_t *ret_switches)
{
    char path[64];
    size_t count = 0;
    uint64_t switches = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    AUTO_CLOSEDIR DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return false;
    }
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        struct thread_status thread;
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (!read_thread(dirfd(tasks), entry->d_name, &thread)) {
            return false;
        }
        if (strncmp(thread.name, name, strlen(name)) == 0) {
            if (thread.state != 'S') {
                return false;
            }
            count++;
            switches += thread.switches;
        }
    }
    *ret_switches = switches;
    return count > 0;
}
