/* What is wanted of the WireGuard egress, from its row: the tunnel, the device, the routes and the rules. */
#include "core/array.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "core/seal.h"
#include "host/tunnel/wireguard_backends.h"
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_secrets(const struct wireguard_work *work, json_t **ret, struct error *err)
{
    char *text = NULL;
    size_t len = 0;
    if (work->row.sealed == NULL) {
        return 0; /* an existing tunnel has none of ours */
    }
    if (seal_open(work->worker->seal_key, work->row.sealed, work->row.sealed_bytes, &text, &len, err) != 0) {
        err->code = ERR_WIREGUARD_SETUP_FAILED;
        return error_prefix(err, "the stored keys cannot be opened (was seal.key replaced?), PUT them again");
    }
    int result = json_parse(text, len, ret, err);
    explicit_bzero(text, len);
    free(text);
    return result;
}

static int load_config(struct wireguard_work *work, struct error *err)
{
    AUTO_JSON *document = NULL;
    AUTO_JSON *secrets = NULL;
    if (wireguard_row_document(&work->row, &document, err) != 0 || open_secrets(work, &secrets, err) != 0) {
        return -1;
    }
    if (wireguard_load(document, secrets, &work->config, err) != 0) {
        return -1;
    }
    return work->config.managed && secrets == NULL ? error_set(err, ERR_WIREGUARD_SETUP_FAILED, "the tunnel's keys are not stored, PUT them again") : 0;
}

struct tunnel_wanted wireguard_tunnel(const struct wireguard_work *work, bool has_our_process)
{
    return (struct tunnel_wanted){.name = work->config.interface_name,
                                  .alias = work->alias,
                                  .addresses = work->config.addresses,
                                  .address_count = work->config.address_count,
                                  .mtu = wireguard_mtu(&work->config),
                                  .has_our_process = has_our_process};
}

static int add_peer(struct wireguard_work *work, size_t index, bool due, struct error *err)
{
    const struct wireguard_peer *peer = &work->config.peers[index];
    struct wireguard_device_peer *wanted = wireguard_device_add_peer(&work->wanted);
    if (wanted == NULL) {
        return error_oom(err);
    }
    wanted->public_key = peer->public_key;
    wanted->preshared_key = peer->preshared_key;
    wanted->keepalive = peer->keepalive;
    wanted->endpoint_due = due;
    wanted->endpoint.port = peer->port;
    if (!ip_addr_parse(peer->host, &wanted->endpoint.address) && work->memory.resolved_generation == work->row.generation &&
        index < work->memory.resolved_count) {
        wanted->endpoint.address = work->memory.resolved[index].address; /* of a name; none as long as it leads nowhere */
    }
    for (size_t i = 0; i < peer->allowed_count; i++) {
        if (wireguard_device_add_allowed(wanted, &peer->allowed[i]) != 0) {
            return error_oom(err);
        }
    }
    return 0;
}

/* A change by a client sets where peers are; afterwards they may have moved, and WireGuard follows them by itself. */
static int want_device(struct wireguard_work *work, struct error *err)
{
    bool due = work->memory.generation != work->row.generation;
    work->wanted.private_key = work->config.private_key;
    work->wanted.listen_port = work->config.listen_port;
    work->wanted.fwmark = work->config.fwmark;
    for (size_t i = 0; i < work->config.peer_count; i++) {
        if (add_peer(work, i, due, err) != 0) {
            return -1;
        }
    }
    wireguard_device_sort(&work->wanted);
    return 0;
}

static int add_route(struct wireguard_routes *routes, const struct route *route, struct error *err)
{
    struct route *items = array_grow(routes->items, routes->count, sizeof *items);
    if (items == NULL) {
        return error_oom(err);
    }
    routes->items = items;
    items[routes->count++] = *route;
    return 0;
}

static bool has_address(const struct wireguard *config, enum ip_version version)
{
    for (size_t i = 0; i < config->address_count; i++) {
        if (config->addresses[i].address.version == version) {
            return true;
        }
    }
    return !config->managed; /* somebody else's: not known, so taken for granted */
}

