/* The operations of a plan of the WireGuard egress. */
#include "core/cleanup.h"
#include "host/vmm/vmm.h"
#include "worker/wireguard/work.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Where the kernel has no WireGuard, a process does it. */
static int start_process(struct wireguard_work *work, struct error *err)
{
    struct worker *worker = work->worker;
    const char *path = getenv("PATH");
    char binary[PATH_MAX];
    int pidfd = -1;
    int words = -1;
    if (vmm_find_binary(worker->config->network.wireguard_go, path != NULL ? path : "/usr/local/bin:/usr/bin:/bin", binary, sizeof binary, err) != 0) {
        err->code = ERR_WIREGUARD_SETUP_FAILED;
        return error_prefix(err, "this kernel has no WireGuard, and there is no wireguard-go (install it, or set network.wireguard_go)");
    }
    if (wireguard_go_start(binary, worker->mark, work->config.interface_name, &pidfd, &words, err) != 0) {
        return -1;
    }
    wireguard_process_started(worker, pidfd, words);
    return 0;
}

static int start(struct wireguard_work *work, struct error *err)
{
    const struct tunnel_wanted tunnel = wireguard_tunnel(work, false);
    struct error why = {.sys_errno = 0};
    /* One that hangs, or is about to end, and takes the next one's socket with it. */
    if (wireguard_go_stop(work->worker->mark, tunnel.name, err) != 0) {
        return -1;
    }
    wireguard_process_stopped(work->worker);
    if (tunnel_create(&tunnel, &why) == 0) {
        work->backend = WIREGUARD_KERNEL;
        return 0;
    }
    if (why.sys_errno != EOPNOTSUPP) {
        *err = why;
        return -1;
    }
    work->backend = WIREGUARD_USERSPACE;
    return start_process(work, err);
}

/* A tunnel that was just made has not been looked at. */
static int configure(struct wireguard_work *work, struct error *err)
{
    const char *name = work->config.interface_name;
    if (work->observed.missing_found[0] != '\0') {
        wireguard_change_free(&work->change);
        wireguard_device_free(&work->seen);
        if (wireguard_get(work->backend, name, &work->seen, err) != 0 || wireguard_diff(&work->seen, &work->wanted, &work->change, err) != 0) {
            return -1;
        }
    }
    return wireguard_set(work->backend, name, &work->change, err);
}

static int set_link(struct wireguard_work *work, struct error *err)
{
    const struct tunnel_wanted tunnel = wireguard_tunnel(work, work->backend == WIREGUARD_USERSPACE);
    return tunnel_ensure(&tunnel, err);
}

static int remove_tunnels(struct wireguard_work *work, struct error *err)
{
    for (size_t i = 0; i < work->record.tunnel_count; i++) {
        const char *name = work->record.tunnels[i];
        bool wanted = work->row.wanted && work->config.managed && strcmp(work->config.interface_name, name) == 0;
        /* What the process leaves behind, if anything, is a link with our alias. */
        if (!wanted && (wireguard_go_stop(work->worker->mark, name, err) != 0 || link_delete(work->worker->mark, &name, 1, err) != 0)) {
            return -1;
        }
        if (!wanted && !work->has_backend) {
            wireguard_process_stopped(work->worker);
        }
    }
    return 0;
}

int wireguard_apply(struct wireguard_work *work, enum wireguard_op_type op, struct error *err)
{
    switch (op) {
    case WIREGUARD_OP_CLOSE_ROUTES:
        return wireguard_routes_add(work, &work->closed, err);
    case WIREGUARD_OP_ADD_RULES:
        return wireguard_rules_add(work, err);
    case WIREGUARD_OP_REMOVE_RULES:
        return wireguard_rules_remove(work, err);
    case WIREGUARD_OP_REMOVE_ROUTES:
        return wireguard_routes_remove(work, err);
    case WIREGUARD_OP_REMOVE_TUNNELS:
        return remove_tunnels(work, err);
    case WIREGUARD_OP_UNTUNE:
        return wireguard_untune(work, err);
    case WIREGUARD_OP_START:
        return start(work, err);
    case WIREGUARD_OP_RESTORE_ALIAS:
        return link_alias_restore(work->config.interface_name, work->tunnel_index, work->alias, err);
    case WIREGUARD_OP_CONFIGURE:
        return configure(work, err);
    case WIREGUARD_OP_SET_LINK:
        return set_link(work, err);
    case WIREGUARD_OP_TUNE:
        return wireguard_tune(work, err);
    case WIREGUARD_OP_OPEN_ROUTES:
        return wireguard_routes_add(work, &work->open, err);
    case WIREGUARD_OP_COUNT_:
        break;
    }
    return error_set(err, ERR_INTERNAL, "operation %d is not known", (int)op);
}
