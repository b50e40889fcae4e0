/* One line of a policy as a rule, with the anonymous sets that it needs. Private to host/nft*.c. */
#ifndef SMARTVM_HOST_NFT_POLICY_RULE_H
#define SMARTVM_HOST_NFT_POLICY_RULE_H

#include "host/nft/policy_put.h"

enum { NFT_POLICY_FIRST_SET_ID = 0x10000 }; /* numbers of sets inside a batch; those of the static sets are below */

/* Appends line `position` to the chain. */
void nft_put_policy_rule(struct nft_batch *b, const char *mark, const char *chain, enum policy_direction_name direction, const struct nft_policy_lines *lines,
                         size_t position);

#endif
