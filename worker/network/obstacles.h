/*
 * Inside worker/: what of others stands in the way of the guests' network, and the way out, as conditions of the network. Nothing of it is ever
 * changed by the daemon.
 */
#ifndef SMARTVM_WORKER_NETWORK_OBSTACLES_H
#define SMARTVM_WORKER_NETWORK_OBSTACLES_H

#include "core/error.h"
#include "core/network_settings.h"
#include "core/condition.h"
#include "core/network_rows.h"
#include "host/gate/gate.h"
#include "host/link/uplinks.h"
#include "host/nft/forward_block.h"

enum network_obstacle {
    OBSTACLE_FOREIGN_BRIDGE,    /* a link of the bridge's name that is not the daemon's */
    OBSTACLE_SUBNET_OVERLAP,    /* a route of the host into the guests' subnet */
    OBSTACLE_OUTSIDE_SUBNET,    /* VMs from before another subnet was configured */
    OBSTACLE_NO_UPLINK,         /* no way out by IPv4, or no interface of the wanted name */
    OBSTACLE_NO_UPLINK_IPV6,    /* guests have IPv6, and there is no way out by it */
    OBSTACLE_UPLINK_PARTIAL,    /* there is a way out to a part of all addresses only */
    OBSTACLE_UPLINK_DOWN,       /* an uplink is down, or has no carrier */
    OBSTACLE_UPLINK_UNUSED,     /* a way out of the host that guests don't use */
    OBSTACLE_ANSWERS_LOST,      /* what comes in by an uplink is not led to guests */
    OBSTACLE_HOST_FORWARD_DROP, /* see host/nft/forward_block.h */
    OBSTACLE_NO_GATE,           /* this kernel can't: see host/gate/gate.h */
    OBSTACLE_OPEN_CHECKSUMS,    /* nor look at open checksums: the same */
    OBSTACLE_COUNT_
};

/* What was seen; zeroes and "": nothing. */
struct network_seen {
    bool foreign_bridge;
    char overlap[64]; /* the route, as link_route_overlap() tells it */
    struct network_address_row outside;
    size_t outside_count;
    bool no_uplink, no_uplink6;
    char hole[UPLINKS_TEXT_MAX], hole6[UPLINKS_TEXT_MAX]; /* what leads nowhere (host/link/uplinks.h) */
    char down[INTERFACE_NAME_MAX];                        /* the uplink */
    bool down_by_hand;                                    /* not up at all, as against without a carrier */
    char unused[INTERFACE_NAME_MAX];                      /* a way out, while the settings name another link */
    char beside[UPLINKS_TEXT_MAX];                        /* a route that makes no uplink (host/link/uplinks.h) */
    size_t beside_count;
    size_t left_out; /* links and rules */
    char lost[UPLINKS_TEXT_MAX];
    struct forward_block block;
    char no_gate[GATE_FOUND_MAX];        /* why */
    char open_checksums[GATE_FOUND_MAX]; /* why */
};

enum { OBSTACLE_TEXT_MAX = BLOCK_TEXT_MAX };

enum condition_type network_obstacle_type(enum network_obstacle obstacle);
enum condition_reason network_obstacle_reason(enum network_obstacle obstacle);

/* Whether it is there; if so, in words with the way out. Pure. */
bool network_obstacle_text(enum network_obstacle obstacle, const struct network_seen *seen, const struct network_settings *settings,
                           char *buf); /* buf[OBSTACLE_TEXT_MAX] */

#endif
