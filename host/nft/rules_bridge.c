/*
 * The rules of table `bridge <mark>`: what a guest may put on its TAP. What is right is found first, by one lookup of (TAP, MAC, address);
 * only what is not accepted goes on, to find out the reason. A load of bytes that a frame does not have ends the rule, so everything that is
 * accepted is there in full, and what is short arrives at `malformed`.
 */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/gate/gate.h"
#include "host/nft/expr.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h> /* before the kernel's headers, which then leave out what it defines */
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

/* Where things stand in headers. */
enum {
    ETHER_DESTINATION = 0,
    ETHER_GROUP_BIT = 1, /* of its first byte */
    ETHER_SOURCE = 6,
    ETHER_TYPE = 12,
    IPV4_FIRST = 0, /* version and length of the header */
    IPV4_WITHOUT_OPTIONS = 0x45,
    ARP_FORMAT = 0, /* hardware type, protocol type, lengths */
    ARP_SENDER_MAC = 8,
    ARP_SENDER_IP = 14,
    ARP_TARGET_IP = 24,
    ND_TARGET = 8,
    ND_OPTION = 24, /* type, length in 8 bytes, MAC; behind the target */
    ND_OPTION_MAC = 26,
    UDP_SOURCE = 0,
    ND_PLAIN_BYTES = 24,
    ND_OPTION_BYTES = 32, /* with one option of 8 bytes */
    DHCP_SERVER = 67,
    DHCP6_SERVER = 547,
    ETHER_TYPE_QINQ_OLD = 0x9100,
};

/* The keys of the guests' sets fill registers without a gap: name in 1, MAC in 2, and the address in the third
 * 32-bit part of 2. */
enum { REG_NAME = NFT_REG_1, REG_MAC = NFT_REG_2, REG_ADDRESS = NFT_REG32_06 };

static void accept_others(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_from_tap(b, base, NFT_CMP_NEQ);
    nft_expr_verdict(b, NF_ACCEPT);
}

/* First of all, in the same chain as what may drop the packet: one look at the ruleset sees all of the chain or nothing of it. */
static void mark_judged(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_mark(b, 0, GATE_MARK_JUDGED);
}

/* By what the kernel takes it for. A question by ARP is routed, too, but comes through no chain that would take this mark off it. */
static void mark_closed(struct nft_rule_builder *b, const struct nft_base *base)
{
    const uint16_t arp = htons(ETH_P_ARP);
    (void)base;
    nft_expr_meta(b, NFT_META_PROTOCOL, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_NEQ, &arp, sizeof arp);
    nft_expr_mark(b, 0, GATE_MARK_CLOSED);
}

static void load(struct nft_rule_builder *b, uint32_t header, uint32_t offset, uint32_t len)
{
    nft_expr_payload(b, header, offset, len, NFT_REG_1);
}

static void ether_type_is(struct nft_rule_builder *b, uint16_t type)
{
    const uint16_t wanted = htons(type);
    load(b, NFT_PAYLOAD_LL_HEADER, ETHER_TYPE, sizeof wanted);
    nft_expr_cmp(b, NFT_CMP_EQ, &wanted, sizeof wanted);
}

/* Guests reach each other by way of the host, where the policies are (it answers ARP for all of them): a frame for one host is for the bridge. */
static void drop_destination_mac(struct nft_rule_builder *b, const struct nft_base *base)
{
    load(b, NFT_PAYLOAD_LL_HEADER, ETHER_DESTINATION, ETH_ALEN);
    nft_expr_cmp(b, NFT_CMP_NEQ, base->bridge_mac.bytes, sizeof base->bridge_mac.bytes);
    nft_expr_byte_bits(b, NFT_CMP_EQ, NFT_PAYLOAD_LL_HEADER, ETHER_DESTINATION, ETHER_GROUP_BIT);
    nft_expr_drop(b, NFT_DROP_DESTINATION_MAC);
}

/* A tagged frame shows its outer tag's type here, also when the kernel took the tag off the frame: so what is under a tag never gets into
 * the chains of IPv4, ARP and IPv6. */
static void to_ipv4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    ether_type_is(b, ETH_P_IP);
    nft_expr_branch(b, NFT_GOTO, "tap_ipv4");
}

static void to_arp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    ether_type_is(b, ETH_P_ARP);
    nft_expr_branch(b, NFT_GOTO, "tap_arp");
}

static void to_ipv6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    ether_type_is(b, ETH_P_IPV6);
    nft_expr_branch(b, NFT_GOTO, "tap_ipv6");
}

static void drop_tagged(struct nft_rule_builder *b, uint16_t type)
{
    ether_type_is(b, type);
    nft_expr_drop(b, NFT_DROP_VLAN);
}

static void drop_8021q(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    drop_tagged(b, ETH_P_8021Q);
}

