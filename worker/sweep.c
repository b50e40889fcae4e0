#include "worker/sweep.h"

#include "core/array.h"
#include "core/cleanup.h"
#include "host/process/cgroup.h"
#include "host/vmm/find.h"
#include "worker/border/known_vms.h"
#include "worker/border/wanted.h"
#include "worker/vm/boot.h"
#include "worker/vm/uids.h"
#include "worker/vm/work.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { KILL_WAIT_MS = 5000 };

struct sweep {
    struct worker *worker;
    struct known_vms known;
    char **gone; /* ids of VMs that have a cgroup and no row */
    size_t gone_count;
    bool failed;
};

/* When the database can't tell, the VM counts as known: nothing is killed on a guess. */
static bool is_known(const struct sweep *sweep, const char *id)
{
    bool known = false;
    return known_vms_have(&sweep->known, id, &known, NULL) != 0 || known;
}

static void note_cgroup(const char *id, pid_t pid, void *ctx)
{
    struct sweep *sweep = ctx;
    /* A daemon of another network namespace may have a bridge of the same name, and so the same cgroup: its VMMs are others. */
    if (pid != 0 && !vm_process_is(sweep->worker, id, pid)) {
        return;
    }
    bool noted = sweep->gone_count > 0 && strcmp(sweep->gone[sweep->gone_count - 1], id) == 0;
    if (noted || is_known(sweep, id)) {
        return;
    }
    char **grown = array_grow(sweep->gone, sweep->gone_count, sizeof *grown);
    if (grown == NULL) {
        sweep->failed = true;
        return;
    }
    sweep->gone = grown;
    sweep->gone[sweep->gone_count] = strdup(id);
    sweep->failed = sweep->failed || sweep->gone[sweep->gone_count] == NULL;
    sweep->gone_count += sweep->gone[sweep->gone_count] != NULL;
}

static int sweep_cgroups(struct sweep *sweep, struct error *err)
{
    const char *mark = sweep->worker->mark;
    int result = cgroup_list(mark, note_cgroup, sweep, err);
    if (sweep->failed) {
        result = error_oom(err);
    }
    for (size_t i = 0; i < sweep->gone_count; i++) {
        if (result == 0) {
            result = cgroup_remove(mark, sweep->gone[i], err);
        }
        free(sweep->gone[i]);
    }
    free(sweep->gone);
    return result;
}

static void kill_process(pid_t pid, const char *id, void *ctx)
{
    const struct sweep *sweep = ctx;
    uint64_t start_time = 0;
    int pidfd = -1;
    if (is_known(sweep, id) || process_start_time(pid, &start_time, NULL) != 0 || process_open(pid, start_time, &pidfd, NULL) != 0 || pidfd < 0) {
        return;
    }
    int status = -1;
    (void)process_signal(pidfd, SIGKILL, NULL);
    (void)process_wait(pidfd, KILL_WAIT_MS, &status, NULL);
    (void)close(pidfd);
}

/* With whatever still runs under it. */
static int sweep_uid(const char *id, uid_t uid, void *ctx, struct error *err)
{
    const struct sweep *sweep = ctx;
    (void)uid;
    return is_known(sweep, id) ? 0 : uids_free(sweep->worker->uids, id, err);
}

static int sweep_directory(const struct sweep *sweep, const char *parent, struct error *err)
{
    AUTO_CLOSEDIR DIR *dir = opendir(parent);
    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[700];
        if (entry->d_name[0] == '.' || is_known(sweep, entry->d_name)) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        if (vm_remove_dir(path, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int sweep_leftovers(struct worker *worker, struct error *err)
{
    struct sweep sweep = {.worker = worker};
    char runtime_dirs[128];
    (void)snprintf(runtime_dirs, sizeof runtime_dirs, "%s/vm", worker->config->run_dir);
    if (known_vms_load(worker->border, &sweep.known, err) != 0) {
        return -1;
    }
    int result = sweep_cgroups(&sweep, err);
    /* Where cgroups could not tell: processes whose socket lies in a runtime directory of ours. */
    result = result == 0 ? vmm_find_processes(worker->config->run_dir, kill_process, &sweep, err) : result;
    result = result == 0 ? uids_each(worker->uids, sweep_uid, &sweep, err) : result;
    result = result == 0 ? sweep_directory(&sweep, runtime_dirs, err) : result;
    result = result == 0 ? sweep_directory(&sweep, worker->stage_root, err) : result;
    known_vms_free(&sweep.known);
    return result;
}

bool sweep_any_process(struct worker *worker)
{
    static const enum vm_state states[] = {VM_CREATING, VM_STARTING, VM_RUNNING, VM_PAUSED, VM_STOPPING};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        bool any = false;
        if (border_vm_any(worker->border, states[i], &any, NULL) != 0 || any) { /* there may be one */
            return true;
        }
    }
    return false;
}
