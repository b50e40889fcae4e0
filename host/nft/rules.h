/* What the static part of the firewall consists of, as tables that both making and checking walk. Private to
 * host/nft*.c. */
#ifndef SMARTVM_HOST_NFT_RULES_H
#define SMARTVM_HOST_NFT_RULES_H

#include "host/nft/drops.h"
#include "host/nft/nft.h"

struct nft_rule_builder;

enum {
    NFT_COMMENT_MAX = 64,
    NFT_IFNAME_BYTES = INTERFACE_NAME_MAX,
    NFT_GUEST_KEY_BYTES = NFT_IFNAME_BYTES + 8 + 4, /* name, MAC padded to whole registers, address */
    NFT_GUEST6_KEY_BYTES = NFT_IFNAME_BYTES + 8 + 16,
    NFT_GUEST_MAC_KEY_BYTES = NFT_IFNAME_BYTES + 8,
    NFT_DROP4_KEY_BYTES = 4 + 4, /* address, reason */
    NFT_DROP6_KEY_BYTES = 16 + 4,
    NFT_PORT_KEY_BYTES = 4 + 4,                /* protocol and port, each padded to a register */
    NFT_DROP_KEY_BYTES = NFT_IFNAME_BYTES + 4, /* name, reason */
    NFT_PORT_DATA_BYTES = 4 + 4,               /* of a published port: address and port, each in a register */
    NFT_PORT6_DATA_BYTES = 16 + 4,
    NFT_PORT_AT4_KEY_BYTES = 4 + 4 + 4, /* protocol, address and port */
    NFT_PORT_AT6_KEY_BYTES = 4 + 16 + 4,
    NFT_KEY_BYTES_MAX = NFT_GUEST6_KEY_BYTES,
    NFT_KEY_MAC = NFT_IFNAME_BYTES, /* where it stands in a guest's key */
    NFT_KEY_ADDRESS = NFT_IFNAME_BYTES + 8,
};

/* nft's own numbers of data types, by which `nft list` shows the elements. */
enum {
    NFT_TYPE_BITS = 6,
    NFT_TYPE_IPV4 = 7,
    NFT_TYPE_IPV6 = 8,
    NFT_TYPE_ETHER = 9,
    NFT_TYPE_PROTOCOL = 12,
    NFT_TYPE_PORT = 13,
    NFT_TYPE_MARK = 19,
    NFT_TYPE_IFNAME = 41,
    NFT_TYPE_GUEST_MAC = NFT_TYPE_IFNAME << NFT_TYPE_BITS | NFT_TYPE_ETHER,
    NFT_TYPE_GUEST = NFT_TYPE_GUEST_MAC << NFT_TYPE_BITS | NFT_TYPE_IPV4,
    NFT_TYPE_GUEST6 = NFT_TYPE_GUEST_MAC << NFT_TYPE_BITS | NFT_TYPE_IPV6,
    NFT_TYPE_DROP4 = NFT_TYPE_IPV4 << NFT_TYPE_BITS | NFT_TYPE_MARK,
    NFT_TYPE_DROP6 = NFT_TYPE_IPV6 << NFT_TYPE_BITS | NFT_TYPE_MARK,
    NFT_TYPE_OPEN_PORT = NFT_TYPE_PROTOCOL << NFT_TYPE_BITS | NFT_TYPE_PORT,
    NFT_TYPE_TARGET = NFT_TYPE_IPV4 << NFT_TYPE_BITS | NFT_TYPE_PORT,
    NFT_TYPE_TARGET6 = NFT_TYPE_IPV6 << NFT_TYPE_BITS | NFT_TYPE_PORT,
    NFT_TYPE_PORT_AT4 = NFT_TYPE_PROTOCOL << 2 * NFT_TYPE_BITS | NFT_TYPE_TARGET,
    NFT_TYPE_PORT_AT6 = NFT_TYPE_PROTOCOL << 2 * NFT_TYPE_BITS | NFT_TYPE_TARGET6,
    NFT_TYPE_DROP = NFT_TYPE_IFNAME << NFT_TYPE_BITS | NFT_TYPE_MARK,
};

