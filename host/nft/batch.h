/*
 * How the nft_*.c files speak to nfnetlink: batches (one transaction, one sendmsg) and queries. Private to
 * host/nft*.c. An object is used by one thread.
 */
#ifndef SMARTVM_HOST_NFT_BATCH_H
#define SMARTVM_HOST_NFT_BATCH_H

#include "core/cleanup.h"
#include "host/nft/nft.h"

#include <libmnl/libmnl.h>

enum {
    NFT_MESSAGE_MAX = 32 * 1024, /* room that nft_batch_add() gives to one message */
    NFT_REQUEST_MAX = 1024,      /* a message of a query */
    NFT_WHAT_MAX = 64,
};

/*
 * The one socket of this process, for the exclusive use of the caller until nft_socket_release(); NULL with
 * *err set when it cannot be had. It stays open: the kernel makes whoever closes an nfnetlink socket wait
 * until everything deleted shortly before is freed, an RCU grace period of some 15 ms, and all other changes
 * wait meanwhile. That calls take turns costs nothing, as the kernel makes one change at a time, and it keeps
 * dumps from being disturbed by our own changes. A child of fork(), and a thread that went to another network
 * namespace, get a new one.
 */
struct mnl_socket *nft_socket_acquire(struct error *err);
void nft_socket_release(bool usable); /* false: close it, there may be unread answers */
/* Was a change with this netlink port id made by this process? */
bool nft_is_own_port(uint32_t port);

struct nft_batch {
    char *buf; /* owned */
    size_t len, size;
    size_t last;                /* where the last complete message begins */
    char (*what)[NFT_WHAT_MAX]; /* what each message is, by its sequence number - 1; owned */
    size_t count, what_size;
    bool failed; /* out of memory; later calls do nothing, nft_batch_commit() reports it */
};

#define NFT_BATCH_INIT ((struct nft_batch){.failed = false})
#define AUTO_NFT_BATCH CLEANUP(nft_batch_free) struct nft_batch

void nft_batch_free(struct nft_batch *b);

/* A new message at the end, to be filled by the caller, and described in words for an error; NULL when out of
 * memory. The first one begins the batch. `type` is one of enum nf_tables_msg_types. */
struct nlmsghdr *nft_batch_add(struct nft_batch *b, uint16_t type, uint16_t family, uint16_t flags, const char *what_fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The message that nft_batch_add() gave is complete. */
void nft_batch_close(struct nft_batch *b);

/* Sends it all, in one piece. Error: FIREWALL_SETUP_FAILED with what the kernel refused. */
int nft_batch_commit(struct nft_batch *b, const char *mark, struct error *err);

/* Sends one request and calls `each` for every message of the answer. Returns 0 or a positive errno (ENOENT:
 * there is no such thing). *ret_interrupted (may be NULL) tells that somebody changed the rule set during a
 * dump. */
int nft_query(struct mnl_socket *nl, struct nlmsghdr *request, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx, bool *ret_interrupted);

#endif
