#include "worker/network_obstacles.h"

#include "worker/network_work.h"

#include <stdio.h>

static const struct {
    const char *type, *reason;
} names[OBSTACLE_COUNT_] = {
    [OBSTACLE_FOREIGN_BRIDGE] = {"foreign_bridge", "FOREIGN_BRIDGE"},
    [OBSTACLE_SUBNET_OVERLAP] = {"subnet_overlap", "SUBNET_OVERLAP"},
    [OBSTACLE_OUTSIDE_SUBNET] = {"outside_subnet", "OUTSIDE_SUBNET"},
    [OBSTACLE_NO_UPLINK] = {"no_uplink", "NO_UPLINK"},
    [OBSTACLE_HOST_FORWARD_DROP] = {"host_forward_drop", "HOST_FORWARD_DROP"},
    [OBSTACLE_NO_GATE] = {"no_gate", "NO_GATE"},
    [OBSTACLE_OPEN_CHECKSUMS] = {"open_checksums", "OPEN_CHECKSUMS"},
};

const char *network_obstacle_type(enum network_obstacle obstacle)
{
    return names[obstacle].type;
}

const char *network_obstacle_reason(enum network_obstacle obstacle)
{
    return names[obstacle].reason;
}

static bool foreign_bridge(const struct network_seen *seen, const struct network_settings *settings, char *buf)
{
    (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                   "there is a link %s that the daemon did not make, and that it leaves alone: remove it (ip link delete %s), or set network.bridge to "
                   "another name",
                   settings->bridge, settings->bridge);
    return seen->foreign_bridge;
}

static bool subnet_overlap(const struct network_seen *seen, const struct network_settings *settings, char *buf)
{
    char subnet[CIDR_TEXT_MAX];
    (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                   "the host has a route %s, which overlaps the guests' subnet %s: what is meant for the one may go to the other; remove the route, or "
                   "give guests another subnet (PATCH /network, or network.subnet)",
                   seen->overlap, ipv4_net_format(settings->subnet, subnet));
    return seen->overlap[0] != '\0';
}

static bool outside_subnet(const struct network_seen *seen, const struct network_settings *settings, char *buf)
{
    char subnet[CIDR_TEXT_MAX];
    char address[IPV4_TEXT_MAX];
    (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                   "%zu VM%s an address outside of the subnet %s (%s: %s), and reach%s nothing: set network.subnet back to the one they were made in, or "
                   "delete them",
                   seen->outside_count, seen->outside_count == 1 ? " has" : "s have", ipv4_net_format(settings->subnet, subnet), seen->outside.vm,
                   ipv4_format(seen->outside.address, address), seen->outside_count == 1 ? "es" : "");
    return seen->outside_count > 0;
}

static bool no_uplink(const struct network_seen *seen, const struct network_settings *settings, char *buf)
{
    if (settings->uplink[0] != '\0') {
        (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                       "there is no interface %s, the wanted uplink: guests reach nothing outside until it comes, or PATCH /network names another one",
                       settings->uplink);
    } else {
        (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                       "the host has no IPv4 default route: guests reach nothing outside until it has one, or PATCH /network names an uplink");
    }
    return seen->no_uplink;
}

static bool no_gate(const struct network_seen *seen, char *buf)
{
    (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                   "%s: guests are kept apart by nftables alone, and between 'nft flush ruleset' and the repair their packets pass unjudged; the daemon needs "
                   "CAP_BPF, and the kernel BPF_SYSCALL, NET_CLS_BPF and NET_SCH_INGRESS; restart it when they are there",
                   seen->no_gate);
    return seen->no_gate[0] != '\0';
}

static bool open_checksums(const struct network_seen *seen, char *buf)
{
    (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                   "%s: a guest can have a checksum written over ports and addresses behind the firewall, where the host fills in checksums; the daemon needs "
                   "CAP_BPF and CAP_PERFMON, the kernel DEBUG_INFO_BTF and no lockdown=confidentiality; restart it when they are there",
                   seen->open_checksums);
    return seen->open_checksums[0] != '\0';
}

bool network_obstacle_text(enum network_obstacle obstacle, const struct network_seen *seen, const struct network_settings *settings, char *buf)
{
    switch (obstacle) {
    case OBSTACLE_FOREIGN_BRIDGE:
        return foreign_bridge(seen, settings, buf);
    case OBSTACLE_SUBNET_OVERLAP:
        return subnet_overlap(seen, settings, buf);
    case OBSTACLE_OUTSIDE_SUBNET:
        return outside_subnet(seen, settings, buf);
    case OBSTACLE_NO_UPLINK:
        return no_uplink(seen, settings, buf);
    case OBSTACLE_HOST_FORWARD_DROP:
        forward_block_advice(&seen->block, settings->bridge, buf);
        return seen->block.found;
    case OBSTACLE_NO_GATE:
        return no_gate(seen, buf);
    case OBSTACLE_OPEN_CHECKSUMS:
        return open_checksums(seen, buf);
    case OBSTACLE_COUNT_:
        break;
    }
    return false;
}

void network_observe_obstacles(struct network_work *work)
{
    struct network_seen *seen = &work->obstacles;
    const struct network_observed *observed = &work->observed;
    bool overlap = false;
    uint32_t first = 0;
    uint32_t last = 0;
    size_t named = 0;
    seen->foreign_bridge = observed->bridge_present && work->bridge_index == 0;
    seen->no_uplink = observed->uplink[0] == '\0' || !observed->uplink_present;
    network_guest_range(work->settings.subnet, &first, &last);
    (void)network_addresses_outside(work->worker->db, first, last, 1, &seen->outside, &named, &seen->outside_count, NULL);
    if (link_route_overlap(work->settings.subnet, work->bridge, &overlap, seen->overlap, NULL) != 0 || !overlap) {
        seen->overlap[0] = '\0';
    }
    (void)forward_block_find(work->worker->mark, work->bridge, &seen->block, NULL);
}
