#include "worker/network/obstacles.h"

#include <stdio.h>
#include <string.h>

static const struct {
    enum condition_type type;
    enum condition_reason reason;
} conditions[OBSTACLE_COUNT_] = {
    [OBSTACLE_FOREIGN_BRIDGE] = {CONDITION_FOREIGN_BRIDGE, REASON_FOREIGN_BRIDGE},
    [OBSTACLE_SUBNET_OVERLAP] = {CONDITION_SUBNET_OVERLAP, REASON_SUBNET_OVERLAP},
    [OBSTACLE_OUTSIDE_SUBNET] = {CONDITION_OUTSIDE_SUBNET, REASON_OUTSIDE_SUBNET},
    [OBSTACLE_NO_UPLINK] = {CONDITION_NO_UPLINK, REASON_NO_UPLINK},
    [OBSTACLE_NO_UPLINK_IPV6] = {CONDITION_NO_UPLINK_IPV6, REASON_NO_UPLINK_IPV6},
    [OBSTACLE_UPLINK_PARTIAL] = {CONDITION_UPLINK_PARTIAL, REASON_UPLINK_PARTIAL},
    [OBSTACLE_UPLINK_DOWN] = {CONDITION_UPLINK_DOWN, REASON_UPLINK_DOWN},
    [OBSTACLE_UPLINK_UNUSED] = {CONDITION_UPLINK_UNUSED, REASON_UPLINK_UNUSED},
    [OBSTACLE_ANSWERS_LOST] = {CONDITION_ANSWERS_LOST, REASON_ANSWERS_LOST},
    [OBSTACLE_HOST_FORWARD_DROP] = {CONDITION_HOST_FORWARD_DROP, REASON_HOST_FORWARD_DROP},
    [OBSTACLE_NO_GATE] = {CONDITION_NO_GATE, REASON_NO_GATE},
    [OBSTACLE_OPEN_CHECKSUMS] = {CONDITION_OPEN_CHECKSUMS, REASON_OPEN_CHECKSUMS},
};

enum condition_type network_obstacle_type(enum network_obstacle obstacle)
{
    return conditions[obstacle].type;
}

enum condition_reason network_obstacle_reason(enum network_obstacle obstacle)
{
    return conditions[obstacle].reason;
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
                   "%zu VM%s an address outside of the subnet %s (%s: %s), and reach%s nothing: the next start of each gives it one of this subnet; reboot "
                   "them, or set network.subnet back",
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
                       "the host has no IPv4 default route that leads guests out (%s): they reach nothing outside until it has one, or PATCH /network names "
                       "an uplink",
                       seen->hole[0] != '\0' ? seen->hole : "nothing leads out");
    }
    return seen->no_uplink;
}

static bool no_uplink_ipv6(const struct network_seen *seen, char *buf)
{
    (void)snprintf(buf, OBSTACLE_TEXT_MAX, "the host has no IPv6 default route that leads guests out (%s): they reach nothing outside by IPv6 until it has one",
                   seen->hole6[0] != '\0' ? seen->hole6 : "nothing leads out");
    return seen->no_uplink6;
}

static bool uplink_partial(const struct network_seen *seen, char *buf)
{
    bool only6 = seen->no_uplink || seen->hole[0] == '\0';
    (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                   "the host's routes lead guests to a part of all addresses only, and not to %s: add the routes that are missing, or a default route",
                   only6 ? seen->hole6 : seen->hole);
    return (!seen->no_uplink && seen->hole[0] != '\0') || (!seen->no_uplink6 && seen->hole6[0] != '\0');
}

static bool uplink_down(const struct network_seen *seen, char *buf)
{
    (void)snprintf(buf, OBSTACLE_TEXT_MAX, "the uplink %s %s: guests reach nothing by it until %s, or a route leads to another link", seen->down,
                   seen->down_by_hand ? "is down" : "has no carrier, and the host's routes lead to it all the same",
                   seen->down_by_hand ? "it is up (ip link set dev … up)"
                                      : "it has one, the route is gone, or the kernel ignores it (sysctl net.ipv4.conf.….ignore_routes_with_linkdown=1)");
    return seen->down[0] != '\0';
}

static bool uplink_unused(const struct network_seen *seen, const struct network_settings *settings, char *buf)
{
    if (seen->unused[0] != '\0') {
        (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                       "the host's routes lead guests to %s, but the wanted uplink is %s, so what goes there is dropped: change the routes, or let guests use "
                       "all that the routes lead to (PATCH /network, {\"uplink\": null} or \"default\")",
                       seen->unused, settings->uplink);
    } else if (seen->left_out > 0) {
        (void)snprintf(
            buf, OBSTACLE_TEXT_MAX,
            "%zu more uplinks or routing rules than the daemon follows (%d uplinks, 32 rules that tell guests apart, of TCP, UDP and ICMP): what is led "
            "there is dropped",
            seen->left_out, INTERFACE_NAMES_MAX);
    } else {
        (void)snprintf(buf, OBSTACLE_TEXT_MAX,
                       "the host reaches %s%s, where guests don't leave: what they send there is dropped, as just a default route, or a part of one (prefix "
                       "shorter than %d), makes a link an uplink",
                       seen->beside, seen->beside_count > 1 ? ", and others in the same way" : "", UPLINKS_PREFIX_MAX);
    }
    return seen->unused[0] != '\0' || seen->left_out > 0 || seen->beside[0] != '\0';
}

static bool answers_lost(const struct network_seen *seen, const struct network_settings *settings, char *buf)
{
    (void)snprintf(
        buf, OBSTACLE_TEXT_MAX,
        "%s, so guests get no answers that way: let a routing rule or a route lead what is for the guests' network to %s (ip rule, ip route), or set "
        "rp_filter to 2 where that is the reason",
        seen->lost, settings->bridge);
    return seen->lost[0] != '\0';
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
    case OBSTACLE_NO_UPLINK_IPV6:
        return no_uplink_ipv6(seen, buf);
    case OBSTACLE_UPLINK_PARTIAL:
        return uplink_partial(seen, buf);
    case OBSTACLE_UPLINK_DOWN:
        return uplink_down(seen, buf);
    case OBSTACLE_UPLINK_UNUSED:
        return uplink_unused(seen, settings, buf);
    case OBSTACLE_ANSWERS_LOST:
        return answers_lost(seen, settings, buf);
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