static void drop_8021ad(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    drop_tagged(b, ETH_P_8021AD);
}

static void drop_old_qinq(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    drop_tagged(b, ETHER_TYPE_QINQ_OLD);
}

static void load_mac(struct nft_rule_builder *b, uint32_t header, uint32_t offset)
{
    nft_expr_meta(b, NFT_META_IIFNAME, REG_NAME);
    nft_expr_payload(b, header, offset, ETH_ALEN, REG_MAC);
}

static void drop_source_mac(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    load_mac(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE);
    nft_expr_not_in_set(b, "guest_mac");
    nft_expr_drop(b, NFT_DROP_SOURCE_MAC);
}

static void drop_ether_type(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_ETHER_TYPE);
}

static void drop_malformed(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_MALFORMED);
}

/* Only of a packet whose headers the kernel has found to be whole can the protocol be loaded. */
static void is_whole(struct nft_rule_builder *b)
{
    const uint8_t any = 0;
    nft_expr_meta(b, NFT_META_L4PROTO, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_GTE, &any, sizeof any);
}

static void drop_udp_from(struct nft_rule_builder *b, uint16_t port)
{
    const uint16_t source = htons(port);
    nft_expr_l4proto_is(b, IPPROTO_UDP);
    load(b, NFT_PAYLOAD_TRANSPORT_HEADER, UDP_SOURCE, sizeof source);
    nft_expr_cmp(b, NFT_CMP_EQ, &source, sizeof source);
    nft_expr_drop(b, NFT_DROP_DHCP_SERVER);
}

static void drop_dhcp4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    drop_udp_from(b, DHCP_SERVER);
}

static void guest4_key(struct nft_rule_builder *b, uint32_t mac_header, uint32_t mac_offset, uint32_t address_offset)
{
    load_mac(b, mac_header, mac_offset);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, address_offset, 4, REG_ADDRESS);
}

static void accept_ipv4(struct nft_rule_builder *b, const struct nft_base *base)
{
    const uint8_t first = IPV4_WITHOUT_OPTIONS;
    (void)base;
    guest4_key(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, IPV4_SOURCE);
    nft_expr_in_set(b, "guest4");
    load(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_FIRST, sizeof first);
    nft_expr_cmp(b, NFT_CMP_EQ, &first, sizeof first);
    is_whole(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void drop_source4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    guest4_key(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, IPV4_SOURCE);
    nft_expr_not_in_set(b, "guest4");
    is_whole(b);
    nft_expr_drop(b, NFT_DROP_SOURCE_ADDRESS);
}

static void drop_ip_options(struct nft_rule_builder *b, const struct nft_base *base)
{
    const uint8_t first = IPV4_WITHOUT_OPTIONS;
    (void)base;
    load(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_FIRST, sizeof first);
    nft_expr_cmp(b, NFT_CMP_GT, &first, sizeof first);
    is_whole(b);
    nft_expr_drop(b, NFT_DROP_IP_OPTIONS);
}

static void is_arp(struct nft_rule_builder *b)
{
    static const uint8_t format[] = {0, 1, 8, 0, ETH_ALEN, 4}; /* Ethernet, IPv4 */
    load(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_FORMAT, sizeof format);
    nft_expr_cmp(b, NFT_CMP_EQ, format, sizeof format);
    load(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_TARGET_IP, 4); /* it is there: the whole of it is */
}

/* Both MACs have to go with this address on this TAP; as that is one MAC only, they are the same. */
static void allow_arp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_arp(b);
    guest4_key(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, ARP_SENDER_IP);
    nft_expr_in_set(b, "guest4");
    guest4_key(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_MAC, ARP_SENDER_IP);
    nft_expr_in_set(b, "guest4");
    nft_expr_branch(b, NFT_GOTO, "arp_rate");
}

static void drop_arp_sender(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_arp(b);
    nft_expr_drop(b, NFT_DROP_ARP_SENDER);
}

static void accept_at_rate(struct nft_rule_builder *b, const char *set)
{
    nft_expr_meta(b, NFT_META_IIFNAME, NFT_REG_1);
    nft_expr_rate_in(b, set, NFT_NEIGHBOUR_RATE, NFT_NEIGHBOUR_BURST);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void accept_arp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    accept_at_rate(b, "rate_arp");
}

static void drop_arp_rate(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_ARP_RATE);
}

static bool wants_ipv6(const struct nft_base *base)
{
    return base->ipv6;
}

static bool wants_no_ipv6(const struct nft_base *base)
{
    return !base->ipv6;
}

static void drop_ipv6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_IPV6);
}

static void to_icmp6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_l4proto_is(b, IPPROTO_ICMPV6);
    nft_expr_branch(b, NFT_GOTO, "tap_icmp6");
}

static void drop_dhcp6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    drop_udp_from(b, DHCP6_SERVER);
}

