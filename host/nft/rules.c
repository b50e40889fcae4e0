#include "host/nft/rules.h"

#include "core/limits.h"

#include <stdio.h>
#include <string.h>
#include <netinet/in.h> /* before the kernel's headers, which then leave out what it defines */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv4.h>

/* To be raised with every change of a rule's meaning: then what an older version made is made new. */
enum { RULES_VERSION = 14 };

const struct nft_family_row nft_families[NFT_FAMILY_COUNT] = {
    {NFPROTO_INET, "inet", nft_inet_rules},
    {NFPROTO_BRIDGE, "bridge", nft_bridge_rules},
};

enum { TAPS_MAX = LIMIT_VMS * LIMIT_INTERFACES, INET_REASONS = NFT_DROP_COUNT_ - NFT_DROP_NO_UPLINK };

const struct nft_set_row nft_sets[NFT_SET_COUNT] = {
    [NFT_SET_UPLINK] = {NFPROTO_INET, "uplink", NFT_TYPE_IFNAME, NFT_IFNAME_BYTES, 0, 0, 0, 0},
    [NFT_SET_ENTRIES] = {NFPROTO_INET, "entries", NFT_TYPE_IFNAME, NFT_IFNAME_BYTES, 0, 0, 0, 0},
    [NFT_SET_ENTRIES6] = {NFPROTO_INET, "entries6", NFT_TYPE_IFNAME, NFT_IFNAME_BYTES, 0, 0, 0, 0},
    [NFT_SET_CLOSED4] = {NFPROTO_INET, "closed4", NFT_TYPE_IPV4, 4, NFT_SET_INTERVAL, 0, 0, 0},
    [NFT_SET_CLOSED6] = {NFPROTO_INET, "closed6", NFT_TYPE_IPV6, 16, NFT_SET_INTERVAL, 0, 0, 0},
    [NFT_SET_OPEN_PORTS] = {NFPROTO_INET, "open_ports", NFT_TYPE_OPEN_PORT, NFT_PORT_KEY_BYTES, 0, 0, 0, 0},
    [NFT_SET_SHARE1] = {NFPROTO_INET, "share1", NFT_TYPE_ETHER, 6, 0, 0, 0, 0},
    [NFT_SET_SHARE2] = {NFPROTO_INET, "share2", NFT_TYPE_ETHER, 6, 0, 0, 0, 0},
    [NFT_SET_SHARE4] = {NFPROTO_INET, "share4", NFT_TYPE_ETHER, 6, 0, 0, 0, 0},
    [NFT_SET_SHARE8] = {NFPROTO_INET, "share8", NFT_TYPE_ETHER, 6, 0, 0, 0, 0},
    [NFT_SET_FLOWS] = {NFPROTO_INET, "flows", NFT_TYPE_ETHER, 6, NFT_SET_EVAL, TAPS_MAX, 0, 0},
    [NFT_SET_FLOW_RATE] = {NFPROTO_INET, "flow_rate", NFT_TYPE_ETHER, 6, NFT_SET_EVAL, TAPS_MAX, 0, 0},
    [NFT_SET_DROPS4] = {NFPROTO_INET, "drops4", NFT_TYPE_DROP4, NFT_DROP4_KEY_BYTES, NFT_SET_EVAL, TAPS_MAX *INET_REASONS, 0, 0},
    [NFT_SET_DROPS6] = {NFPROTO_INET, "drops6", NFT_TYPE_DROP6, NFT_DROP6_KEY_BYTES, NFT_SET_EVAL, 2 * TAPS_MAX *INET_REASONS, 0, 0},
    [NFT_SET_EGRESS4] = {NFPROTO_INET, "egress4", NFT_TYPE_IPV4, 4, NFT_SET_MAP, 0, 0, 0},
    [NFT_SET_EGRESS6] = {NFPROTO_INET, "egress6", NFT_TYPE_IPV6, 16, NFT_SET_MAP, 0, 0, 0},
    [NFT_SET_INGRESS4] = {NFPROTO_INET, "ingress4", NFT_TYPE_IPV4, 4, NFT_SET_MAP, 0, 0, 0},
    [NFT_SET_INGRESS6] = {NFPROTO_INET, "ingress6", NFT_TYPE_IPV6, 16, NFT_SET_MAP, 0, 0, 0},
    [NFT_SET_PORTS_TCP] = {NFPROTO_INET, "ports_tcp", NFT_TYPE_PORT, 2, NFT_SET_MAP, 0, NFT_TYPE_TARGET, NFT_PORT_DATA_BYTES},
    [NFT_SET_PORTS_UDP] = {NFPROTO_INET, "ports_udp", NFT_TYPE_PORT, 2, NFT_SET_MAP, 0, NFT_TYPE_TARGET, NFT_PORT_DATA_BYTES},
    [NFT_SET_PORTS_AT4] = {NFPROTO_INET, "ports_at4", NFT_TYPE_PORT_AT4, NFT_PORT_AT4_KEY_BYTES, NFT_SET_MAP, 0, NFT_TYPE_TARGET, NFT_PORT_DATA_BYTES},
    [NFT_SET_PORTS6] = {NFPROTO_INET, "ports6", NFT_TYPE_OPEN_PORT, NFT_PORT_KEY_BYTES, NFT_SET_MAP, 0, NFT_TYPE_TARGET6, NFT_PORT6_DATA_BYTES},
    [NFT_SET_PORTS_AT6] = {NFPROTO_INET, "ports_at6", NFT_TYPE_PORT_AT6, NFT_PORT_AT6_KEY_BYTES, NFT_SET_MAP, 0, NFT_TYPE_TARGET6, NFT_PORT6_DATA_BYTES},
    [NFT_SET_GUEST4] = {NFPROTO_BRIDGE, "guest4", NFT_TYPE_GUEST, NFT_GUEST_KEY_BYTES, 0, 0, 0, 0},
    [NFT_SET_GUEST6] = {NFPROTO_BRIDGE, "guest6", NFT_TYPE_GUEST6, NFT_GUEST6_KEY_BYTES, 0, 0, 0, 0},
    [NFT_SET_GUEST_MAC] = {NFPROTO_BRIDGE, "guest_mac", NFT_TYPE_GUEST_MAC, NFT_GUEST_MAC_KEY_BYTES, 0, 0, 0, 0},
    [NFT_SET_DROPS] = {NFPROTO_BRIDGE, "drops", NFT_TYPE_DROP, NFT_DROP_KEY_BYTES, NFT_SET_EVAL, TAPS_MAX *NFT_DROP_TAP_COUNT_, 0, 0},
    [NFT_SET_RATE_ARP] = {NFPROTO_BRIDGE, "rate_arp", NFT_TYPE_IFNAME, NFT_IFNAME_BYTES, NFT_SET_EVAL, TAPS_MAX, 0, 0},
    [NFT_SET_RATE_ND] = {NFPROTO_BRIDGE, "rate_nd", NFT_TYPE_IFNAME, NFT_IFNAME_BYTES, NFT_SET_EVAL, TAPS_MAX, 0, 0},
};

