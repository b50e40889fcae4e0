/*
 * Rules of others that stop what this host forwards: a base chain at hook forward whose policy, or a rule without a condition, drops. An accept
 * in one table is no accept in another, so the daemon's own tables can't help it: only whoever owns the rules can let guests through.
 * Docker, ufw and firewalld make such chains.
 *
 * Looks, and changes nothing: nftables (also what iptables-nft has made) by nfnetlink, and the tables of the old iptables where they are loaded.
 * IPv4 only. A table that names the bridge in any rule is taken as one whose owner has thought of it. Threads as in host/nft/nft.h; errors:
 * FIREWALL_SETUP_FAILED, SYSTEM.
 */
#ifndef SMARTVM_HOST_NFT_FORWARD_BLOCK_H
#define SMARTVM_HOST_NFT_FORWARD_BLOCK_H

#include "core/error.h"

enum forward_block_owner { BLOCK_BY_NFT, BLOCK_BY_IPTABLES, BLOCK_BY_DOCKER, BLOCK_BY_UFW, BLOCK_BY_FIREWALLD, BLOCK_OWNER_COUNT_ };

enum { BLOCK_NAME_MAX = 64 };

struct forward_block {
    bool found;
    bool by_policy; /* else by a rule */
    bool legacy;    /* a table of the old iptables */
    enum forward_block_owner owner;
    char family[8];                                    /* "ip" or "inet" */
    char table[BLOCK_NAME_MAX], chain[BLOCK_NAME_MAX]; /* longer names are cut: for people only */
};

/* The first one. `mark`: the daemon's own tables; `bridge`: of its guests. */
int forward_block_find(const char *mark, const char *bridge, struct forward_block *ret, struct error *err);

/* What to do about it, for the condition's message: a sentence with commands. */
enum { BLOCK_TEXT_MAX = 512 };
void forward_block_advice(const struct forward_block *block, const char *bridge, char *buf); /* buf[BLOCK_TEXT_MAX] */

/* Inside host/: the part of the old iptables. */
int forward_block_legacy(const char *bridge, struct forward_block *ret, struct error *err);

#endif
