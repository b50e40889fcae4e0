/* Inside worker/: what the reconciler of the WireGuard egress remembers. All of it may be lost: then the next look is the first. */
#ifndef SMARTVM_WORKER_WIREGUARD_MEMORY_H
#define SMARTVM_WORKER_WIREGUARD_MEMORY_H

#include "core/wireguard.h"
#include "host/process/process.h"
#include "worker/repair_backoff.h"
#include "worker/wireguard/plan.h"

#include <pthread.h>

/* Where the name of a peer's endpoint led when it was looked up. */
struct wireguard_resolved {
    char host[WIREGUARD_HOST_MAX];
    struct ip_addr address; /* IP_NONE: it could not be found */
};

struct wireguard_lookup;
struct wireguard_memory {
    bool set_up_before; /* everything was as wanted once, with `generation` */
    int64_t generation;
    int tunnel_index;
    struct repair_backoff backoffs[WIREGUARD_OP_COUNT_];
    unsigned repair_epoch;
    int process;                         /* pidfd of a userspace implementation that this process has started; -1: none */
    int words;                           /* what the userspace implementation says, also when it has ended; -1: not known */
    char ended[PROCESS_STATUS_TEXT_MAX]; /* how the one that this process has started ended by itself; "" while it runs */
    int64_t resolved_generation;         /* of the row that `resolved` is about */
    int64_t resolved_ms;                 /* monotonic */
    unsigned failures;                   /* to resolve, in a row */
    struct wireguard_lookup *pending;    /* that name servers have not answered yet; the reconciler's, see wireguard_endpoints.c */
    struct wireguard_resolved *resolved; /* one for each peer, by its position; owned */
    size_t resolved_count;
};

/* Changed by the key "wireguard" alone, under the lock; read by others under it. */
struct wireguard_memory_box {
    pthread_mutex_t lock;
    struct wireguard_memory memory;
};

#endif
