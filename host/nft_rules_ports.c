/* Rules of published ports: see host/nft_ports.h. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft_expr.h"
#include "host/nft_rules.h"

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <netinet/in.h> /* before the kernel's headers, which then leave out what it defines */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>

enum { PORT_DESTINATION = 2 /* in the headers of TCP and UDP */ };

static void to_host(struct nft_rule_builder *b)
{
    const uint32_t local = RTN_LOCAL;
    nft_expr_is_ipv4(b);
    struct nftnl_expr *e = nft_expr_add(b, "fib");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
    }
    nft_expr_cmp(b, NFT_CMP_EQ, &local, sizeof local);
}

/* The map's value fills the register: the address, and the port in its second 32-bit part. */
static void translate(struct nft_rule_builder *b, uint8_t protocol, const char *map)
{
    nft_expr_l4proto_is(b, protocol);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, 2, NFT_REG_1);
    nft_expr_in_set(b, map);
    if (!b->failed) {
        nftnl_expr_set_u32(b->last, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_1);
    }
    struct nftnl_expr *e = nft_expr_add(b, "nat");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, NFPROTO_IPV4);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFT_REG32_01);
    }
}

void nft_rule_port_tcp(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is_not(b, NFT_META_IIFNAME, base->bridge);
    to_host(b);
    translate(b, IPPROTO_TCP, "ports_tcp");
}

void nft_rule_port_udp(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is_not(b, NFT_META_IIFNAME, base->bridge);
    to_host(b);
    translate(b, IPPROTO_UDP, "ports_udp");
}

void nft_rule_port_of_host_tcp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    to_host(b);
    translate(b, IPPROTO_TCP, "ports_tcp");
}

void nft_rule_port_of_host_udp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    to_host(b);
    translate(b, IPPROTO_UDP, "ports_udp");
}

void nft_rule_port_from_loopback(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_interface_is(b, NFT_META_OIFNAME, base->bridge);
    nft_expr_ipv4_in(b, IPV4_SOURCE, (struct ipv4_net){.address = INADDR_LOOPBACK & 0xff000000, .prefix = 8});
    (void)nft_expr_add(b, "masq");
}

/* A flow that came in by another interface than the uplink, which only the host's own administrator can have let in: its answers go back there. */
void nft_rule_port_answer(struct nft_rule_builder *b, const struct nft_base *base)
{
    const uint8_t reply = IP_CT_DIR_REPLY;
    (void)base;
    nft_expr_is_answer(b);
    nft_expr_ct_status(b, IPS_DST_NAT);
    struct nftnl_expr *e = nft_expr_add(b, "ct");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_DIRECTION);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    }
    nft_expr_cmp(b, NFT_CMP_EQ, &reply, sizeof reply);
    nft_expr_verdict(b, NF_ACCEPT);
}
