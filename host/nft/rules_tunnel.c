/*
 * TCP between guests and a tunnel: the maximum segment size that either side tells the other (RFC 9293, 3.7.1) is lowered to what fits into the
 * tunnel, as both believe in links of 1500 bytes, and not every network lets through the ICMP that would tell them (RFC 2923). The kernel never
 * raises it.
 */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft/expr.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/tcp.h>

enum {
    TCP_FLAGS = 13,          /* where they stand in its header */
    SEGMENT_SIZE_OFFSET = 2, /* in its option */
    HEADERS4 = 20 + 20,      /* of IPv4 and TCP, without options */
    HEADERS6 = 40 + 20,
};

static void opens_connection(struct nft_rule_builder *b)
{
    nft_expr_l4proto_is(b, IPPROTO_TCP);
    nft_expr_byte_bits(b, NFT_CMP_NEQ, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, TH_SYN);
}

static void lower_to(struct nft_rule_builder *b, unsigned bytes)
{
    const uint16_t size = htons((uint16_t)bytes);
    struct nftnl_expr *value = nft_expr_add(b, "immediate");
    struct nftnl_expr *option = nft_expr_add(b, "exthdr");
    if (value == NULL || option == NULL) {
        return;
    }
    nftnl_expr_set_u32(value, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
    b->failed = b->failed || nftnl_expr_set(value, NFTNL_EXPR_IMM_DATA, &size, sizeof size) != 0;
    nftnl_expr_set_u32(option, NFTNL_EXPR_EXTHDR_SREG, NFT_REG_1);
    nftnl_expr_set_u8(option, NFTNL_EXPR_EXTHDR_TYPE, TCPOPT_MAXSEG);
    nftnl_expr_set_u32(option, NFTNL_EXPR_EXTHDR_OFFSET, SEGMENT_SIZE_OFFSET);
    nftnl_expr_set_u32(option, NFTNL_EXPR_EXTHDR_LEN, sizeof size);
    nftnl_expr_set_u32(option, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
}

static void between(struct nft_rule_builder *b, const char *from, const char *to)
{
    nft_expr_interface_is(b, NFT_META_IIFNAME, from);
    nft_expr_interface_is(b, NFT_META_OIFNAME, to);
}

void nft_rule_segment4_out(struct nft_rule_builder *b, const struct nft_base *base)
{
    between(b, base->bridge, base->tunnel);
    nft_expr_is_ipv4(b);
    opens_connection(b);
    lower_to(b, base->tunnel_mtu - HEADERS4);
}

void nft_rule_segment4_in(struct nft_rule_builder *b, const struct nft_base *base)
{
    between(b, base->tunnel, base->bridge);
    nft_expr_is_ipv4(b);
    opens_connection(b);
    lower_to(b, base->tunnel_mtu - HEADERS4);
}

void nft_rule_segment6_out(struct nft_rule_builder *b, const struct nft_base *base)
{
    between(b, base->bridge, base->tunnel);
    nft_expr_is_ipv6(b);
    opens_connection(b);
    lower_to(b, base->tunnel_mtu - HEADERS6);
}

void nft_rule_segment6_in(struct nft_rule_builder *b, const struct nft_base *base)
{
    between(b, base->tunnel, base->bridge);
    nft_expr_is_ipv6(b);
    opens_connection(b);
    lower_to(b, base->tunnel_mtu - HEADERS6);
}

bool nft_rule_wants_segment4(const struct nft_base *base)
{
    return base->tunnel != NULL && base->tunnel_mtu > HEADERS4;
}

bool nft_rule_wants_segment6(const struct nft_base *base)
{
    return base->ipv6 && base->tunnel != NULL && base->tunnel_mtu > HEADERS6;
}
