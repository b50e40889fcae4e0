/*
 * What a daemon holds of its network namespace: its bridge, its subnets, its routing table, its tunnel. Two daemons in one namespace with the same would
 * rewrite it against each other, so the second is refused, by the name of the first.
 *
 * A claim is an abstract unix socket (unix(7)) that nobody connects to, "smartvmd <kind> <value> <pid> <bridge>": such names belong to the network namespace,
 * are seen by everybody in it also past mount namespaces, and go with the process, also by kill -9. Whoever takes one lists those of others (sock_diag(7),
 * which tells the owner's uid: only root's count; where the kernel has it not, /proc/net/unix) and compares. Takers take turns.
 *
 * Any thread. Error: IN_USE, which names the owner; SYSTEM.
 */
#ifndef SMARTVM_HOST_LINK_CLAIM_H
#define SMARTVM_HOST_LINK_CLAIM_H

#include "core/error.h"

#include <stdint.h>

enum claim_kind {
    CLAIM_BRIDGE,      /* by name; also what the names of its TAPs begin with: those of one must not begin those of another */
    CLAIM_SUBNET,      /* "10.0.0.0/24": must not overlap */
    CLAIM_SUBNET6,     /* likewise */
    CLAIM_ROUTE_TABLE, /* "51820" */
    CLAIM_TUNNEL,      /* by name */
    CLAIM_KIND_COUNT_
};

struct claims; /* with a lock of its own */

/* `bridge` tells the owner apart from others. Claims are dropped when they are freed, or the process ends. */
int claims_new(const char *bridge, struct claims **ret, struct error *err);
void claims_free(struct claims *claims); /* harmless on NULL */

/* For the bridge and the subnets at start: one that was killed just now is still letting go. */
enum { CLAIM_PATIENCE_MS = 1000 };

/* Taking what is held already by these claims is no failure. Up to `patience_ms` a holder, who may be about to end, is waited for. */
int claim_take(struct claims *claims, enum claim_kind kind, const char *value, int patience_ms, struct error *err);
/* Would it be refused? */
int claim_check(struct claims *claims, enum claim_kind kind, const char *value, struct error *err);
/* Drops those of the kind but for `value`; NULL: all of them. */
void claim_drop_others(struct claims *claims, enum claim_kind kind, const char *value);

/* Do two values of this kind exclude each other? Pure. */
bool claim_excludes(enum claim_kind kind, const char *a, const char *b);

#endif
