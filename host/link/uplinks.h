/*
 * By which links guests leave the host. The kernel is asked (RTM_GETROUTE with the bridge as input and a guest's address as source, the whole route with
 * all its next hops), so policy rules, other tables, multipath routes and next-hop objects count as they do for a packet. Any thread. Error: SYSTEM.
 *
 * Which destinations are asked for: routes whose prefix is shorter than UPLINKS_PREFIX_MAX are ways out, or parts of one, as VPNs set them (0.0.0.0/1
 * and 128.0.0.0/1). They cut the address space into parts, and each part is asked for with one address out of it. Longer ones are networks of their
 * own: they make no link an uplink.
 *
 * Which packets: of the rules that can match a packet from the bridge, each source inside the subnet, protocol, port and type of service is asked for
 * by itself. Rules for marked packets are not meant for guests, whose packets have no mark.
 */
#ifndef SMARTVM_HOST_LINK_UPLINKS_H
#define SMARTVM_HOST_LINK_UPLINKS_H

#include "core/interface_names.h"
#include "core/ip_net.h"

enum {
    UPLINKS_PREFIX_MAX = 8,
    UPLINKS_TEXT_MAX = 200,
};

struct uplinks_question {
    const char *bridge;
    struct ipv4_net subnet;
    uint32_t gateway;             /* the bridge's own address, host byte order */
    const struct ip_net *subnet6; /* NULL: guests have no IPv6, and it is not asked for */
    /*
     * Not as for a packet from the bridge, but as for one of the host itself: while the bridge is not up or does not forward, and for what is
     * beside a tunnel that a rule for the bridge leads into.
     */
    bool as_host;
    /*
     * The bridge has no carrier, as no VM runs. Where the host ignores routes by such links (ignore_routes_with_linkdown), the kernel takes no source
     * for a guest's meanwhile, and it is asked as for the host itself.
     */
    bool no_carrier;
};

struct uplinks {
    struct interface_names names;
    struct ip_addr asked[INTERFACE_NAMES_MAX]; /* of each name: an IPv4 destination that leads there; IP_NONE when only IPv6 does */
    bool ipv4, ipv6;                           /* some of it leads somewhere */
    char
        hole4[UPLINKS_TEXT_MAX]; /* what leads nowhere, and the kernel's word for it: "128.0.0.0 to 223.255.255.255 (Network is unreachable)"; "" for nothing */
    char hole6[UPLINKS_TEXT_MAX];
    char unused[UPLINKS_TEXT_MAX]; /* "203.0.113.0/24 by up2": a public network that the host reaches by another link, of the main table; "" for none */
    size_t unused_count;
    size_t left_out; /* links, rules: more than are looked at */
};
int uplinks_find(const struct uplinks_question *question, struct uplinks *ret, struct error *err);

/*
 * Do answers get back: is what comes in by each uplink for a guest (IPv4) led to the bridge? Says of the first of which it is not: "what comes in by up2
 * for guests is led to tun0"; "" when all is well. To be asked while the bridge has a carrier and the uplinks forward.
 */
int uplinks_check_answers(const struct uplinks_question *question, const struct uplinks *found, char words[UPLINKS_TEXT_MAX], struct error *err);

#endif
