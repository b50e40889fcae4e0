/*
 * Tracked flows of the host's network (ctnetlink): looking at them, and cutting those that are forbidden now. A flow that is cut is forgotten;
 * its next packet has to begin one again, by the rules of the firewall. Any thread.
 */
#ifndef SMARTVM_HOST_NFT_CONNTRACK_H
#define SMARTVM_HOST_NFT_CONNTRACK_H

#include "core/ip_net.h"

#include <stddef.h>

struct conntrack_flow {
    uint8_t protocol;           /* IPPROTO_… */
    struct ip_addr source;      /* who began it, before translation */
    struct ip_addr destination; /* whom it reaches, after translation: what the forward hook sees */
    uint16_t port;              /* there, host byte order; 0 when the protocol has none */
    bool published;             /* its destination was translated, by no helper: it came by a published port */
    struct ip_addr asked;       /* what it was sent to, before translation */
    uint16_t asked_port;        /* there; 0 when the protocol has none */
    struct ip_addr shown;       /* as whom its beginner is seen, after translation */
};

/*
 * Cuts each flow for which `forbidden` says so, and no other: it is known by its number, so a new one with the same addresses is not meant.
 * A flow that ended by itself is no failure. *ret_cut (may be NULL): how many it said so of. Some 1 us a flow that is there, 10 us a cut. Who asks at
 * the same time shares one look: `forbidden` is called by one of the threads that ask, while its own waits.
 * Error: FIREWALL_SETUP_FAILED, OUT_OF_MEMORY.
 */
int conntrack_cut(bool (*forbidden)(const struct conntrack_flow *flow, void *ctx), void *ctx, size_t *ret_cut, struct error *err);

/*
 * Every address of this host, or of the links that are named: flows from and to them do not pass the forward hook. `links` NULL: of all. *ret is
 * owned by the caller (free). Error: SYSTEM, OUT_OF_MEMORY.
 */
int conntrack_local_addresses(const char *const *links, size_t link_count, struct ip_addr **ret, size_t *ret_count, struct error *err);

#endif
