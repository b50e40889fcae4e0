/* Inside worker/: what the network's reconciler remembers. */
#ifndef SMARTVM_WORKER_NETWORK_MEMORY_H
#define SMARTVM_WORKER_NETWORK_MEMORY_H

#include "core/network_settings.h"
#include "worker/network/plan.h"
#include "worker/repair_backoff.h"

#include <pthread.h>

/* The tunnel that guests leave by, as it is wanted (db/wireguard.h). All zeroes: none. */
struct network_egress {
    char tunnel[INTERFACE_NAME_MAX];
    bool all;           /* of what they send goes there */
    bool tunnel_only;   /* and it never goes anywhere else */
    unsigned mtu;       /* of the tunnel; 0: not known */
    int64_t generation; /* of the row */
};

/* What is remembered from one look to the next. All of it may be lost: then the next look is the first. */
struct network_memory {
    bool set_up_before; /* everything was as wanted once, with the settings of `generation` */
    int64_t generation;
    bool cut_off; /* the bridge was taken down, since the firewall stands open and its repair waits */
    int bridge_index;
    struct interface_names uplinks;
    int uplink_indices[INTERFACE_NAMES_MAX];
    struct network_egress egress; /* that the network was set up with last */
    uint64_t closed_digest;       /* of the networks that guests don't reach */
    struct repair_backoff backoffs[NETWORK_OP_COUNT_];
    unsigned flows_due;    /* bits of enum network_flows_due: flows that are still to be judged */
    unsigned repair_epoch; /* worker->repair_epoch, when the back-offs were forgotten last */
};

/* Written by the key "network" alone. */
struct network_memory_box {
    pthread_mutex_t lock;
    struct network_memory memory;
    struct network_settings settings; /* see worker_network() */
};

#endif