static void guest6_key(struct nft_rule_builder *b, uint32_t mac_header, uint32_t mac_offset, uint32_t header, uint32_t offset)
{
    load_mac(b, mac_header, mac_offset);
    nft_expr_payload(b, header, offset, 16, REG_ADDRESS);
}

static void is_guest6(struct nft_rule_builder *b)
{
    guest6_key(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE);
    nft_expr_in_set(b, "guest6");
}

static void accept_ipv6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_guest6(b);
    is_whole(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void drop_source6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    guest6_key(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE);
    nft_expr_not_in_set(b, "guest6");
    is_whole(b);
    nft_expr_drop(b, NFT_DROP_SOURCE_ADDRESS);
}

/* The type may be in the second fragment, where nobody sees it (RFC 6980, RFC 7113). */
static void drop_icmp6_fragment(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_has_fragment_header(b);
    nft_expr_drop(b, NFT_DROP_MALFORMED);
}

static void icmp6_type_is(struct nft_rule_builder *b, uint8_t type)
{
    load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof type);
    nft_expr_cmp(b, NFT_CMP_EQ, &type, sizeof type);
}

static void drop_router(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    icmp6_type_is(b, ND_ROUTER_ADVERT);
    nft_expr_drop(b, NFT_DROP_ROUTER_ADVERTISEMENT);
}

static void drop_redirect(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    icmp6_type_is(b, ND_REDIRECT);
    nft_expr_drop(b, NFT_DROP_ROUTER_ADVERTISEMENT);
}

static void to_solicitation(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    icmp6_type_is(b, ND_NEIGHBOR_SOLICIT);
    nft_expr_branch(b, NFT_GOTO, "tap_nd_ask");
}

static void to_advertisement(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    icmp6_type_is(b, ND_NEIGHBOR_ADVERT);
    nft_expr_branch(b, NFT_GOTO, "tap_nd_tell");
}

static void accept_icmp6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_guest6(b);
    load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 4);
    nft_expr_verdict(b, NF_ACCEPT);
}

/* Of the whole message; with another header before it or a second option behind, it is another. */
static void nd_bytes_are(struct nft_rule_builder *b, uint16_t bytes)
{
    const uint16_t wanted = htons(bytes);
    load(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_PAYLOAD_BYTES, sizeof wanted);
    nft_expr_cmp(b, NFT_CMP_EQ, &wanted, sizeof wanted);
}

/* The one option is the guest's own MAC: with this address on this TAP. */
static void nd_option_is_own(struct nft_rule_builder *b, uint8_t type)
{
    const uint8_t head[] = {type, 1};
    nd_bytes_are(b, ND_OPTION_BYTES);
    load(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_OPTION, sizeof head);
    nft_expr_cmp(b, NFT_CMP_EQ, head, sizeof head);
    load_mac(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_OPTION_MAC);
    nft_expr_in_set(b, "guest_mac");
}

static void nd_target_is_own(struct nft_rule_builder *b)
{
    guest6_key(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, NFT_PAYLOAD_TRANSPORT_HEADER, ND_TARGET);
    nft_expr_in_set(b, "guest6");
}

static void to_nd_rate(struct nft_rule_builder *b)
{
    nft_expr_branch(b, NFT_GOTO, "nd_rate");
}

/* Is my address free? Without an address yet, and with no option or a nonce (RFC 7527). */
static void allow_duplicate_detection(struct nft_rule_builder *b, const struct nft_base *base)
{
    static const uint8_t unspecified[16];
    const uint16_t longest = htons(ND_OPTION_BYTES);
    (void)base;
    load(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE, sizeof unspecified);
    nft_expr_cmp(b, NFT_CMP_EQ, unspecified, sizeof unspecified);
    load(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_PAYLOAD_BYTES, sizeof longest);
    nft_expr_cmp(b, NFT_CMP_LTE, &longest, sizeof longest);
    nd_target_is_own(b);
    to_nd_rate(b);
}

static void allow_plain_question(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_guest6(b);
    nd_bytes_are(b, ND_PLAIN_BYTES);
    to_nd_rate(b);
}

static void allow_question(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_guest6(b);
    nd_option_is_own(b, ND_OPT_SOURCE_LINKADDR);
    to_nd_rate(b);
}

static void allow_plain_answer(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_guest6(b);
    nd_target_is_own(b);
    nd_bytes_are(b, ND_PLAIN_BYTES);
    to_nd_rate(b);
}

static void allow_answer(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    is_guest6(b);
    nd_target_is_own(b);
    nd_option_is_own(b, ND_OPT_TARGET_LINKADDR);
    to_nd_rate(b);
}

static void drop_nd_sender(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_ND_SENDER);
}

static void accept_nd(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    accept_at_rate(b, "rate_nd");
}

