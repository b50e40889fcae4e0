/* The rules of table `bridge <mark>`: what a guest may put on its TAP. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft_expr.h"
#include "host/nft_rules.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

/* Where things stand in headers. */
enum {
    ETHER_SOURCE = 6,
    ETHER_TYPE = 12,
    ARP_FORMAT = 0, /* hardware type, protocol type, lengths */
    ARP_SENDER_MAC = 8,
    ARP_SENDER_IP = 14,
};

/* The key of set guest4 fills registers without a gap: name in 1, MAC in 2, and the address in the third
 * 32-bit part of 2. */
enum { REG_NAME = NFT_REG_1, REG_MAC = NFT_REG_2, REG_ADDRESS = NFT_REG32_06 };

static void accept_others(struct nft_rule_builder *b, const struct nft_base *base)
{
    nft_expr_from_tap(b, base, NFT_CMP_NEQ);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void ether_type_is(struct nft_rule_builder *b, uint16_t type)
{
    const uint16_t wanted = htons(type);
    /* A tagged frame shows its tag's type here, so VLANs of any depth match neither rule and are dropped. */
    nft_expr_payload(b, NFT_PAYLOAD_LL_HEADER, ETHER_TYPE, sizeof wanted, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &wanted, sizeof wanted);
}

static void is_guest(struct nft_rule_builder *b, uint32_t mac_header, uint32_t mac_offset,
                     uint32_t address_offset)
{
    nft_expr_meta(b, NFT_META_IIFNAME, REG_NAME);
    nft_expr_payload(b, mac_header, mac_offset, ETH_ALEN, REG_MAC);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, address_offset, 4, REG_ADDRESS);
    nft_expr_in_set(b, "guest4");
}

static void accept_ipv4(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    ether_type_is(b, ETH_P_IP);
    is_guest(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, IPV4_SOURCE);
    nft_expr_verdict(b, NF_ACCEPT);
}

/* Both MACs have to go with this address on this TAP; as that is one MAC only, they are the same. */
static void accept_arp(struct nft_rule_builder *b, const struct nft_base *base)
{
    static const uint8_t format[] = {0, 1, 8, 0, ETH_ALEN, 4}; /* Ethernet, IPv4 */
    (void)base;
    ether_type_is(b, ETH_P_ARP);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_FORMAT, sizeof format, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, format, sizeof format);
    is_guest(b, NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, ARP_SENDER_IP);
    is_guest(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_MAC, ARP_SENDER_IP);
    nft_expr_verdict(b, NF_ACCEPT);
}

static void drop_rest(struct nft_rule_builder *b, const struct nft_base *base)
{
    (void)base;
    nft_expr_count_and_drop(b);
}

const struct nft_rule_row nft_bridge_rules[] = {
    {"prerouting", "no-tap-accept", accept_others, NULL},
    {"prerouting", "ipv4-accept", accept_ipv4, NULL},
    {"prerouting", "arp-accept", accept_arp, NULL},
    {"prerouting", "spoofed-drop", drop_rest, NULL},
    {NULL, NULL, NULL, NULL},
};
