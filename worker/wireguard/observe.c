/* The WireGuard egress as it is. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "worker/border/wanted.h"
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t wireguard_lookup_ms(const struct wireguard_work *work)
{
    return (int64_t)work->worker->config->network.wireguard_lookup_s * 1000;
}

int wireguard_work_init(struct wireguard_work *work, struct worker *worker, struct error *err)
{
    memset(work, 0, sizeof *work);
    work->worker = worker;
    work->bridge = worker->config->network.bridge;
    work->settings = worker_network(worker);
    (void)snprintf(work->alias, sizeof work->alias, "%s:wireguard", worker->mark);
    (void)pthread_mutex_lock(&worker->wireguard.lock);
    work->memory = worker->wireguard.memory;
    (void)pthread_mutex_unlock(&worker->wireguard.lock);
    return border_wireguard_get(worker->border, &work->row, err) != 0 || wireguard_record_load(worker->memory, &work->record, err) != 0 ? -1 : 0;
}

void wireguard_work_free(struct wireguard_work *work)
{
    wireguard_row_free(&work->row);
    wireguard_free(&work->config);
    wireguard_device_free(&work->wanted);
    wireguard_device_free(&work->seen);
    wireguard_change_free(&work->change);
    free(work->closed.items);
    free(work->open.items);
}

static const struct wireguard_device_peer *find_peer(const struct wireguard_device *device, const struct wireguard_key *key)
{
    for (size_t i = 0; i < device->peer_count; i++) {
        if (wireguard_key_equal(&device->peers[i].public_key, key)) {
            return &device->peers[i];
        }
    }
    return NULL;
}

/*
 * A peer that does not answer where it was heard from last is looked for where it is said to be. WireGuard makes new keys after 120 s of traffic
 * (whitepaper, 6.1), so by the default one that is in use is not taken for silent.
 */
static void look_for_silent_peers(struct wireguard_work *work)
{
    int64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < work->wanted.peer_count; i++) {
        struct wireguard_device_peer *wanted = &work->wanted.peers[i];
        const struct wireguard_device_peer *seen = find_peer(&work->seen, &wanted->public_key);
        bool silent = seen != NULL && now_ms - seen->handshake_ms > wireguard_lookup_ms(work);
        work->observed.follows_name = work->observed.follows_name || silent;
        wanted->endpoint_due = wanted->endpoint_due || silent;
    }
}

/* Is there nothing in the change but where peers are? */
static bool changes_endpoints_only(const struct wireguard_change *change)
{
    bool only = !change->private_key && !change->listen_port && !change->fwmark;
    for (size_t i = 0; i < change->peer_count; i++) {
        const struct wireguard_peer_change *peer = &change->peers[i];
        only = only && !peer->is_removed && !peer->is_new && !peer->preshared_key && !peer->keepalive && !peer->allowed;
    }
    return only;
}

static int observe_device(struct wireguard_work *work, struct error *err)
{
    struct wireguard_observed *seen = &work->observed;
    struct error why = {.code = ERR_INTERNAL};
    if (wireguard_get(work->backend, work->config.interface_name, &work->seen, &why) != 0) {
        (void)snprintf(seen->missing_found, sizeof seen->missing_found, "%.250s", why.message);
        return 0;
    }
    look_for_silent_peers(work);
    if (wireguard_diff(&work->seen, &work->wanted, &work->change, err) != 0) {
        return -1;
    }
    seen->follows_name = seen->follows_name && changes_endpoints_only(&work->change);
    if (!wireguard_change_is_empty(&work->change)) {
        wireguard_change_describe(&work->change, seen->device_found, sizeof seen->device_found);
    }
    return 0;
}

