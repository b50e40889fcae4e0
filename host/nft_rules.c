#include "host/nft_rules.h"

#include <stdio.h> /* libnftnl's headers need it */
#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

/* To be raised with every change of a rule's meaning: then what an older version made is made new. */
enum { RULES_VERSION = 1 };

/* Where things stand in headers. */
enum {
    ETHER_SOURCE = 6,
    ETHER_TYPE = 12,
    IPV4_SOURCE = 12,
    IPV4_DESTINATION = 16,
    ARP_FORMAT = 0, /* hardware type, protocol type, lengths */
    ARP_SENDER_MAC = 8,
    ARP_SENDER_IP = 14,
};

/* The key of set guest4 fills registers without a gap: name in 1, MAC in 2, and the address in the third
 * 32-bit part of 2. */
enum { REG_NAME = NFT_REG_1, REG_MAC = NFT_REG_2, REG_ADDRESS = NFT_REG32_06 };

static struct nftnl_expr *add_expr(struct nft_rule_builder *b, const char *name)
{
    struct nftnl_expr *expr = b->failed ? NULL : nftnl_expr_alloc(name);
    if (expr == NULL) {
        b->failed = true;
        return NULL;
    }
    nftnl_rule_add_expr(b->rule, expr);
    return expr;
}

static void set_data(struct nft_rule_builder *b, struct nftnl_expr *expr, uint16_t attr, const void *data,
                     size_t len)
{
    if (nftnl_expr_set(expr, attr, data, (uint32_t)len) != 0) {
        b->failed = true;
    }
}

static void load_meta(struct nft_rule_builder *b, uint32_t key, uint32_t reg)
{
    struct nftnl_expr *e = add_expr(b, "meta");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg);
    }
}

static void load_payload(struct nft_rule_builder *b, uint32_t header, uint32_t offset, uint32_t len,
                         uint32_t reg)
{
    struct nftnl_expr *e = add_expr(b, "payload");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, header);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
    }
}

static void compare(struct nft_rule_builder *b, uint32_t op, const void *data, size_t len)
{
    struct nftnl_expr *e = add_expr(b, "cmp");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
        set_data(b, e, NFTNL_EXPR_CMP_DATA, data, len);
    }
}

static void mask(struct nft_rule_builder *b, uint32_t bits)
{
    const uint32_t none = 0;
    struct nftnl_expr *e = add_expr(b, "bitwise");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, sizeof bits);
        set_data(b, e, NFTNL_EXPR_BITWISE_MASK, &bits, sizeof bits);
        set_data(b, e, NFTNL_EXPR_BITWISE_XOR, &none, sizeof none);
    }
}

static void in_set(struct nft_rule_builder *b, const char *set)
{
    struct nftnl_expr *e = add_expr(b, "lookup");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
        if (nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set) != 0) {
            b->failed = true;
        }
    }
}

static void verdict(struct nft_rule_builder *b, uint32_t value)
{
    struct nftnl_expr *e = add_expr(b, "immediate");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, value);
    }
}

static void count_and_drop(struct nft_rule_builder *b)
{
    (void)add_expr(b, "counter");
    verdict(b, NF_DROP);
}

static void interface_is(struct nft_rule_builder *b, uint32_t key, const char *name)
{
    char padded[NFT_IFNAME_BYTES] = {0};
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    load_meta(b, key, NFT_REG_1);
    compare(b, NFT_CMP_EQ, padded, sizeof padded);
}

static void from_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    interface_is(b, NFT_META_IIFNAME, base->bridge);
}

static void to_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    interface_is(b, NFT_META_OIFNAME, base->bridge);
}

static void to_uplink(struct nft_rule_builder *b)
{
    load_meta(b, NFT_META_OIFNAME, NFT_REG_1);
    in_set(b, "uplink");
}

static void is_ipv4(struct nft_rule_builder *b)
{
    const uint8_t ipv4 = NFPROTO_IPV4;
    load_meta(b, NFT_META_NFPROTO, NFT_REG_1);
    compare(b, NFT_CMP_EQ, &ipv4, sizeof ipv4);
}

