#include "worker/purge/purge.h"

#include "core/array.h"
#include "core/cleanup.h"
#include "host/gate/gate.h"
#include "host/link/link.h"
#include "host/nft/nft.h"
#include "host/process/cgroup.h"
#include "host/process/process.h"
#include "host/tunnel/wireguard.h"
#include "host/vmm/find.h"
#include "worker/purge/steps.h"
#include "worker/vm/uids.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KILL_WAIT_MS = 5000 };

void purge_tell(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("smartvmd: purge: ", stdout);
    (void)vfprintf(stdout, fmt, ap);
    (void)fputc('\n', stdout);
    va_end(ap);
}

static void kill_found(struct purge_work *work, pid_t pid)
{
    uint64_t start_time = 0;
    AUTO_CLOSE int pidfd = -1;
    if (process_start_time(pid, &start_time, NULL) != 0 || process_open(pid, start_time, &pidfd, NULL) != 0 || pidfd < 0) {
        return;
    }
    if (process_signal(pidfd, SIGKILL, NULL) != 0 || process_wait(pidfd, KILL_WAIT_MS, NULL, NULL) != 0) {
        work->left++;
        return;
    }
    work->count++;
}

static void kill_vmm(pid_t pid, const char *id, void *ctx)
{
    (void)id;
    kill_found(ctx, pid);
}

/* On its way into a jail. */
static void kill_jailer(pid_t pid, const char *argument, void *ctx)
{
    struct purge_work *work = ctx;
    char place[300];
    (void)snprintf(place, sizeof place, "%.290s/jail", work->config->run_dir);
    if (strcmp(argument, place) == 0) {
        kill_found(work, pid);
    }
}

static int free_uid(const char *id, uid_t uid, void *ctx, struct error *err)
{
    struct purge_work *work = ctx;
    work->count += process_uid_is_used(uid);
    return uids_free(work->uids, id, err);
}

/* Those in jails: whatever runs under a uid of ours, which is given back. */
static int end_jailed(struct purge_work *work, struct error *err)
{
    if (uids_open(UIDS_DIR, work->config, &work->uids, err) != 0) {
        return -1;
    }
    int result = uids_each(work->uids, free_uid, work, err);
    uids_close(work->uids);
    work->uids = NULL;
    return result;
}

static int end_vmms(struct purge_work *work, struct error *err)
{
    char place[300];
    (void)snprintf(place, sizeof place, "%.290s/jail", work->config->run_dir);
    work->left = 0;
    if (vmm_find_processes(work->config->run_dir, kill_vmm, work, err) != 0 || process_find((const char *const[]){place, NULL}, kill_jailer, work, err) != 0) {
        return -1;
    }
    return work->left == 0 ? end_jailed(work, err) : error_set(err, ERR_SYSTEM, "%zu VMM processes do not end", work->left);
}

struct tunnel_search {
    struct purge_work *work;
    struct error *err;
    int result;
};

/* "wireguard-go:<mark>", "-f", "<name>" */
static void stop_tunnel(pid_t pid, const char *argument, void *ctx)
{
    struct tunnel_search *search = ctx;
    AUTO_FREE char *line = NULL;
    size_t len = 0;
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "wireguard-go:%s", search->work->mark);
    if (strcmp(argument, wanted) != 0 || process_cmdline(pid, &line, &len, NULL) != 0 || len < strlen(wanted) + 5) {
        return;
    }
    const char *name = line + strlen(wanted) + 1 + strlen("-f") + 1;
    if (name < line + len && line[len - 1] == '\0' && wireguard_go_stop(search->work->mark, name, search->err) != 0) {
        search->result = -1;
    }
    search->work->count++;
}

static int end_tunnels(struct purge_work *work, struct error *err)
{
    struct tunnel_search search = {.work = work, .err = err};
    char prefix[64];
    (void)snprintf(prefix, sizeof prefix, "wireguard-go:%s", work->mark);
    return process_find((const char *const[]){prefix, NULL}, stop_tunnel, &search, err) == 0 ? search.result : -1;
}

