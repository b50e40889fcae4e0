/* Starting a program as our own child: see process_child.h. */
#include "host/process/child.h"
#include "host/process/spawn_lock.h"

#include "core/cleanup.h"

#include <signal.h>

static long spawn_child(struct process_child *child, int *ret_pidfd)
{
    struct process_stacks stacks;
    long pid = process_stacks_begin(&stacks);
    if (pid == 0) {
        pid = process_clone(child->spec->cgroup_fd, process_child_main, child, stacks.first, &child->enters_cgroup, ret_pidfd);
        process_stacks_end(&stacks);
    }
    return pid;
}

int process_spawn(const struct process_spec *spec, struct process *ret, struct error *err)
{
    struct process_child child = {.spec = spec};
    AUTO_CLOSE int pidfd = -1;
    spawn_lock_spawning();
    long pid = spawn_child(&child, &pidfd);
    spawn_unlock();
    if (pid < 0) {
        return error_sys(err, ERR_SYSTEM, (int)-pid, "cannot start %s: making a process", spec->path);
    }
    if (child.errnum != 0) {
        (void)process_wait(pidfd, -1, NULL, NULL);
        return process_report_failed_step(&child, err);
    }
    uint64_t start_time = 0;
    if (process_start_time((pid_t)pid, &start_time, err) != 0) {
        (void)process_signal(pidfd, SIGKILL, NULL);
        (void)process_wait(pidfd, -1, NULL, NULL);
        return -1;
    }
    ret->pid = (pid_t)pid;
    ret->pidfd = TAKE_FD(pidfd);
    ret->start_time = start_time;
    return 0;
}
