/*
 * What rules are made of: the expressions of nftables, one call each, appended to the rule that is being built. Out of memory is remembered in
 * the builder, so that a rule reads as its sentence. Everything works on register 1 unless said otherwise. Private to host/nft*.c.
 */
#ifndef SMARTVM_HOST_NFT_EXPR_H
#define SMARTVM_HOST_NFT_EXPR_H

#include "host/nft/drops.h"

#include <stddef.h>

struct nft_base;
struct nftnl_expr;
struct nftnl_rule;

/* Where they stand in the network header. */
enum { IPV4_SOURCE = 12, IPV4_DESTINATION = 16, IPV6_PAYLOAD_BYTES = 4, IPV6_SOURCE = 8, IPV6_DESTINATION = 24 };

/* A rule being built; `failed` when out of memory. */
struct nft_rule_builder {
    struct nftnl_rule *rule;
    struct nftnl_expr *last; /* added; the rule's */
    bool failed;
};

struct nftnl_expr *nft_expr_add(struct nft_rule_builder *b, const char *name); /* NULL: failed */

/* Loads into register `reg`. `key` is one of enum nft_meta_keys, `header` of enum nft_payload_bases. */
void nft_expr_meta(struct nft_rule_builder *b, uint32_t key, uint32_t reg);
void nft_expr_payload(struct nft_rule_builder *b, uint32_t header, uint32_t offset, uint32_t len, uint32_t reg);

/* `op` is one of enum nft_cmp_ops; the rule ends where it does not hold. */
void nft_expr_cmp(struct nft_rule_builder *b, uint32_t op, const void *data, size_t len);
void nft_expr_mask(struct nft_rule_builder *b, uint32_t bits); /* bits as they lie in the register */
/* NFT_CMP_NEQ: one of these bits of the byte is set; NFT_CMP_EQ: none is. */
void nft_expr_byte_bits(struct nft_rule_builder *b, uint32_t op, uint32_t header, uint32_t offset, uint8_t bits);
void nft_expr_mark(struct nft_rule_builder *b, uint32_t off, uint32_t on); /* bits of the packet mark */
void nft_expr_in_set(struct nft_rule_builder *b, const char *set);
void nft_expr_not_in_set(struct nft_rule_builder *b, const char *set);
void nft_expr_verdict_of(struct nft_rule_builder *b, const char *map);                /* none: the rule ends */
void nft_expr_verdict(struct nft_rule_builder *b, uint32_t value);                    /* NF_ACCEPT, NF_DROP, NFT_RETURN */
void nft_expr_branch(struct nft_rule_builder *b, int32_t verdict, const char *chain); /* NFT_JUMP or NFT_GOTO */
void nft_expr_count_and_drop(struct nft_rule_builder *b);
/* Leaves to chain `dropped`, which counts under the reason and drops. */
void nft_expr_drop(struct nft_rule_builder *b, enum nft_drop_reason reason);

/*
 * The register is a key of the dynamic set; its element is made when it is missing. A rule goes on where the element's counter counted, its
 * rate is not exceeded, or its number of tracked flows is at most `max`. When the set is full the rule ends, so what follows must be a favour.
 */
void nft_expr_count_in(struct nft_rule_builder *b, const char *set);
void nft_expr_rate_in(struct nft_rule_builder *b, const char *set, uint64_t per_second, uint32_t burst);
void nft_expr_flows_in(struct nft_rule_builder *b, const char *set, uint32_t max);

void nft_expr_interface_is(struct nft_rule_builder *b, uint32_t key, const char *name); /* key: NFT_META_IIFNAME or OIFNAME */
/* The name stays in the register. */
void nft_expr_interface_is_not(struct nft_rule_builder *b, uint32_t key, const char *name);
void nft_expr_from_tap(struct nft_rule_builder *b, const struct nft_base *base, uint32_t op); /* by the names' prefix */
void nft_expr_l4proto_is(struct nft_rule_builder *b, uint8_t protocol);                       /* IPPROTO_… */
void nft_expr_is_ipv4(struct nft_rule_builder *b);
void nft_expr_is_ipv6(struct nft_rule_builder *b);
void nft_expr_ipv4_in(struct nft_rule_builder *b, uint32_t offset, struct ipv4_net net); /* offset: IPV4_SOURCE or _DESTINATION */
void nft_expr_has_fragment_header(struct nft_rule_builder *b);                           /* of IPv6 */
void nft_expr_ct_state(struct nft_rule_builder *b, uint32_t bits);                       /* any of NF_CT_STATE_BIT(…) */
void nft_expr_ct_confirmed(struct nft_rule_builder *b);                                  /* the flow is in the table: a packet of it has come through before */
/*
 * The flow's destination was translated, as that of one to a published port is. Not by a helper of the connection tracking (FTP, SIP and their like), which
 * translates what it has announced itself, from what guests and others say.
 */
void nft_expr_ct_translated(struct nft_rule_builder *b);

#endif