static void address_in(struct nft_rule_builder *b, uint32_t offset, struct ipv4_net net)
{
    const uint32_t address = htonl(net.address);
    is_ipv4(b);
    load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, sizeof address, NFT_REG_1);
    if (net.prefix < 32) {
        mask(b, htonl(ipv4_mask(net.prefix)));
    }
    compare(b, NFT_CMP_EQ, &address, sizeof address);
}

static void is_answer(struct nft_rule_builder *b)
{
    const uint32_t none = 0;
    struct nftnl_expr *e = add_expr(b, "ct");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_STATE);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    }
    mask(b, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
    compare(b, NFT_CMP_NEQ, &none, sizeof none);
}

static void from_tap(struct nft_rule_builder *b, const struct nft_base *base, uint32_t op)
{
    load_meta(b, NFT_META_IIFNAME, NFT_REG_1);
    compare(b, op, base->tap_prefix, strlen(base->tap_prefix));
}

static void drop_from_tap(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_tap(b, base, NFT_CMP_EQ);
    count_and_drop(b);
}

static void forward_back(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    to_bridge(b, base);
    count_and_drop(b);
}

static void forward_link_local(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    address_in(b, IPV4_DESTINATION, (struct ipv4_net){.address = 0xa9fe0000, .prefix = 16});
    count_and_drop(b);
}

static void forward_out(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    is_ipv4(b);
    to_uplink(b);
    verdict(b, NF_ACCEPT);
}

static void drop_from_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    count_and_drop(b);
}

static void forward_answers(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_bridge(b, base);
    is_answer(b);
    verdict(b, NF_ACCEPT);
}

static void drop_to_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_bridge(b, base);
    count_and_drop(b);
}

static void input_answers(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    is_answer(b);
    verdict(b, NF_ACCEPT);
}

static void input_ping(struct nft_rule_builder *b, const struct nft_base *base)
{
    const uint8_t icmp = IPPROTO_ICMP;
    const uint8_t echo = ICMP_ECHO;
    from_bridge(b, base);
    address_in(b, IPV4_DESTINATION, (struct ipv4_net){.address = base->gateway, .prefix = 32});
    load_meta(b, NFT_META_L4PROTO, NFT_REG_1);
    compare(b, NFT_CMP_EQ, &icmp, sizeof icmp);
    load_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof echo, NFT_REG_1);
    compare(b, NFT_CMP_EQ, &echo, sizeof echo);
    verdict(b, NF_ACCEPT);
}

static void masquerade(struct nft_rule_builder *b, const struct nft_base *base)
{
    address_in(b, IPV4_SOURCE, base->subnet);
    to_uplink(b);
    (void)add_expr(b, "masq");
}

static bool wants_masquerade(const struct nft_base *base)
{
    return base->masquerade;
}

static void accept_others(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_tap(b, base, NFT_CMP_NEQ);
    verdict(b, NF_ACCEPT);
}

static void ether_type_is(struct nft_rule_builder *b, uint16_t type)
{
    const uint16_t wanted = htons(type);
    /* A tagged frame shows its tag's type here, so VLANs of any depth match neither rule and are dropped. */
    load_payload(b, NFT_PAYLOAD_LL_HEADER, ETHER_TYPE, sizeof wanted, NFT_REG_1);
    compare(b, NFT_CMP_EQ, &wanted, sizeof wanted);
}

static void is_guest(struct nft_rule_builder *b, uint32_t mac_header, uint32_t mac_offset,
                     uint32_t address_offset)
{
    load_meta(b, NFT_META_IIFNAME, REG_NAME);
    load_payload(b, mac_header, mac_offset, ETH_ALEN, REG_MAC);
    load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, address_offset, 4, REG_ADDRESS);
    in_set(b, "guest4");
}

static void accept_ipv4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    ether_type_is(b, ETH_P_IP);
    is_guest(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, IPV4_SOURCE);
    verdict(b, NF_ACCEPT);
}