struct nft_set_row {
    uint16_t family; /* NFPROTO_… */
    const char *name;
    uint32_t key_type; /* for nft alone; the kernel only keeps it */
    uint32_t key_bytes;
    uint32_t flags;                 /* NFT_SET_… */
    uint32_t size;                  /* elements at most; 0 for no limit. A set that packets fill has one. */
    uint32_t data_type, data_bytes; /* of a map, like those of the key; 0 for one of verdicts */
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

enum {
    NFT_SET_UPLINK,
    NFT_SET_ENTRIES,
    NFT_SET_ENTRIES6,
    NFT_SET_CLOSED4,
    NFT_SET_CLOSED6,
    NFT_SET_OPEN_PORTS,
    NFT_SET_SHARE1,
    NFT_SET_SHARE2,
    NFT_SET_SHARE4,
    NFT_SET_SHARE8,
    NFT_SET_FLOWS,
    NFT_SET_FLOW_RATE,
    NFT_SET_DROPS4,
    NFT_SET_DROPS6,
    NFT_SET_EGRESS4,
    NFT_SET_EGRESS6,
    NFT_SET_INGRESS4,
    NFT_SET_INGRESS6,
    NFT_SET_PORTS_TCP,
    NFT_SET_PORTS_UDP,
    NFT_SET_PORTS_AT4,
    NFT_SET_PORTS6,
    NFT_SET_PORTS_AT6,
    NFT_SET_GUEST4,
    NFT_SET_GUEST6,
    NFT_SET_GUEST_MAC,
    NFT_SET_DROPS,
    NFT_SET_RATE_ARP,
    NFT_SET_RATE_ND,
    NFT_SET_COUNT
};
enum { NFT_CHAIN_COUNT = 29, NFT_FAMILY_COUNT = 2 };
extern const struct nft_set_row nft_sets[NFT_SET_COUNT];
extern const struct nft_chain_row nft_chains[NFT_CHAIN_COUNT];

/* One of the two tables. */
struct nft_family_row {
    uint16_t family;
    const char *word;
    const struct nft_rule_row *rules; /* in the order of their chains; ends with a row without a chain */
};
extern const struct nft_family_row nft_families[NFT_FAMILY_COUNT];
extern const struct nft_rule_row nft_inet_rules[];                            /* host/nft/rules_inet.c */
void nft_rule_open(struct nft_rule_builder *b, const struct nft_base *base);  /* host/nft/rules_inet.c: without it nothing passes the gate */
void nft_rule6_ping(struct nft_rule_builder *b, const struct nft_base *base); /* host/nft/rules_ipv6.c: rows of nft_inet_rules */
void nft_rule6_masquerade(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule6_no_redirect(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_tcp(struct nft_rule_builder *b, const struct nft_base *base); /* host/nft/rules_ports.c: rows of nft_inet_rules */
void nft_rule_port_at4(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_at6(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port6(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_of_host_at4(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_of_host_at6(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port6_of_host(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_udp(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_of_host_tcp(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_of_host_udp(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_from_loopback(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_port_answer(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_segment4_out(struct nft_rule_builder *b, const struct nft_base *base); /* host/nft/rules_tunnel.c: rows of nft_inet_rules */
void nft_rule_segment4_in(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_segment6_out(struct nft_rule_builder *b, const struct nft_base *base);
void nft_rule_segment6_in(struct nft_rule_builder *b, const struct nft_base *base);
bool nft_rule_wants_segment4(const struct nft_base *base);
bool nft_rule_wants_segment6(const struct nft_base *base);
extern const struct nft_rule_row nft_bridge_rules[]; /* host/nft/rules_bridge.c */

static inline bool nft_rule_wanted(const struct nft_rule_row *row, const struct nft_base *base)
{
    return row->wanted == NULL || row->wanted(base);
}

/* "<name> <version> <digest of base>" */
void nft_rule_comment(const struct nft_rule_row *row, const struct nft_base *base, char ret[NFT_COMMENT_MAX]);

#endif