/* Who makes the tunnel, if anybody does. */
static int observe_backend(struct wireguard_work *work, bool *ret_has_process, struct error *err)
{
    struct link_info link;
    bool found = false;
    AUTO_CLOSE int process = -1;
    if (link_get(work->config.interface_name, &link, &found, err) != 0 ||
        wireguard_go_find(work->worker->mark, work->config.interface_name, &process, err) != 0) {
        return -1;
    }
    if (process < 0 && found && strcmp(link.kind, "tun") == 0 && wireguard_go_find_any(work->worker->mark, work->config.interface_name, &process, err) != 0) {
        return -1;
    }
    *ret_has_process = process >= 0;
    work->has_backend = found && (strcmp(link.kind, "wireguard") == 0 || process >= 0);
    work->backend = process >= 0 ? WIREGUARD_USERSPACE : WIREGUARD_KERNEL;
    return 0;
}

/* Twice at most: a tunnel that comes up between the looks at its process and at its link would be somebody else's. */
static int check_managed(struct wireguard_work *work, bool *ret_has_process, struct link_check *ret, struct error *err)
{
    for (int i = 0; i < 2; i++) {
        if (observe_backend(work, ret_has_process, err) != 0) {
            return -1;
        }
        const struct tunnel_wanted wanted = wireguard_tunnel(work, *ret_has_process);
        if (tunnel_check(&wanted, work->memory.tunnel_index, ret, err) != 0) {
            return -1;
        }
        if (!ret->present || ret->ours) {
            return 0;
        }
    }
    return error_set(err, ERR_WIREGUARD_SETUP_FAILED, "there is an interface %s already, which this daemon did not make: choose another `interface_name`",
                     work->config.interface_name);
}

static int observe_managed(struct wireguard_work *work, struct error *err)
{
    struct wireguard_observed *seen = &work->observed;
    struct link_check check;
    bool has_process = false;
    if (check_managed(work, &has_process, &check, err) != 0) {
        return -1;
    }
    work->tunnel_index = check.index;
    if (!work->has_backend) {
        (void)snprintf(seen->missing_found, sizeof seen->missing_found, "there is no tunnel %s", work->config.interface_name);
        return 0;
    }
    seen->alias_changed = check.ours && !check.marked;
    (void)snprintf(seen->link_found, sizeof seen->link_found, "%s", check.found);
    return observe_device(work, err);
}

static int observe_existing(struct wireguard_work *work, struct error *err)
{
    struct link_info link;
    bool found = false;
    if (link_get(work->config.interface_name, &link, &found, err) != 0) {
        return -1;
    }
    work->observed.waits = !found || !link.up;
    work->tunnel_index = found ? link.index : 0;
    return wireguard_find_backend(work->config.interface_name, &work->backend, &work->has_backend, err);
}

static bool is_wanted_tunnel(const struct wireguard_work *work, const char *name)
{
    return work->row.wanted && work->config.managed && strcmp(work->config.interface_name, name) == 0;
}

static int observe_old_tunnels(struct wireguard_work *work, struct error *err)
{
    struct wireguard_observed *seen = &work->observed;
    for (size_t i = 0; i < work->record.tunnel_count; i++) {
        const char *name = work->record.tunnels[i];
        AUTO_CLOSE int process = -1;
        struct link_info link;
        bool found = false;
        if (is_wanted_tunnel(work, name)) {
            continue;
        }
        if (link_get(name, &link, &found, err) != 0 || wireguard_go_find(work->worker->mark, name, &process, err) != 0) {
            return -1;
        }
        if (process >= 0 || (found && strcmp(link.alias, work->alias) == 0)) {
            (void)snprintf(seen->old_tunnels_found, sizeof seen->old_tunnels_found, "tunnel %s is not wanted", name);
        }
    }
    return 0;
}

int wireguard_observe(struct wireguard_work *work, struct error *err)
{
    _Static_assert((int)LINK_FOUND_MAX <= (int)WIREGUARD_FOUND_MAX, "what the driver says fits");
    work->observed.set_up_before = work->memory.set_up_before && work->memory.generation == work->row.generation;
    if (wireguard_want(work, err) != 0 || (work->claims && wireguard_claim(work, err) != 0) || observe_old_tunnels(work, err) != 0 ||
        wireguard_routes_observe(work, err) != 0) {
        return -1;
    }
    if (work->row.wanted && (work->config.managed ? observe_managed(work, err) : observe_existing(work, err)) != 0) {
        return -1;
    }
    wireguard_tuning_observe(work);
    return 0;
}
