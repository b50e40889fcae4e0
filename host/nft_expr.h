/*
 * What rules are made of: the expressions of nftables, one call each, appended to the rule that is being built. Out of memory is remembered in
 * the builder, so that a rule reads as its sentence. Everything works on register 1 unless said otherwise. Private to host/nft*.c.
 */
#ifndef SMARTVM_HOST_NFT_EXPR_H
#define SMARTVM_HOST_NFT_EXPR_H

#include "core/net_addr.h"

#include <stddef.h>

struct nft_base;
struct nftnl_expr;
struct nftnl_rule;

enum { IPV4_SOURCE = 12, IPV4_DESTINATION = 16 }; /* where they stand in the network header */

/* A rule being built; `failed` when out of memory. */
struct nft_rule_builder {
    struct nftnl_rule *rule;
    bool failed;
};

struct nftnl_expr *nft_expr_add(struct nft_rule_builder *b, const char *name); /* NULL: failed */

/* Loads into register `reg`. `key` is one of enum nft_meta_keys, `header` of enum nft_payload_bases. */
void nft_expr_meta(struct nft_rule_builder *b, uint32_t key, uint32_t reg);
void nft_expr_payload(struct nft_rule_builder *b, uint32_t header, uint32_t offset, uint32_t len, uint32_t reg);

/* `op` is one of enum nft_cmp_ops; the rule ends where it does not hold. */
void nft_expr_cmp(struct nft_rule_builder *b, uint32_t op, const void *data, size_t len);
void nft_expr_mask(struct nft_rule_builder *b, uint32_t bits); /* bits as they lie in the register */
void nft_expr_in_set(struct nft_rule_builder *b, const char *set);
void nft_expr_verdict(struct nft_rule_builder *b, uint32_t value); /* NF_ACCEPT, NF_DROP, NFT_RETURN */
void nft_expr_count_and_drop(struct nft_rule_builder *b);

void nft_expr_interface_is(struct nft_rule_builder *b, uint32_t key, const char *name); /* key: NFT_META_IIFNAME or OIFNAME */
void nft_expr_from_tap(struct nft_rule_builder *b, const struct nft_base *base, uint32_t op); /* by the names' prefix */
void nft_expr_is_ipv4(struct nft_rule_builder *b);
void nft_expr_ipv4_in(struct nft_rule_builder *b, uint32_t offset, struct ipv4_net net); /* offset: IPV4_SOURCE or _DESTINATION */
void nft_expr_is_answer(struct nft_rule_builder *b);                                     /* ct state established, related */

#endif
