/*
 * Inside worker/: what of others stands in the way of the guests' network, and the way out, as conditions of the network. Nothing of it is ever
 * changed by the daemon.
 */
#ifndef SMARTVM_WORKER_NETWORK_OBSTACLES_H
#define SMARTVM_WORKER_NETWORK_OBSTACLES_H

#include "core/error.h"
#include "core/network_settings.h"
#include "db/network.h"
#include "host/forward_block.h"
#include "host/gate.h"

enum network_obstacle {
    OBSTACLE_FOREIGN_BRIDGE,    /* a link of the bridge's name that is not the daemon's */
    OBSTACLE_SUBNET_OVERLAP,    /* a route of the host into the guests' subnet */
    OBSTACLE_OUTSIDE_SUBNET,    /* VMs from before another subnet was configured */
    OBSTACLE_NO_UPLINK,         /* no default route, or no interface of the wanted name */
    OBSTACLE_HOST_FORWARD_DROP, /* see host/forward_block.h */
    OBSTACLE_NO_GATE,           /* this kernel can't: see host/gate.h */
    OBSTACLE_OPEN_CHECKSUMS,    /* nor look at open checksums: the same */
    OBSTACLE_COUNT_
};

/* What was seen; zeroes and "": nothing. */
struct network_seen {
    bool foreign_bridge;
    char overlap[64]; /* the route */
    struct network_address_row outside;
    size_t outside_count;
    bool no_uplink;
    struct forward_block block;
    char no_gate[GATE_FOUND_MAX]; /* why */
    char open_checksums[GATE_FOUND_MAX]; /* why */
};

enum { OBSTACLE_TEXT_MAX = BLOCK_TEXT_MAX };

const char *network_obstacle_type(enum network_obstacle obstacle);   /* "host_forward_drop": of the condition */
const char *network_obstacle_reason(enum network_obstacle obstacle); /* "HOST_FORWARD_DROP" */

/* Whether it is there; if so, in words with the way out. Pure. */
bool network_obstacle_text(enum network_obstacle obstacle, const struct network_seen *seen, const struct network_settings *settings,
                           char *buf); /* buf[OBSTACLE_TEXT_MAX] */

#endif
