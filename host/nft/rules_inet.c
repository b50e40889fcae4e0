/* The rules of table `inet <mark>`: what guests may send past the bridge, and what may reach them. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/gate/gate.h"
#include "host/nft/expr.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h> /* before the kernel's headers, which then leave out what it defines */
#include <netinet/ip_icmp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>

enum { PORT_DESTINATION = 2 /* in the headers of TCP and UDP */, ETHER_SOURCE = 6 };

static void from_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is(b, NFT_META_IIFNAME, base->bridge);
}

static void to_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is(b, NFT_META_OIFNAME, base->bridge);
}

static void drop_from_tap(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_from_tap(b, base, NFT_CMP_EQ);
    nft_expr_count_and_drop(b);
}

/* Past the bridge, from an interface where only the daemon let the kernel pass anything on. */
static void from_entry(struct nft_rule_builder *b, const struct nft_base *base, uint8_t version)
{
    if (version == IP_V4) {
        nft_expr_is_ipv4(b);
    } else {
        nft_expr_is_ipv6(b);
    }
    nft_expr_interface_is_not(b, NFT_META_OIFNAME, base->bridge);
    nft_expr_meta(b, NFT_META_IIFNAME, NFT_REG_1);
    nft_expr_in_set(b, version == IP_V4 ? "entries" : "entries6");
}

static void is_established(struct nft_rule_builder *b)
{
    nft_expr_ct_state(b, NF_CT_STATE_BIT(IP_CT_ESTABLISHED));
}

/*
 * Of what is related to a known flow, ICMP errors pass. What a helper of the connection tracking has announced, that somebody else turned on (for FTP, SIP, TFTP),
 * is a new flow for the rules: it was announced by what guests and others wrote into their packets.
 */
static void jump_errors(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_ct_state(b, NF_CT_STATE_BIT(IP_CT_RELATED));
    nft_expr_branch(b, NFT_JUMP, "errors");
}

static void accept_icmp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_l4proto_is(b, IPPROTO_ICMP);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void accept_icmp6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_l4proto_is(b, IPPROTO_ICMPV6);
    nft_expr_verdict(b, NF_ACCEPT);
}

/* What somebody translated is meant to be passed on: to the guests of another daemon, say, for which this one's guard stands as well. */
static void accept_translated4(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V4);
    nft_expr_ct_translated(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void accept_translated6(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V6);
    nft_expr_ct_translated(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

/* Likewise answers to what began elsewhere. */
static void accept_answers_to_others4(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V4);
    is_established(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void accept_answers_to_others6(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V6);
    is_established(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void jump_errors_to_others4(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V4);
    jump_errors(b, base);
}

static void jump_errors_to_others6(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V6);
    jump_errors(b, base);
}

/* The host would pass on nothing from there by itself. */
static void drop_from_entry4(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V4);
    nft_expr_verdict(b, NF_DROP);
}

static void drop_from_entry6(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_entry(b, base, IP_V6);
    nft_expr_verdict(b, NF_DROP);
}

/* For the second lock (host/gate/gate.h). Like its sisters it stands before what may drop the packet, in the same chain. */
static void mark_judged(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_bridge(b, base);
    nft_expr_mark(b, 0, GATE_MARK_JUDGED);
}

void nft_rule_open(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    nft_expr_mark(b, GATE_MARK_CLOSED, 0);
}

static void to_from_guest(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    nft_expr_branch(b, NFT_GOTO, "from_guest");
}

static void to_to_guest(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_bridge(b, base);
    nft_expr_branch(b, NFT_GOTO, "to_guest");
}

static void to_guest_input(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    nft_expr_branch(b, NFT_GOTO, "guest_input");
}

/* First of all, so that nothing that is established leaves by another way than the one that is wanted now. */
static void to_no_uplink(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is_not(b, NFT_META_OIFNAME, base->bridge);
    nft_expr_not_in_set(b, "uplink"); /* the name is in the register */
    nft_expr_branch(b, NFT_GOTO, "no_uplink");
}

static void drop_no_uplink(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_NO_UPLINK);
}