/* One network that guests reach by the tunnel; and by nothing else, if it fails closed. */
static int want_net(struct wireguard_work *work, const struct ip_net *net, struct error *err)
{
    struct route closed = {.net = *net, .metric = ROUTE_METRIC_UNREACHABLE, .unreachable = true};
    struct route open = {.net = *net, .metric = ROUTE_METRIC};
    (void)snprintf(open.link, sizeof open.link, "%s", work->config.interface_name);
    if (net->address.version == IP_V6 && !network_has_ipv6(&work->settings)) {
        return 0;
    }
    if (work->config.fail_closed && add_route(&work->closed, &closed, err) != 0) {
        return -1;
    }
    return has_address(&work->config, (enum ip_version)net->address.version) ? add_route(&work->open, &open, err) : 0;
}

static int compare_nets_of_routes(const void *a, const void *b)
{
    return wireguard_compare_nets(&((const struct route *)a)->net, &((const struct route *)b)->net);
}

/* Two peers can be told the same network: the kernel has it for one of them, and it is one route. */
static void drop_repeats(struct wireguard_routes *routes)
{
    size_t count = 0;
    if (routes->count > 0) {
        qsort(routes->items, routes->count, sizeof *routes->items, compare_nets_of_routes);
    }
    for (size_t i = 0; i < routes->count; i++) {
        if (count == 0 || compare_nets_of_routes(&routes->items[count - 1], &routes->items[i]) != 0) {
            routes->items[count++] = routes->items[i];
        }
    }
    routes->count = count;
}

static int want_nets(struct wireguard_work *work, struct error *err)
{
    static const struct ip_net everything[] = {{.address = {.version = IP_V4}}, {.address = {.version = IP_V6}}};
    for (size_t i = 0; work->config.route_all && i < ARRAY_LEN(everything); i++) {
        if (want_net(work, &everything[i], err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; !work->config.route_all && i < work->config.peer_count; i++) {
        for (size_t j = 0; j < work->config.peers[i].allowed_count; j++) {
            if (want_net(work, &work->config.peers[i].allowed[j], err) != 0) {
                return -1;
            }
        }
    }
    drop_repeats(&work->closed);
    drop_repeats(&work->open);
    return 0;
}

static bool any_of(const struct wireguard_work *work, enum ip_version version)
{
    const struct wireguard_routes *lists[] = {&work->closed, &work->open};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (size_t j = 0; j < lists[i]->count; j++) {
            if (lists[i]->items[j].net.address.version == version) {
                return true;
            }
        }
    }
    return false;
}

/* The rule catches what guests send to each other as well: that goes by the bridge, as before. */
static int want_rule(struct wireguard_work *work, enum ip_version version, const struct ip_net *guests, struct error *err)
{
    struct route by_bridge = {.net = *guests, .metric = ROUTE_METRIC};
    if (!any_of(work, version)) {
        return 0;
    }
    (void)snprintf(by_bridge.link, sizeof by_bridge.link, "%s", work->bridge);
    work->rules[work->rule_count++] = (struct route_rule){.version = version, .table = work->config.route_table};
    return add_route(&work->closed, &by_bridge, err);
}

int wireguard_want(struct wireguard_work *work, struct error *err)
{
    const struct ipv4_net subnet = work->settings.subnet;
    const struct ip_net guests = {.address = ip_addr_from_ipv4(subnet.address), .prefix = (uint8_t)subnet.prefix};
    if (!work->row.wanted) {
        return 0;
    }
    if (load_config(work, err) != 0) {
        return -1;
    }
    work->observed.is_managed = work->config.managed;
    if ((work->config.managed && want_device(work, err) != 0) || want_nets(work, err) != 0) {
        return -1;
    }
    return want_rule(work, IP_V4, &guests, err) != 0 || want_rule(work, IP_V6, &work->settings.subnet6, err) != 0 ? -1 : 0;
}
