/* The rules of table `inet <mark>`: what guests may send past the bridge, and what may reach them. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft_expr.h"
#include "host/nft_rules.h"

#include <netinet/ip_icmp.h> /* before the kernel's headers, which then leave out what it defines */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

static void from_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is(b, NFT_META_IIFNAME, base->bridge);
}

static void to_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is(b, NFT_META_OIFNAME, base->bridge);
}

static void to_uplink(struct nft_rule_builder *b)
{
    nft_expr_meta(b, NFT_META_OIFNAME, NFT_REG_1);
    nft_expr_in_set(b, "uplink");
}

static void drop_from_tap(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_from_tap(b, base, NFT_CMP_EQ);
    nft_expr_count_and_drop(b);
}

static void forward_back(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    to_bridge(b, base);
    nft_expr_count_and_drop(b);
}

static void forward_link_local(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    nft_expr_ipv4_in(b, IPV4_DESTINATION, (struct ipv4_net){.address = 0xa9fe0000, .prefix = 16});
    nft_expr_count_and_drop(b);
}

static void forward_out(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    nft_expr_is_ipv4(b);
    to_uplink(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void drop_from_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    nft_expr_count_and_drop(b);
}

static void forward_answers(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_bridge(b, base);
    nft_expr_is_answer(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void drop_to_bridge(struct nft_rule_builder *b, const struct nft_base *base)
{
    to_bridge(b, base);
    nft_expr_count_and_drop(b);
}

static void input_answers(struct nft_rule_builder *b, const struct nft_base *base)
{
    from_bridge(b, base);
    nft_expr_is_answer(b);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void input_ping(struct nft_rule_builder *b, const struct nft_base *base)
{
    const uint8_t icmp = IPPROTO_ICMP;
    const uint8_t echo = ICMP_ECHO;
    from_bridge(b, base);
    nft_expr_ipv4_in(b, IPV4_DESTINATION, (struct ipv4_net){.address = base->gateway, .prefix = 32});
    nft_expr_meta(b, NFT_META_L4PROTO, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &icmp, sizeof icmp);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof echo, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &echo, sizeof echo);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void masquerade(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_ipv4_in(b, IPV4_SOURCE, base->subnet);
    to_uplink(b);
    (void)nft_expr_add(b, "masq");
}

static bool wants_masquerade(const struct nft_base *base)
{
    return base->masquerade;
}

const struct nft_rule_row nft_inet_rules[] = {
    {"forward", "tap-drop", drop_from_tap, NULL},
    {"forward", "guest-to-guest-drop", forward_back, NULL},
    {"forward", "link-local-drop", forward_link_local, NULL},
    {"forward", "uplink-accept", forward_out, NULL},
    {"forward", "from-guest-drop", drop_from_bridge, NULL},
    {"forward", "answer-accept", forward_answers, NULL},
    {"forward", "to-guest-drop", drop_to_bridge, NULL},
    {"input", "tap-drop", drop_from_tap, NULL},
    {"input", "answer-accept", input_answers, NULL},
    {"input", "ping-accept", input_ping, NULL},
    {"input", "from-guest-drop", drop_from_bridge, NULL},
    {"postrouting", "masquerade", masquerade, wants_masquerade},
    {NULL, NULL, NULL, NULL},
};