/* Both MACs have to go with this address on this TAP; as that is one MAC only, they are the same. */
static void accept_arp(struct nft_rule_builder *b, const struct nft_base *base)
{
    static const uint8_t format[] = {0, 1, 8, 0, ETH_ALEN, 4}; /* Ethernet, IPv4 */
    (void)base;
    ether_type_is(b, ETH_P_ARP);
    load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_FORMAT, sizeof format, NFT_REG_1);
    compare(b, NFT_CMP_EQ, format, sizeof format);
    is_guest(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, ARP_SENDER_IP);
    is_guest(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_MAC, ARP_SENDER_IP);
    verdict(b, NF_ACCEPT);
}

static void drop_rest(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    count_and_drop(b);
}

const uint16_t nft_families[2] = {NFPROTO_INET, NFPROTO_BRIDGE};

const struct nft_set_row nft_sets[NFT_SET_COUNT] = {
    [NFT_SET_UPLINK] = {NFPROTO_INET, "uplink", NFT_TYPE_IFNAME, NFT_IFNAME_BYTES},
    [NFT_SET_GUEST4] = {NFPROTO_BRIDGE, "guest4", NFT_TYPE_GUEST, NFT_GUEST_KEY_BYTES},
};

const struct nft_chain_row nft_chains[NFT_CHAIN_COUNT] = {
    {NFPROTO_INET, "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER},
    {NFPROTO_INET, "input", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER},
    {NFPROTO_INET, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC},
    {NFPROTO_BRIDGE, "prerouting", "filter", NF_BR_PRE_ROUTING, NF_BR_PRI_NAT_DST_BRIDGED},
};

const struct nft_rule_row nft_rules[NFT_RULE_COUNT] = {
    {NFPROTO_INET, "forward", "tap-drop", drop_from_tap, NULL},
    {NFPROTO_INET, "forward", "guest-to-guest-drop", forward_back, NULL},
    {NFPROTO_INET, "forward", "link-local-drop", forward_link_local, NULL},
    {NFPROTO_INET, "forward", "uplink-accept", forward_out, NULL},
    {NFPROTO_INET, "forward", "from-guest-drop", drop_from_bridge, NULL},
    {NFPROTO_INET, "forward", "answer-accept", forward_answers, NULL},
    {NFPROTO_INET, "forward", "to-guest-drop", drop_to_bridge, NULL},
    {NFPROTO_INET, "input", "tap-drop", drop_from_tap, NULL},
    {NFPROTO_INET, "input", "answer-accept", input_answers, NULL},
    {NFPROTO_INET, "input", "ping-accept", input_ping, NULL},
    {NFPROTO_INET, "input", "from-guest-drop", drop_from_bridge, NULL},
    {NFPROTO_INET, "postrouting", "masquerade", masquerade, wants_masquerade},
    {NFPROTO_BRIDGE, "prerouting", "no-tap-accept", accept_others, NULL},
    {NFPROTO_BRIDGE, "prerouting", "ipv4-accept", accept_ipv4, NULL},
    {NFPROTO_BRIDGE, "prerouting", "arp-accept", accept_arp, NULL},
    {NFPROTO_BRIDGE, "prerouting", "spoofed-drop", drop_rest, NULL},
};

/* FNV-1a; it tells configurations apart and guards nothing. */
static uint64_t digest_of(const struct nft_base *base)
{
    uint64_t digest = 0xcbf29ce484222325;
    char text[128];
    int len = snprintf(text, sizeof text, "%s %s %08x/%u %08x %d", base->bridge, base->tap_prefix,
                       base->subnet.address, base->subnet.prefix, base->gateway, (int)base->masquerade);
    for (int i = 0; i < len && (size_t)i < sizeof text; i++) {
        digest = (digest ^ (uint8_t)text[i]) * 0x100000001b3;
    }
    return digest;
}

void nft_rule_comment(const struct nft_rule_row *row, const struct nft_base *base, char ret[NFT_COMMENT_MAX])
{
    (void)snprintf(ret, NFT_COMMENT_MAX, "%s v%d %016llx", row->name, (int)RULES_VERSION,
                   (unsigned long long)digest_of(base));
}
