/* The network as it is. */
#include "core/cleanup.h"
#include "host/link/sysctl.h"
#include "worker/border/wanted.h"
#include "worker/memory.h"
#include "worker/network/work.h"

#include <stdio.h>
#include <string.h>

void network_work_init(struct network_work *work, struct worker *worker)
{
    memset(work, 0, sizeof *work);
    work->worker = worker;
    work->bridge = worker->config->network.bridge;
    (void)pthread_mutex_lock(&worker->network.lock);
    work->memory = worker->network.memory;
    work->settings = worker->network.settings;
    (void)pthread_mutex_unlock(&worker->network.lock);
    work->flow_limits = flow_limits_of(worker->config->network.max_flows_per_vm, flow_table_size());
}

void network_work_free(struct network_work *work)
{
    free(work->links);
    free(work->interfaces);
    free(work->orphan_taps);
    free(work->closed);
}

void network_bridge_alias(const struct worker *worker, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s:bridge", worker->mark);
}

struct nft_base network_firewall_base(const struct network_work *work)
{
    const struct worker *worker = work->worker;
    return (struct nft_base){.mark = worker->mark,
                             .bridge = work->bridge,
                             .bridge_mac = network_bridge_mac(&work->settings),
                             .tap_prefix = work->settings.tap_prefix,
                             .subnet = work->settings.subnet,
                             .gateway = work->settings.gateway,
                             .masquerade = work->settings.masquerade,
                             .ipv6 = network_has_ipv6(&work->settings),
                             .subnet6 = work->settings.subnet6,
                             .gateway6 = work->settings.gateway6,
                             .masquerade6 = work->settings.masquerade && network_subnet6_is_local(&work->settings.subnet6),
                             .tunnel = work->egress.tunnel[0] != '\0' ? work->egress.tunnel : NULL,
                             .tunnel_only = work->egress.tunnel_only,
                             .tunnel_mtu = work->egress.mtu,
                             .max_flows = work->flow_limits.max,
                             .flow_rate = work->flow_limits.rate,
                             .open_ports = worker->config->network.open_host_ports,
                             .open_port_count = worker->config->network.open_host_port_count,
                             .closed = work->closed,
                             .closed_count = work->closed_count};
}

/* What no host's network may ever be reached by, whatever its routes say. */
static const struct ip_net always_closed[] = {
    {.address = {.version = IP_V4, .bytes = {0}}, .prefix = 8},                         /* this network: some stacks take it for the host */
    {.address = {.version = IP_V4, .bytes = {127}}, .prefix = 8},                       /* loopback */
    {.address = {.version = IP_V4, .bytes = {169, 254}}, .prefix = 16},                 /* link-local: metadata services */
    {.address = {.version = IP_V4, .bytes = {224}}, .prefix = 3},                       /* multicast, reserved, broadcast */
    {.address = {.version = IP_V6, .bytes = {0}}, .prefix = 96},                        /* unspecified, loopback, IPv4-compatible */
    {.address = {.version = IP_V6, .bytes = {[10] = 0xff, [11] = 0xff}}, .prefix = 96}, /* IPv4-mapped */
    {.address = {.version = IP_V6, .bytes = {0xfe, 0x80}}, .prefix = 10},               /* link-local */
    {.address = {.version = IP_V6, .bytes = {0xff}}, .prefix = 8},                      /* multicast */
};

/* Those, and the networks that the host is connected to, but not by what guests are led to. *ret is owned by the caller. */
static int list_closed(const struct network_work *work, struct ip_net **ret, size_t *ret_count, struct error *err)
{
    const char *const except[] = {work->bridge, work->egress.tunnel};
    struct ip_net *connected = NULL;
    size_t count = 0;
    if (link_networks_list(except, work->egress.tunnel[0] != '\0' ? 2 : 1, &work->observed.uplinks, &connected, &count, err) != 0) {
        return -1;
    }
    struct ip_net *nets = reallocarray(connected, count + ARRAY_LEN(always_closed), sizeof *nets);
    if (nets == NULL) {
        free(connected);
        return error_oom(err);
    }
    memcpy(nets + count, always_closed, sizeof always_closed);
    *ret = nets;
    *ret_count = count + ARRAY_LEN(always_closed);
    return 0;
}

static int observe_closed(struct network_work *work, struct error *err)
{
    const struct config *config = work->worker->config;
    struct ip_net *nets = NULL;
    size_t count = 0;
    if (list_closed(work, &nets, &count, err) != 0) {
        return -1;
    }
    int result =
        ip_ranges_make(nets, count, config->network.allow_host_networks, config->network.allow_host_network_count, &work->closed, &work->closed_count, err);
    free(nets);
    if (result != 0) {
        return -1;
    }
    work->observed.closed_moved = ip_ranges_digest(work->closed, work->closed_count) != work->memory.closed_digest;
    return nft_closed_check(work->worker->mark, work->closed, work->closed_count, &work->observed.closed_ok, err);
}