static void drop_nd_rate(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_drop(b, NFT_DROP_ND_RATE);
}

static void count(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_meta(b, NFT_META_IIFNAME, REG_NAME);
    nft_expr_meta(b, NFT_META_MARK, REG_MAC);
    nft_expr_count_in(b, "drops");
}

/* A rule of its own: should the set be full, the packet is dropped all the same. */
static void drop(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_verdict(b, NF_DROP);
}

const struct nft_rule_row nft_bridge_rules[] = {
    {"prerouting", "no-tap-accept", accept_others, NULL},
    {"prerouting", "judged", mark_judged, NULL},
    {"prerouting", "closed", mark_closed, NULL},
    {"prerouting", "destination-mac-drop", drop_destination_mac, NULL},
    {"prerouting", "ipv4", to_ipv4, NULL},
    {"prerouting", "arp", to_arp, NULL},
    {"prerouting", "ipv6", to_ipv6, NULL},
    {"prerouting", "802.1q-drop", drop_8021q, NULL},
    {"prerouting", "802.1ad-drop", drop_8021ad, NULL},
    {"prerouting", "old-qinq-drop", drop_old_qinq, NULL},
    {"prerouting", "source-mac-drop", drop_source_mac, NULL},
    {"prerouting", "ether-type-drop", drop_ether_type, NULL},
    {"tap_ipv4", "dhcp-server-drop", drop_dhcp4, NULL},
    {"tap_ipv4", "ipv4-accept", accept_ipv4, NULL},
    {"tap_ipv4", "source-mac-drop", drop_source_mac, NULL},
    {"tap_ipv4", "source-address-drop", drop_source4, NULL},
    {"tap_ipv4", "options-drop", drop_ip_options, NULL},
    {"tap_ipv4", "malformed-drop", drop_malformed, NULL},
    {"tap_arp", "own-arp", allow_arp, NULL},
    {"tap_arp", "source-mac-drop", drop_source_mac, NULL},
    {"tap_arp", "sender-drop", drop_arp_sender, NULL},
    {"tap_arp", "malformed-drop", drop_malformed, NULL},
    {"arp_rate", "arp-accept", accept_arp, NULL},
    {"arp_rate", "arp-rate-drop", drop_arp_rate, NULL},
    {"tap_ipv6", "ipv6-drop", drop_ipv6, wants_no_ipv6},
    {"tap_ipv6", "icmp6", to_icmp6, wants_ipv6},
    {"tap_ipv6", "dhcp-server-drop", drop_dhcp6, wants_ipv6},
    {"tap_ipv6", "ipv6-accept", accept_ipv6, wants_ipv6},
    {"tap_ipv6", "source-mac-drop", drop_source_mac, wants_ipv6},
    {"tap_ipv6", "source-address-drop", drop_source6, wants_ipv6},
    {"tap_ipv6", "malformed-drop", drop_malformed, wants_ipv6},
    {"tap_icmp6", "fragment-drop", drop_icmp6_fragment, wants_ipv6},
    {"tap_icmp6", "router-drop", drop_router, wants_ipv6},
    {"tap_icmp6", "redirect-drop", drop_redirect, wants_ipv6},
    {"tap_icmp6", "solicitation", to_solicitation, wants_ipv6},
    {"tap_icmp6", "advertisement", to_advertisement, wants_ipv6},
    {"tap_icmp6", "icmp6-accept", accept_icmp6, wants_ipv6},
    {"tap_icmp6", "source-mac-drop", drop_source_mac, wants_ipv6},
    {"tap_icmp6", "source-address-drop", drop_source6, wants_ipv6},
    {"tap_icmp6", "malformed-drop", drop_malformed, wants_ipv6},
    {"tap_nd_ask", "duplicate-detection", allow_duplicate_detection, wants_ipv6},
    {"tap_nd_ask", "plain-question", allow_plain_question, wants_ipv6},
    {"tap_nd_ask", "question", allow_question, wants_ipv6},
    {"tap_nd_ask", "source-mac-drop", drop_source_mac, wants_ipv6},
    {"tap_nd_ask", "sender-drop", drop_nd_sender, wants_ipv6},
    {"tap_nd_tell", "plain-answer", allow_plain_answer, wants_ipv6},
    {"tap_nd_tell", "answer", allow_answer, wants_ipv6},
    {"tap_nd_tell", "source-mac-drop", drop_source_mac, wants_ipv6},
    {"tap_nd_tell", "sender-drop", drop_nd_sender, wants_ipv6},
    {"nd_rate", "nd-accept", accept_nd, wants_ipv6},
    {"nd_rate", "nd-rate-drop", drop_nd_rate, wants_ipv6},
    {"dropped", "count", count, NULL},
    {"dropped", "drop", drop, NULL},
    {NULL, NULL, NULL, NULL},
};