static void accept_answers(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_established(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void jump_closed(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_branch(b, NFT_JUMP, "closed");
}

static void jump_host_egress(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_branch(b, NFT_JUMP, "host_egress");
}

static void jump_host_ingress(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_branch(b, NFT_JUMP, "host_ingress");
}

static void jump_ingress(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_branch(b, NFT_JUMP, "ingress");
}

static void jump_ingress_of_other(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_bridge(b, base);
    nft_expr_branch(b, NFT_JUMP, "ingress");
}

/* The VM's own policy, if it has one, by its address: its own, as the bridge table has made sure. */
static void jump_vm_egress4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv4(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_SOURCE, 4, NFT_REG_1);
    nft_expr_verdict_of(b, "egress4");
}

static void jump_vm_egress6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv6(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE, 16, NFT_REG_1);
    nft_expr_verdict_of(b, "egress6");
}

static void jump_vm_ingress4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv4(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_DESTINATION, 4, NFT_REG_1);
    nft_expr_verdict_of(b, "ingress4");
}

static void jump_vm_ingress6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv6(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_DESTINATION, 16, NFT_REG_1);
    nft_expr_verdict_of(b, "ingress6");
}

static void accept_ipv4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv4(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void accept_ipv6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv6(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

/* A new flow that nothing speaks against but, perhaps, how many there are. */
static void admit_ipv4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv4(b);
    nft_expr_branch(b, NFT_GOTO, "admitted");
}

static void admit_ipv6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv6(b);
    nft_expr_branch(b, NFT_GOTO, "admitted");
}

static bool wants_ipv6(const struct nft_base *base)
{
    return base->ipv6;
}

static void drop_rest(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_count_and_drop(b);
}

static void icmp6_type_is(struct nft_rule_builder *b, uint8_t type)
{
    nft_expr_l4proto_is(b, IPPROTO_ICMPV6);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof type, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &type, sizeof type);
}

/* Neighbour discovery is not tracked; the bridge table has looked at who is who, and how often. */
static void accept_solicitation(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    icmp6_type_is(b, ND_NEIGHBOR_SOLICIT);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void accept_advertisement(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    icmp6_type_is(b, ND_NEIGHBOR_ADVERT);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void to_gateway(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_ipv4_in(b, IPV4_DESTINATION, (struct ipv4_net){.address = base->gateway, .prefix = 32});
}

static void admit_ping(struct nft_rule_builder *b, const struct nft_base *base)
{
    const uint8_t echo = ICMP_ECHO;
    to_gateway(b, base);
    nft_expr_l4proto_is(b, IPPROTO_ICMP);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof echo, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &echo, sizeof echo);
    nft_expr_branch(b, NFT_GOTO, "admitted");
}

static void admit_open_ports(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_gateway(b, base);
    nft_expr_meta(b, NFT_META_L4PROTO, NFT_REG_1);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, 2, NFT_REG32_01);
    nft_expr_in_set(b, "open_ports");
    nft_expr_branch(b, NFT_GOTO, "admitted");
}

static void drop_host_port(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_HOST_PORT);
}

/* What belongs to no flow would not be translated, and leave under the guest's own address. */
static void drop_invalid(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_ct_state(b, NF_CT_STATE_INVALID_BIT);
    nft_expr_drop(b, NFT_DROP_INVALID_FLOW);
}

static void load_source4(struct nft_rule_builder *b)
{
    nft_expr_is_ipv4(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_SOURCE, 4, NFT_REG_1);
}

static void load_source6(struct nft_rule_builder *b)
{
    nft_expr_is_ipv6(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE, 16, NFT_REG_1);
}

