/* Policies as messages of a batch, shared by the making of the tables and by later changes. Private to host/nft*.c. */
#ifndef SMARTVM_HOST_NFT_POLICY_PUT_H
#define SMARTVM_HOST_NFT_POLICY_PUT_H

#include "host/nft/batch.h"
#include "host/nft/policy.h"
#include "host/nft/policy_lines.h"

/* The name of a chain of the policies; uid 0 for the host-wide one. Returns buf. */
char *nft_policy_chain_name(int64_t uid, enum policy_direction_name direction, char buf[NFT_POLICY_CHAIN_MAX]);

/* "<digest> <position>/<rules> r<number>"; number -1 is the default. */
enum { NFT_POLICY_COMMENT_MAX = 64 };

/* The static chain where an ingress policy ends that denies by default: published ports return, all else is dropped. */
#define NFT_POLICY_UNPUBLISHED_CHAIN "unpublished"

extern const char *const nft_policy_maps[POLICY_DIRECTION_COUNT_][2]; /* by direction; IPv4, IPv6 */

/* The parts of a change, in an order that the kernel accepts. */
void nft_put_policies(struct nft_batch *b, const char *mark, const struct nft_policies *policies);
void nft_put_policy_change(struct nft_batch *b, const char *mark, const struct nft_policy_change *change);

/* nft_policies_change(), with something else in the same batch before it; `put` (may be NULL) may be called twice, for two batches. */
int nft_policies_commit(const char *mark, const struct nft_policy_change *change, void (*put)(struct nft_batch *b, const char *mark, const void *ctx),
                        const void *ctx, struct error *err);

/* host/nft/policy_set.c */
void nft_put_address_set(struct nft_batch *b, const char *mark, const struct address_set *set); /* makes and fills */
void nft_put_address_set_removal(struct nft_batch *b, const char *mark, const char *name);
/* Anonymous sets of one rule that follows; `id` is the batch's own number for it. */
void nft_put_range_set(struct nft_batch *b, const char *mark, const struct ip_range *ranges, size_t count, uint32_t id);
void nft_put_port_set(struct nft_batch *b, const char *mark, const struct port_range *ports, size_t count, uint32_t id);
char *nft_address_set_name(uint8_t version, const char *name, char *buf, size_t size); /* returns buf */
#define NFT_ANONYMOUS_SET "__set%d"                                                    /* the kernel numbers them */

#endif
