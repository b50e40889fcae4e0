/* What the static part of the firewall consists of, as tables that both making and checking walk. Private to
 * host/nft*.c. */
#ifndef SMARTVM_HOST_NFT_RULES_H
#define SMARTVM_HOST_NFT_RULES_H

#include "host/nft.h"

struct nft_rule_builder;

enum {
    NFT_COMMENT_MAX = 64,
    NFT_IFNAME_BYTES = INTERFACE_NAME_MAX,
    NFT_GUEST_KEY_BYTES = NFT_IFNAME_BYTES + 8 + 4, /* name, MAC padded to whole registers, address */
};

/* nft's own numbers of data types, by which `nft list` shows the elements. */
enum {
    NFT_TYPE_BITS = 6,
    NFT_TYPE_IPV4 = 7,
    NFT_TYPE_ETHER = 9,
    NFT_TYPE_IFNAME = 41,
    NFT_TYPE_GUEST = (NFT_TYPE_IFNAME << NFT_TYPE_BITS | NFT_TYPE_ETHER) << NFT_TYPE_BITS | NFT_TYPE_IPV4,
};

struct nft_set_row {
    uint16_t family; /* NFPROTO_… */
    const char *name;
    uint32_t key_type; /* for nft alone; the kernel only keeps it */
    uint32_t key_bytes;
};

struct nft_chain_row {
    uint16_t family;
    const char *name;
    const char *type; /* NULL: a chain without a hook, for rules to jump to */
    uint32_t hook;
    int32_t priority;
};

struct nft_rule_row {
    const char *chain;
    const char *name; /* unique in the chain; begins the comment */
    void (*build)(struct nft_rule_builder *b, const struct nft_base *base);
    bool (*wanted)(const struct nft_base *base); /* NULL: always */
};

enum { NFT_SET_UPLINK, NFT_SET_GUEST4, NFT_SET_COUNT };
enum { NFT_CHAIN_COUNT = 4, NFT_FAMILY_COUNT = 2 };
extern const struct nft_set_row nft_sets[NFT_SET_COUNT];
extern const struct nft_chain_row nft_chains[NFT_CHAIN_COUNT];

/* One of the two tables. */
struct nft_family_row {
    uint16_t family;
    const char *word;
    const struct nft_rule_row *rules; /* in the order of their chains; ends with a row without a chain */
};
extern const struct nft_family_row nft_families[NFT_FAMILY_COUNT];
extern const struct nft_rule_row nft_inet_rules[];   /* host/nft_rules_inet.c */
extern const struct nft_rule_row nft_bridge_rules[]; /* host/nft_rules_bridge.c */

static inline bool nft_rule_wanted(const struct nft_rule_row *row, const struct nft_base *base)
{
    return row->wanted == NULL || row->wanted(base);
}

/* "<name> <version> <digest of base>" */
void nft_rule_comment(const struct nft_rule_row *row, const struct nft_base *base, char ret[NFT_COMMENT_MAX]);

#endif
