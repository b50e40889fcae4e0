#include "host/nft_rules.h"

#include <stdio.h>
#include <netinet/in.h> /* before the kernel's headers, which then leave out what it defines */
#include <linux/netfilter.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv4.h>

/* To be raised with every change of a rule's meaning: then what an older version made is made new. */
enum { RULES_VERSION = 1 };

const struct nft_family_row nft_families[NFT_FAMILY_COUNT] = {
    {NFPROTO_INET, "inet", nft_inet_rules},
    {NFPROTO_BRIDGE, "bridge", nft_bridge_rules},
};

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