const struct nft_chain_row nft_chains[NFT_CHAIN_COUNT] = {
    {NFPROTO_INET, "prerouting", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_LAST - 1}, /* as near to the routing as can be */
    {NFPROTO_INET, "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER},
    {NFPROTO_INET, "input", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER},
    {NFPROTO_INET, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC},
    {NFPROTO_INET, "output", "filter", NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER},
    {NFPROTO_INET, "prerouting_nat", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST},
    {NFPROTO_INET, "output_nat", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST},
    {NFPROTO_INET, "from_guest", NULL, 0, 0},
    {NFPROTO_INET, "no_uplink", NULL, 0, 0},
    {NFPROTO_INET, "to_guest", NULL, 0, 0},
    {NFPROTO_INET, "guest_input", NULL, 0, 0},
    {NFPROTO_INET, "errors", NULL, 0, 0},
    {NFPROTO_INET, "admitted", NULL, 0, 0},
    {NFPROTO_INET, "closed", NULL, 0, 0},
    {NFPROTO_INET, "ingress", NULL, 0, 0},
    {NFPROTO_INET, "unpublished", NULL, 0, 0},
    {NFPROTO_INET, "host_egress", NULL, 0, 0}, /* its rules, and those of the next one, are the host-wide policy */
    {NFPROTO_INET, "host_ingress", NULL, 0, 0},
    {NFPROTO_INET, "dropped", NULL, 0, 0},
    {NFPROTO_BRIDGE, "prerouting", "filter", NF_BR_PRE_ROUTING, NF_BR_PRI_NAT_DST_BRIDGED},
    {NFPROTO_BRIDGE, "tap_ipv4", NULL, 0, 0},
    {NFPROTO_BRIDGE, "tap_arp", NULL, 0, 0},
    {NFPROTO_BRIDGE, "arp_rate", NULL, 0, 0},
    {NFPROTO_BRIDGE, "tap_ipv6", NULL, 0, 0},
    {NFPROTO_BRIDGE, "tap_icmp6", NULL, 0, 0},
    {NFPROTO_BRIDGE, "tap_nd_ask", NULL, 0, 0},
    {NFPROTO_BRIDGE, "tap_nd_tell", NULL, 0, 0},
    {NFPROTO_BRIDGE, "nd_rate", NULL, 0, 0},
    {NFPROTO_BRIDGE, "dropped", NULL, 0, 0},
};

/* FNV-1a; it tells configurations apart and guards nothing. */
static void digest_add(uint64_t *digest, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        *digest = (*digest ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
    }
}

/* Of what the rules are made from; what are elements is compared by itself. */
static uint64_t digest_of(const struct nft_base *base)
{
    uint64_t digest = 0xcbf29ce484222325;
    char text[128];
    (void)snprintf(text, sizeof text, "%s %s %08x/%u %08x %d %d %u/%u", base->bridge, base->tap_prefix, base->subnet.address, base->subnet.prefix,
                   base->gateway, (int)base->masquerade, (int)base->ipv6, base->max_flows, base->flow_rate);
    digest_add(&digest, text, strlen(text));
    digest_add(&digest, base->bridge_mac.bytes, sizeof base->bridge_mac.bytes);
    (void)snprintf(text, sizeof text, "%s %d %u", base->tunnel != NULL ? base->tunnel : "", (int)base->tunnel_only, base->tunnel_mtu);
    digest_add(&digest, text, strlen(text));
    if (base->ipv6) {
        digest_add(&digest, base->subnet6.address.bytes, sizeof base->subnet6.address.bytes);
        digest_add(&digest, &base->subnet6.prefix, sizeof base->subnet6.prefix);
        digest_add(&digest, base->gateway6.bytes, sizeof base->gateway6.bytes);
        digest_add(&digest, &base->masquerade6, sizeof base->masquerade6);
    }
    return digest;
}

void nft_rule_comment(const struct nft_rule_row *row, const struct nft_base *base, char ret[NFT_COMMENT_MAX])
{
    (void)snprintf(ret, NFT_COMMENT_MAX, "%s v%d %016llx", row->name, (int)RULES_VERSION, (unsigned long long)digest_of(base));
}
