/*
 * Which process is a VM's VMM. A jailed one can write its own command line, so it is known by its uid, which no other process of the host has. A process of root's is
 * known by its command line, which nobody but root has written: a VMM without a jail by the path of its socket, a jailer that has not changed into its jail yet by the id and
 * by the place of the jails, which is in our run_dir. (A cgroup alone does not tell: a daemon of another network namespace may have one of the same name.)
 */
#include "core/cleanup.h"
#include "worker/vm/uids.h"
#include "worker/vm/work.h"

#include <stdio.h>
#include <string.h>

enum { PIDS_MAX = 32 };

static bool has_argument(const char *line, size_t len, const char *argument)
{
    for (size_t at = 0; at < len; at += strlen(line + at) + 1) {
        if (strcmp(line + at, argument) == 0) {
            return true;
        }
    }
    return false;
}

static bool names_vm(struct worker *worker, const char *id, pid_t pid)
{
    AUTO_FREE char *line = NULL;
    size_t len = 0;
    char socket[300];
    (void)snprintf(socket, sizeof socket, "%.200s/vm/%.64s/api.sock", worker->config->run_dir, id);
    if (process_cmdline(pid, &line, &len, NULL) != 0) {
        return false;
    }
    return memmem(line, len, socket, strlen(socket)) != NULL || (has_argument(line, len, worker->jail_place) && has_argument(line, len, id));
}

bool vm_process_is(struct worker *worker, const char *id, pid_t pid)
{
    struct process_ids ids;
    const uid_t uid = uids_of(worker->uids, id);
    if (process_ids(pid, &ids, NULL) != 0) {
        return false;
    }
    if (ids.real == 0 && ids.effective == 0) {
        return names_vm(worker, id, pid);
    }
    return uid != 0 && ids.real == uid && ids.effective == uid && ids.saved == uid;
}

/* A VMM that somebody broke out of can have children: the oldest is the one that was started. */
struct search {
    struct vm_work *work;
    pid_t pid; /* 0: none yet */
    uint64_t start_time;
};

static void consider(struct search *search, pid_t pid)
{
    uint64_t start_time = 0;
    if (!vm_process_is(search->work->worker, search->work->row.id, pid) || process_start_time(pid, &start_time, NULL) != 0) {
        return;
    }
    if (search->pid == 0 || start_time < search->start_time || (start_time == search->start_time && pid < search->pid)) {
        search->pid = pid;
        search->start_time = start_time;
    }
}

static void consider_argument(pid_t pid, const char *argument, void *ctx)
{
    (void)argument;
    consider(ctx, pid);
}

static void consider_uid(pid_t pid, uid_t uid, void *ctx)
{
    (void)uid;
    consider(ctx, pid);
}

/* Where there is no cgroup v2: passes over /proc. */
static int find_anywhere(struct search *search, struct error *err)
{
    struct vm_work *work = search->work;
    char socket[192];
    char qmp[200];
    const uid_t uid = uids_of(work->worker->uids, work->row.id);
    (void)snprintf(socket, sizeof socket, "%s/api.sock", work->dir);
    (void)snprintf(qmp, sizeof qmp, "unix:%s", socket);
    if (uid != 0 && process_uid_is_used(uid) && process_find_uids(uid, 1, consider_uid, search, err) != 0) {
        return -1;
    }
    const char *const prefixes[] = {socket, qmp, work->worker->jail_place, NULL};
    return search->pid != 0 ? 0 : process_find(prefixes, consider_argument, search, err);
}

int vm_process_find(struct vm_work *work, pid_t *ret, struct error *err)
{
    struct search search = {.work = work};
    pid_t pids[PIDS_MAX];
    size_t count = 0;
    bool in_cgroup = false;
    const bool has_cgroups = work->worker->facts.cgroup.mounted;
    const struct vm_boot *boot = vm_boot_of(work);
    if (boot != NULL && boot->record.uid != 0 && !work->looks_only && process_uid_is_used(boot->record.uid)) {
        uids_restore(work->worker->uids, work->row.id, boot->record.uid);
    }
    if (has_cgroups && cgroup_pids(work->worker->mark, work->row.id, pids, PIDS_MAX, &count, &in_cgroup, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        consider(&search, pids[i]);
    }
    /* On record, but not in its cgroup: it was started when there was no cgroup v2. */
    if (search.pid == 0 && work->row.pid > 0) {
        consider(&search, (pid_t)work->row.pid);
    }
    if (search.pid == 0 && !has_cgroups && find_anywhere(&search, err) != 0) {
        return -1;
    }
    *ret = search.pid;
    return 0;
}

struct vmm_peer vm_peer(struct vm_work *work)
{
    const struct vm_boot *boot = vm_boot_of(work);
    return (struct vmm_peer){.dir = work->dir, .pid = work->runtime->pid, .pidfd = work->runtime->pidfd, .uid = boot != NULL ? boot->record.uid : 0};
}

uid_t vm_owner(struct vm_work *work)
{
    if (work->plan.state == VM_STARTING) {
        return work->choice.jailed ? uids_of(work->worker->uids, work->row.id) : 0;
    }
    const struct vm_boot *boot = vm_boot_of(work);
    return boot != NULL ? boot->record.uid : 0;
}