/* What is in the table already is not counted anew: a flow that nobody answers would be, with each packet. */
static void accept_known(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_ct_confirmed(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

/*
 * What a VM may have is shared out among its interfaces: nftables counts by what stands in a packet, and there that is the MAC, which the bridge table has made
 * sure of, whatever the address. Flows of TCP that have ended stay in the table for up to two minutes without being counted, so the rate is limited, too.
 */
static void accept_share(struct nft_rule_builder *b, const struct nft_base *base, const char *set, uint32_t shares)
{
    const uint32_t most = base->max_flows / shares;
    nft_expr_payload(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, sizeof(struct mac), NFT_REG_1);
    nft_expr_in_set(b, set);
    nft_expr_rate_in(b, "flow_rate", base->flow_rate / shares, most);
    nft_expr_flows_in(b, "flows", most);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void accept_share1(struct nft_rule_builder *b, const struct nft_base *base)
{
    accept_share(b, base, "share1", 1);
}

static void accept_share2(struct nft_rule_builder *b, const struct nft_base *base)
{
    accept_share(b, base, "share2", 2);
}

static void accept_share4(struct nft_rule_builder *b, const struct nft_base *base)
{
    accept_share(b, base, "share4", 4);
}

static void accept_share8(struct nft_rule_builder *b, const struct nft_base *base)
{
    accept_share(b, base, "share8", 8);
}

static void drop_flow(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_FLOW_LIMIT);
}

static void drop_closed4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv4(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_DESTINATION, 4, NFT_REG_1);
    nft_expr_in_set(b, "closed4");
    nft_expr_drop(b, NFT_DROP_HOST_NETWORK);
}

static void drop_closed6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_is_ipv6(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_DESTINATION, 16, NFT_REG_1);
    nft_expr_in_set(b, "closed6");
    nft_expr_drop(b, NFT_DROP_HOST_NETWORK);
}

static void count4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    load_source4(b);
    nft_expr_meta(b, NFT_META_MARK, NFT_REG32_01);
    nft_expr_count_in(b, "drops4");
}

static void count6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    load_source6(b);
    nft_expr_meta(b, NFT_META_MARK, NFT_REG_2);
    nft_expr_count_in(b, "drops6");
}

/* A rule of its own: should a set be full, the packet is dropped all the same. */
static void drop(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_verdict(b, NF_DROP);
}

static void masquerade(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_ipv4_in(b, IPV4_SOURCE, base->subnet);
    nft_expr_meta(b, NFT_META_OIFNAME, NFT_REG_1);
    nft_expr_in_set(b, "uplink");
    (void)nft_expr_add(b, "masq");
}

/* The packet came to the guest by a port of the host: netfilter has translated its destination. */
static void return_published(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_ct_translated(b);
    nft_expr_verdict(b, (uint32_t)NFT_RETURN);
}

static bool leaves_by_more(const struct nft_base *base)
{
    return !base->tunnel_only;
}

static bool wants_masquerade(const struct nft_base *base)
{
    return base->masquerade;
}

static bool wants_masquerade6(const struct nft_base *base)
{
    return base->ipv6 && base->masquerade6;
}

