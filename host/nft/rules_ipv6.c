/* Rules of table `inet <mark>` that are there only where IPv6 is chosen. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft/expr.h"
#include "host/nft/rules.h"

#include <netinet/icmp6.h> /* before the kernel's headers, which then leave out what it defines */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

static void icmp6_type_is(struct nft_rule_builder *b, uint8_t type)
{
    nft_expr_l4proto_is(b, IPPROTO_ICMPV6);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof type, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &type, sizeof type);
}

void nft_rule6_ping(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_is_ipv6(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_DESTINATION, 16, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, base->gateway6.bytes, sizeof base->gateway6.bytes);
    icmp6_type_is(b, ICMP6_ECHO_REQUEST);
    nft_expr_branch(b, NFT_GOTO, "admitted");
}

/* The prefix is one of whole bytes, or the last of them is compared under a mask of its own: two comparisons at most. */
static void source_in(struct nft_rule_builder *b, const struct ip_net *net)
{
    const uint32_t whole = net->prefix / 8;
    const unsigned rest = net->prefix % 8;
    nft_expr_is_ipv6(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE, whole, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, net->address.bytes, whole);
    if (rest > 0) {
        const uint8_t first = net->address.bytes[whole];
        const uint8_t last = (uint8_t)(first | 0xff >> rest);
        nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE + whole, 1, NFT_REG_1);
        nft_expr_cmp(b, NFT_CMP_GTE, &first, sizeof first);
        nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_SOURCE + whole, 1, NFT_REG_1);
        nft_expr_cmp(b, NFT_CMP_LTE, &last, sizeof last);
    }
}

void nft_rule6_masquerade(struct nft_rule_builder *b, const struct nft_base *base)
{
    source_in(b, &base->subnet6);
    nft_expr_meta(b, NFT_META_OIFNAME, NFT_REG_1);
    nft_expr_in_set(b, "uplink");
    (void)nft_expr_add(b, "masq");
}

/* One guest's packets to another go by the host, where their policies decide: it must not be told of a shorter way. Linux has no switch for that. */
void nft_rule6_no_redirect(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is(b, NFT_META_OIFNAME, base->bridge);
    icmp6_type_is(b, ND_REDIRECT);
    nft_expr_verdict(b, NF_DROP);
}
