/* Rules of published ports: see host/nft/ports.h. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft/expr.h"
#include "host/nft/rules.h"

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <netinet/in.h> /* before the kernel's headers, which then leave out what it defines */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>

enum { PORT_DESTINATION = 2 /* in the headers of TCP and UDP */ };

/* To an address of this host. */
static void to_host(struct nft_rule_builder *b, uint8_t version)
{
    const uint32_t local = RTN_LOCAL;
    if (version == IP_V4) {
        nft_expr_is_ipv4(b);
    } else {
        nft_expr_is_ipv6(b);
    }
    struct nftnl_expr *e = nft_expr_add(b, "fib");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
    }
    nft_expr_cmp(b, NFT_CMP_EQ, &local, sizeof local);
}

/*
 * Of what comes in. Not to 127.0.0.0/8: the kernel drops that, unless somebody has turned route_localnet on there; who publishes a port there means
 * the host alone. (IPv6 has no such switch.)
 */
static void comes_in(struct nft_rule_builder *b, const struct nft_base *base, uint8_t version)
{
    const uint8_t loopback = 127;
    nft_expr_interface_is_not(b, NFT_META_IIFNAME, base->bridge);
    to_host(b, version);
    if (version == IP_V4) {
        nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_DESTINATION, sizeof loopback, NFT_REG_1);
        nft_expr_cmp(b, NFT_CMP_NEQ, &loopback, sizeof loopback);
    }
}

/* By the key in register 1. The map's value fills it and what follows: the address, and the port behind it. */
static void translate(struct nft_rule_builder *b, uint8_t version, const char *map)
{
    nft_expr_in_set(b, map);
    if (!b->failed) {
        nftnl_expr_set_u32(b->last, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_1);
    }
    struct nftnl_expr *e = nft_expr_add(b, "nat");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, version == IP_V4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, version == IP_V4 ? NFT_REG32_01 : NFT_REG32_04);
    }
}

static void translate_protocol(struct nft_rule_builder *b, uint8_t protocol, const char *map)
{
    nft_expr_l4proto_is(b, protocol);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, 2, NFT_REG_1);
    translate(b, IP_V4, map);
}

/* Protocol, address and port: what else than TCP and UDP has at the port's place is in no map. */
static void translate_at4(struct nft_rule_builder *b)
{
    nft_expr_meta(b, NFT_META_L4PROTO, NFT_REG32_00);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV4_DESTINATION, 4, NFT_REG32_01);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, 2, NFT_REG32_02);
    translate(b, IP_V4, "ports_at4");
}

static void translate_at6(struct nft_rule_builder *b)
{
    nft_expr_meta(b, NFT_META_L4PROTO, NFT_REG32_00);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_DESTINATION, 16, NFT_REG32_01);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, 2, NFT_REG32_05);
    translate(b, IP_V6, "ports_at6");
}

static void translate6(struct nft_rule_builder *b)
{
    nft_expr_meta(b, NFT_META_L4PROTO, NFT_REG32_00);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, 2, NFT_REG32_01);
    translate(b, IP_V6, "ports6");
}

void nft_rule_port_tcp(struct nft_rule_builder *b, const struct nft_base *base)
{
    comes_in(b, base, IP_V4);
    translate_protocol(b, IPPROTO_TCP, "ports_tcp");
}

void nft_rule_port_udp(struct nft_rule_builder *b, const struct nft_base *base)
{
    comes_in(b, base, IP_V4);
    translate_protocol(b, IPPROTO_UDP, "ports_udp");
}

void nft_rule_port_at4(struct nft_rule_builder *b, const struct nft_base *base)
{
    comes_in(b, base, IP_V4);
    translate_at4(b);
}

void nft_rule_port_at6(struct nft_rule_builder *b, const struct nft_base *base)
{
    comes_in(b, base, IP_V6);
    translate_at6(b);
}

void nft_rule_port6(struct nft_rule_builder *b, const struct nft_base *base)
{
    comes_in(b, base, IP_V6);
    translate6(b);
}

void nft_rule_port_of_host_tcp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    to_host(b, IP_V4);
    translate_protocol(b, IPPROTO_TCP, "ports_tcp");
}

void nft_rule_port_of_host_udp(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    to_host(b, IP_V4);
    translate_protocol(b, IPPROTO_UDP, "ports_udp");
}

void nft_rule_port_of_host_at4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    to_host(b, IP_V4);
    translate_at4(b);
}

/* Not to ::1: its answers would be dropped, as the kernel takes them for forged. */
static void goes_to_host6(struct nft_rule_builder *b)
{
    const uint8_t loopback[16] = {[15] = 1};
    to_host(b, IP_V6);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IPV6_DESTINATION, sizeof loopback, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_NEQ, loopback, sizeof loopback);
}

void nft_rule_port_of_host_at6(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    goes_to_host6(b);
    translate_at6(b);
}

void nft_rule_port6_of_host(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    goes_to_host6(b);
    translate6(b);
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
    nft_expr_ct_state(b, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED)); /* of the latter, errors alone go this way */
    nft_expr_ct_translated(b);
    struct nftnl_expr *e = nft_expr_add(b, "ct");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_DIRECTION);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    }
    nft_expr_cmp(b, NFT_CMP_EQ, &reply, sizeof reply);
    nft_expr_verdict(b, NF_ACCEPT);
}
