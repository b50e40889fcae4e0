#include "worker/sweep.h"

#include "core/cleanup.h"
#include "db/vms.h"
#include "host/cgroup.h"
#include "worker/vm_boot.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { KILL_WAIT_MS = 5000 };

struct sweep {
    struct worker *worker;
    char **gone; /* ids of VMs that have a cgroup and no row */
    size_t gone_count;
    bool failed;
};

static bool is_known(struct worker *worker, const char *id)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    struct error err;
    /* When the database can't tell, the VM counts as known: nothing is killed on a guess. */
    return vms_get(worker->db, id, &row, &found, &err) != 0 || found;
}

/* A daemon of another network namespace may have a bridge of the same name, and so the same cgroup: its VMMs have other sockets. */
static bool is_ours(struct worker *worker, const char *id, pid_t pid)
{
    AUTO_FREE char *cmdline = NULL;
    size_t len = 0;
    char socket[300];
    (void)snprintf(socket, sizeof socket, "%s/vm/%s/api.sock", worker->config->run_dir, id);
    return process_cmdline(pid, &cmdline, &len, NULL) == 0 && memmem(cmdline, len, socket, strlen(socket)) != NULL;
}

static void note_cgroup(const char *id, pid_t pid, void *ctx)
{
    struct sweep *sweep = ctx;
    if (pid != 0 && !is_ours(sweep->worker, id, pid)) {
        return;
    }
    bool noted = sweep->gone_count > 0 && strcmp(sweep->gone[sweep->gone_count - 1], id) == 0;
    if (noted || is_known(sweep->worker, id)) {
        return;
    }
    char **grown = realloc(sweep->gone, (sweep->gone_count + 1) * sizeof *grown);
    if (grown == NULL) {
        sweep->failed = true;
        return;
    }
    sweep->gone = grown;
    sweep->gone[sweep->gone_count] = strdup(id);
    sweep->failed = sweep->failed || sweep->gone[sweep->gone_count] == NULL;
    sweep->gone_count += sweep->gone[sweep->gone_count] != NULL;
}

static int sweep_cgroups(struct worker *worker, struct error *err)
{
    struct sweep sweep = {.worker = worker};
    int result = cgroup_list(worker->mark, note_cgroup, &sweep, err);
    if (sweep.failed) {
        result = error_oom(err);
    }
    for (size_t i = 0; i < sweep.gone_count; i++) {
        if (result == 0) {
            result = cgroup_remove(worker->mark, sweep.gone[i], err);
        }
        free(sweep.gone[i]);
    }
    free(sweep.gone);
    return result;
}

static void kill_process(pid_t pid, const char *argument, void *ctx)
{
    struct worker *worker = ctx;
    char id[LIMIT_VM_ID_BYTES + 1];
    char prefix[64];
    uint64_t start_time = 0;
    int pidfd = -1;
    const char *path = strchr(argument, '/');
    (void)snprintf(prefix, sizeof prefix, "%s/vm/", worker->config->run_dir);
    if (path == NULL || strncmp(path, prefix, strlen(prefix)) != 0) {
        return;
    }
    (void)snprintf(id, sizeof id, "%.*s", (int)strcspn(path + strlen(prefix), "/"), path + strlen(prefix));
    /* Anyone may name our paths, to read a console for instance; the socket's is a VMM's. */
    const char *rest = path + strlen(prefix) + strcspn(path + strlen(prefix), "/");
    size_t socket_len = strlen("/api.sock");
    bool is_socket = strncmp(rest, "/api.sock", socket_len) == 0 && (rest[socket_len] == '\0' || rest[socket_len] == ',');
    if (!is_socket || is_known(worker, id) || process_start_time(pid, &start_time, NULL) != 0 ||
        process_open(pid, start_time, &pidfd, NULL) != 0 || pidfd < 0) {
        return;
    }
    int status = -1;
    (void)process_signal(pidfd, SIGKILL, NULL);
    (void)process_wait(pidfd, KILL_WAIT_MS, &status, NULL);
    (void)close(pidfd);
}

/* Where cgroups could not tell: processes whose socket lies in a runtime directory of ours. */
static int sweep_processes(struct worker *worker, struct error *err)
{
    char prefix[80];
    (void)snprintf(prefix, sizeof prefix, "%s/vm/", worker->config->run_dir);
    if (process_find(prefix, kill_process, worker, err) != 0) {
        return -1;
    }
    (void)snprintf(prefix, sizeof prefix, "unix:%s/vm/", worker->config->run_dir);
    return process_find(prefix, kill_process, worker, err);
}

static int sweep_directory(struct worker *worker, const char *parent, struct error *err)
{
    AUTO_CLOSEDIR DIR *dir = opendir(parent);
    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[700];
        if (entry->d_name[0] == '.' || is_known(worker, entry->d_name)) {
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
    char runtime_dirs[128];
    (void)snprintf(runtime_dirs, sizeof runtime_dirs, "%s/vm", worker->config->run_dir);
    if (sweep_cgroups(worker, err) != 0 || sweep_processes(worker, err) != 0 ||
        sweep_directory(worker, runtime_dirs, err) != 0) {
        return -1;
    }
    return sweep_directory(worker, worker->stage_root, err);
}

bool sweep_any_process(struct worker *worker)
{
    static const enum vm_state states[] = {VM_CREATING, VM_STARTING, VM_RUNNING, VM_PAUSED, VM_STOPPING};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        struct vm_row *rows = NULL;
        size_t count = 0;
        if (vms_list(worker->db, "", &states[i], 1, &rows, &count, NULL) == 0) {
            vms_list_free(rows, count);
        }
        if (count > 0) {
            return true;
        }
    }
    return false;
}