static int observe_bridge(struct network_work *work, struct error *err)
{
    const struct worker *worker = work->worker;
    char alias[LINK_ALIAS_MAX];
    struct link_check check;
    network_bridge_alias(worker, alias, sizeof alias);
    if (link_bridge_check(work->bridge, alias, network_bridge_mac(&work->settings), work->settings.gateway, work->settings.subnet.prefix,
                          work->memory.bridge_index, &check, err) != 0) {
        return -1;
    }
    work->bridge_index = check.ours ? check.index : 0;
    work->observed.bridge_present = check.present;
    (void)snprintf(work->observed.bridge_found, sizeof work->observed.bridge_found, "%s", check.found);
    for (size_t i = 0; i < work->link_count && check.ours; i++) {
        const struct link_info *link = &work->links[i];
        work->observed.bridge_alias_changed =
            work->observed.bridge_alias_changed || (link->index == check.index && !link_alias_has_mark(link->alias, worker->mark));
    }
    return 0;
}

static int observe_forwarding(struct network_work *work, struct error *err)
{
    struct network_observed *seen = &work->observed;
    (void)sysctl_forwarding_get(work->bridge, &seen->bridge_forwards, NULL);
    (void)sysctl_bridge_check(work->bridge, seen->bridge_tuning_found, NULL);
    return network_find_idle(work, sysctl_forwarding_get, MEMORY_FORWARDED_UPLINKS, &seen->idle_uplinks, &seen->forwarded_uplinks, err);
}

static bool has_vm(const struct network_work *work, const struct link_info *link)
{
    const char *vm = link->alias + strlen(work->worker->mark) + 1;
    for (size_t i = 0; i < work->interface_count; i++) {
        const struct interface_row *row = &work->interfaces[i];
        /* By its name, too: someone may have changed the alias. */
        if (strcmp(row->vm, vm) == 0 || strcmp(row->tap, link->name) == 0) {
            return true;
        }
    }
    return false;
}

/* The VM may have been deleted since the links were listed: its TAP went first. */
static bool is_there_still(const struct link_info *link)
{
    struct link_info now;
    bool found = false;
    return link_get(link->name, &now, &found, NULL) != 0 || (found && now.index == link->index);
}

/* A TAP is an orphan when it is marked as ours and no VM has it. */
static int observe_orphan_taps(struct network_work *work, struct error *err)
{
    struct network_observed *seen = &work->observed;
    work->orphan_taps = calloc(work->link_count + 1, sizeof *work->orphan_taps);
    if (work->orphan_taps == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < work->link_count; i++) {
        const struct link_info *link = &work->links[i];
        if (link->is_tap && link_alias_has_mark(link->alias, work->worker->mark) && !has_vm(work, link) && is_there_still(link)) {
            work->orphan_taps[work->orphan_tap_count++] = link->name;
        }
    }
    if (work->orphan_tap_count > 0) {
        (void)snprintf(seen->orphan_taps, sizeof seen->orphan_taps, "%zu TAPs of VMs that are gone: %s%s", work->orphan_tap_count, work->orphan_taps[0],
                       work->orphan_tap_count > 1 ? " and others" : "");
    }
    return 0;
}

int network_observe(struct network_work *work, struct error *err)
{
    _Static_assert((int)NFT_FOUND_MAX <= (int)NETWORK_FOUND_MAX && (int)LINK_FOUND_MAX <= (int)NETWORK_FOUND_MAX &&
                       (int)SYSCTL_FOUND_MAX <= (int)NETWORK_FOUND_MAX,
                   "what the drivers say fits");
    if (work->wish != NULL && work->wish->override_count > 0) {
        border_network_settings_of(work->wish->overrides, work->worker->config, &work->settings);
    } else if (border_network_settings(work->worker->border, work->worker->config, &work->settings, err) != 0) {
        return -1;
    }
    work->observed.cut_off = work->memory.cut_off;
    work->observed.last_uplinks = work->memory.uplinks;
    /* Links before the rows of their VMs: a row is there before its TAP. */
    if (link_list(&work->links, &work->link_count, err) != 0 || network_egress_load(work, err) != 0) {
        return -1;
    }
    /* What differs because the settings were changed is no repair. */
    work->observed.set_up_before = work->memory.set_up_before && work->memory.generation == work->settings.generation && !network_egress_moved(work);
    if (observe_bridge(work, err) != 0 || network_uplinks_observe(work, err) != 0 || observe_closed(work, err) != 0) {
        return -1;
    }
    struct nft_base base = network_firewall_base(work);
    if (nft_base_check(&base, work->observed.firewall_found, err) != 0 || network_guests_observe(work, err) != 0 || observe_orphan_taps(work, err) != 0) {
        return -1;
    }
    if (observe_forwarding(work, err) != 0 || network_gate_observe(work, err) != 0 || network_ipv6_observe(work, err) != 0) {
        return -1;
    }
    return network_entries_observe(work, err);
}