const struct nft_rule_row nft_inet_rules[] = {
    {"prerouting", "open", nft_rule_open, NULL},
    {"forward", "segment4-out", nft_rule_segment4_out, nft_rule_wants_segment4},
    {"forward", "segment4-in", nft_rule_segment4_in, nft_rule_wants_segment4},
    {"forward", "segment6-out", nft_rule_segment6_out, nft_rule_wants_segment6},
    {"forward", "segment6-in", nft_rule_segment6_in, nft_rule_wants_segment6},
    {"forward", "tap-drop", drop_from_tap, NULL},
    {"forward", "entry-translated-accept", accept_translated4, NULL},
    {"forward", "entry-answer-accept", accept_answers_to_others4, NULL},
    {"forward", "entry-errors", jump_errors_to_others4, NULL},
    {"forward", "entry-drop", drop_from_entry4, NULL},
    {"forward", "entry6-translated-accept", accept_translated6, wants_ipv6},
    {"forward", "entry6-answer-accept", accept_answers_to_others6, wants_ipv6},
    {"forward", "entry6-errors", jump_errors_to_others6, wants_ipv6},
    {"forward", "entry6-drop", drop_from_entry6, wants_ipv6},
    {"forward", "judged", mark_judged, NULL},
    {"forward", "from-guest", to_from_guest, NULL},
    {"forward", "to-guest", to_to_guest, NULL},
    {"from_guest", "no-uplink", to_no_uplink, NULL},
    {"from_guest", "answer-accept", accept_answers, NULL},
    {"from_guest", "errors", jump_errors, NULL},
    {"from_guest", "invalid-drop", drop_invalid, NULL},
    {"from_guest", "closed", jump_closed, NULL},
    {"from_guest", "host-egress", jump_host_egress, NULL},
    {"from_guest", "vm-egress4", jump_vm_egress4, NULL},
    {"from_guest", "vm-egress6", jump_vm_egress6, NULL},
    {"from_guest", "guest-to-guest", jump_ingress_of_other, NULL},
    {"from_guest", "ipv4-admitted", admit_ipv4, NULL},
    {"from_guest", "ipv6-admitted", admit_ipv6, wants_ipv6},
    {"from_guest", "from-guest-drop", drop_rest, NULL},
    {"to_guest", "answer-accept", accept_answers, NULL},
    {"to_guest", "errors", jump_errors, NULL},
    {"to_guest", "ingress", jump_ingress, NULL},
    {"to_guest", "ipv4-accept", accept_ipv4, NULL},
    {"to_guest", "ipv6-accept", accept_ipv6, wants_ipv6},
    {"to_guest", "to-guest-drop", drop_rest, NULL},
    {"ingress", "host-ingress", jump_host_ingress, NULL},
    {"ingress", "vm-ingress4", jump_vm_ingress4, NULL},
    {"ingress", "vm-ingress6", jump_vm_ingress6, NULL},
    {"no_uplink", "published-answer-accept", nft_rule_port_answer, leaves_by_more},
    {"no_uplink", "no-uplink-drop", drop_no_uplink, NULL},
    {"input", "tap-drop", drop_from_tap, NULL},
    {"input", "from-guest", to_guest_input, NULL},
    {"guest_input", "answer-accept", accept_answers, NULL},
    {"guest_input", "errors", jump_errors, NULL},
    {"guest_input", "solicitation-accept", accept_solicitation, wants_ipv6},
    {"guest_input", "advertisement-accept", accept_advertisement, wants_ipv6},
    {"guest_input", "invalid-drop", drop_invalid, NULL},
    {"guest_input", "ping-admitted", admit_ping, NULL},
    {"guest_input", "ping6-admitted", nft_rule6_ping, wants_ipv6},
    {"guest_input", "open-ports-admitted", admit_open_ports, NULL},
    {"guest_input", "host-port-drop", drop_host_port, NULL},
    {"errors", "icmp-accept", accept_icmp, NULL},
    {"errors", "icmp6-accept", accept_icmp6, wants_ipv6},
    {"admitted", "known-accept", accept_known, NULL},
    {"admitted", "share1-accept", accept_share1, NULL},
    {"admitted", "share2-accept", accept_share2, NULL},
    {"admitted", "share4-accept", accept_share4, NULL},
    {"admitted", "share8-accept", accept_share8, NULL},
    {"admitted", "flow-limit-drop", drop_flow, NULL},
    {"closed", "closed4-drop", drop_closed4, NULL},
    {"closed", "closed6-drop", drop_closed6, NULL},
    {"unpublished", "published-return", return_published, NULL},
    {"unpublished", "unpublished-drop", drop_rest, NULL},
    {"dropped", "count4", count4, NULL},
    {"dropped", "count6", count6, NULL},
    {"dropped", "drop", drop, NULL},
    {"postrouting", "masquerade", masquerade, wants_masquerade},
    {"postrouting", "masquerade6", nft_rule6_masquerade, wants_masquerade6},
    {"postrouting", "loopback-masquerade", nft_rule_port_from_loopback, NULL},
    {"output", "no-redirect", nft_rule6_no_redirect, wants_ipv6},
    {"prerouting_nat", "port-at4", nft_rule_port_at4, NULL},
    {"prerouting_nat", "port-tcp", nft_rule_port_tcp, NULL},
    {"prerouting_nat", "port-udp", nft_rule_port_udp, NULL},
    {"prerouting_nat", "port-at6", nft_rule_port_at6, wants_ipv6},
    {"prerouting_nat", "port6", nft_rule_port6, wants_ipv6},
    {"output_nat", "port-at4", nft_rule_port_of_host_at4, NULL},
    {"output_nat", "port-tcp", nft_rule_port_of_host_tcp, NULL},
    {"output_nat", "port-udp", nft_rule_port_of_host_udp, NULL},
    {"output_nat", "port-at6", nft_rule_port_of_host_at6, wants_ipv6},
    {"output_nat", "port6", nft_rule_port6_of_host, wants_ipv6},
    {NULL, NULL, NULL, NULL},
};
