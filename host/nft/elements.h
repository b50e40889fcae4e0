/* Set elements as messages of a batch, shared by the making of the tables and by later changes. Private to
 * host/nft*.c. */
#ifndef SMARTVM_HOST_NFT_ELEMENTS_H
#define SMARTVM_HOST_NFT_ELEMENTS_H

#include "host/nft/batch.h"

#include <linux/netfilter/nf_tables.h>

/* `type` is NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM; as many messages as it takes, none for no elements. */
void nft_put_guests(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_guest *guests, size_t count);
void nft_put_uplinks(struct nft_batch *b, uint16_t type, const char *mark, const char *const *uplinks, size_t count);
void nft_put_open_ports(struct nft_batch *b, const char *mark, const struct config_port *ports, size_t count);
void nft_put_closed(struct nft_batch *b, const char *mark, const struct ip_range *closed, size_t count);
void nft_put_ports(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_port *ports, size_t count); /* host/nft/ports.c */

/* Key number i of the guests for one of the sets guest4, guest_mac, share… (one key a guest) and guest6 (two), into zeroes; false when there is none. */
bool nft_guest_key(unsigned set, const struct nft_guest *guests, size_t i, uint8_t *key);
/* One element, by its key. */
void nft_put_raw_key(struct nft_batch *b, uint16_t type, const char *mark, unsigned set, const uint8_t *key);
/* The keys of a set, sorted, one after the other. *ret is owned by the caller (free). A missing table has none. */
int nft_set_keys(const char *mark, unsigned set, uint8_t **ret, size_t *ret_count, struct error *err);

/* Are the host's open ports what they should be? */
int nft_open_ports_check(const char *mark, const struct config_port *ports, size_t count, bool *ret_same, struct error *err);

/*
 * Does the set hold just these elements? `wanted` has each key, without doubles, followed by a byte that is 1 where it ends an interval; it gets sorted.
 * A missing table holds nothing.
 */
int nft_set_compare(const char *mark, unsigned set, uint8_t *wanted, size_t count, bool *ret_same, struct error *err);

#endif
