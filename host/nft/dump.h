/*
 * Lists of the kernel's, asked for anew until one came through undisturbed. There are two ways to disturb one:
 *  - Somebody changes the rule set between two of its messages: the kernel says so (NLM_F_DUMP_INTR).
 *  - A set that is a hash table is moved into a larger one a while after it grew, and the kernel does not say so. Each message goes on behind as many
 *    elements as were shown before (nft_rhash_walk() in net/netfilter/nft_set_hash.c), but their order is another one by then: some are shown twice, and
 *    as many are never shown.
 * A list that is disturbed every time is taken as it came the last time. Private to host/nft*.c.
 */
#ifndef SMARTVM_HOST_NFT_DUMP_H
#define SMARTVM_HOST_NFT_DUMP_H

#include "host/nft/batch.h"
#include "host/nft/rules.h"

struct nft_dump {
    void (*begin)(void *ctx); /* forgets what an earlier try has read */
    void (*each)(const struct nlmsghdr *h, void *ctx);
    bool (*has_doubles)(void *ctx); /* NULL: what is listed is in no hash table */
    void *ctx;
};

/* Returns 0 or a positive errno, as nft_query(). Waits up to 127 ms for a table that is being moved. */
int nft_dump(struct mnl_socket *nl, struct nlmsghdr *request, const struct nft_dump *dump);

/* A request for the elements of a set or map, to be given to nft_dump(); buf has NFT_REQUEST_MAX bytes. */
struct nlmsghdr *nft_elements_request(char *buf, uint16_t family, const char *mark, const char *set);

/* The elements of one of our sets and maps, by its row; a table that is missing has none. Error: FIREWALL_SETUP_FAILED. */
int nft_dump_set(const char *mark, const struct nft_set_row *set, const struct nft_dump *dump, struct error *err);

/* Sorts `count` items of `size` bytes from `items` on, and keeps one of those that compare as equal; returns how many are left. */
size_t nft_sort_unique(void *items, size_t count, size_t size, int (*compare)(const void *a, const void *b, void *ctx), void *ctx);

#endif
