/* Set elements as messages of a batch, shared by the making of the tables and by later changes. Private to
 * host/nft*.c. */
#ifndef SMARTVM_HOST_NFT_ELEMENTS_H
#define SMARTVM_HOST_NFT_ELEMENTS_H

#include "host/nft_batch.h"

#include <linux/netfilter/nf_tables.h>

/* `type` is NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM; as many messages as it takes, none for no elements. */
void nft_put_guests(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_guest *guests,
                    size_t count);
void nft_put_uplinks(struct nft_batch *b, uint16_t type, const char *mark, const char *const *uplinks,
                     size_t count);

#endif