/* TAPs, tunnels and the bridge; the gate's programs go with the bridge. */
static int remove_links(struct purge_work *work, struct error *err)
{
    AUTO_FREE struct link_info *links = NULL;
    size_t count = 0;
    if (link_list(&links, &count, err) != 0) {
        return -1;
    }
    AUTO_FREE const char **names = calloc(count + 1, sizeof *names);
    if (names == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (link_alias_has_mark(links[i].alias, work->mark)) {
            names[work->count++] = links[i].name;
        } else if (strcmp(links[i].name, work->config->network.bridge) == 0) {
            purge_tell("the link %s is not marked as the daemon's, and is left as it is", links[i].name);
        }
    }
    return link_delete(work->mark, names, work->count, err);
}

static int remove_tables(struct purge_work *work, struct error *err)
{
    return nft_base_remove(work->mark, err);
}

static int remove_gate(struct purge_work *work, struct error *err)
{
    return gate_remove(work->config->network.bridge, &work->count, err);
}

struct cgroups {
    char **ids; /* without a process */
    size_t count;
    bool failed;
};

static void note_empty(const char *id, pid_t pid, void *ctx)
{
    struct cgroups *cgroups = ctx;
    if (pid != 0) {
        return; /* of a daemon in another network namespace, with the same mark: ours have ended */
    }
    char **grown = array_grow(cgroups->ids, cgroups->count, sizeof *grown);
    if (grown == NULL) {
        cgroups->failed = true;
        return;
    }
    cgroups->ids = grown;
    grown[cgroups->count] = strdup(id);
    cgroups->failed = cgroups->failed || grown[cgroups->count] == NULL;
    cgroups->count += grown[cgroups->count] != NULL;
}

static int remove_cgroups(struct purge_work *work, struct error *err)
{
    struct cgroups cgroups = {.ids = NULL};
    int result = cgroup_list(work->mark, note_empty, &cgroups, err);
    result = cgroups.failed ? error_oom(err) : result;
    for (size_t i = 0; i < cgroups.count; i++) {
        result = result == 0 ? cgroup_remove(work->mark, cgroups.ids[i], err) : result;
        free(cgroups.ids[i]);
    }
    free(cgroups.ids);
    work->count = cgroups.count;
    return result == 0 ? cgroup_remove_mark(work->mark, err) : result;
}

static const struct {
    const char *what; /* for "N <what> removed" */
    int (*run)(struct purge_work *work, struct error *err);
} steps[] = {
    {"VMM processes", end_vmms},
    {"tunnel processes", end_tunnels},
    {"links", remove_links},
    {"firewall tables", remove_tables},
    {"routing rules of the gate", remove_gate},
    {"routing rules and routes", purge_routes},
    {"changed kernel parameters", purge_parameters},
    {"cgroups", remove_cgroups},
    {"directories of staged drives", purge_staged},
    {"files of run_dir", purge_run_dir},
};

static void complain(const char *what, const struct error *err)
{
    (void)fprintf(stderr, "smartvmd: purge: %s: %s: %s\n", what, error_code_name(err->code), err->message);
}

int purge_run(const struct purge *purge, struct error *err)
{
    struct purge_work work = {.config = purge->config, .has_run = purge->has_run, .has_state = purge->has_state};
    bool failed = false;
    config_mark(purge->config, work.mark);
    purge_open_memory(&work);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct error why = {0};
        work.count = 0;
        if (steps[i].run(&work, &why) != 0) {
            complain(steps[i].what, &why);
            failed = true;
        } else if (work.count > 0) {
            purge_tell("%zu %s removed", work.count, steps[i].what);
        }
    }
    memory_close(work.memory);
    work.memory = NULL;
    work.count = 0;
    if (failed) {
        return error_set(err, ERR_SYSTEM, "something is left, see above; %s is kept until that is gone: run it again", purge->config->state_dir);
    }
    if (purge_state_dir(&work, err) != 0) {
        return -1;
    }
    if (work.count > 0) {
        purge_tell("%zu files of state_dir removed", work.count);
    }
    purge_tell("nothing of the instance '%s' is left", work.mark);
    return 0;
}
