/* The planner of the network: plan = diff(wanted, observed), as data. Pure. */
#ifndef SMARTVM_WORKER_NETWORK_PLAN_H
#define SMARTVM_WORKER_NETWORK_PLAN_H

#include "core/interface_names.h"

enum network_op_type {
    NETWORK_OP_RESTORE_ALIAS, /* of the bridge */
    NETWORK_OP_REMOVE_TAPS,   /* of VMs that are gone */
    NETWORK_OP_ENSURE_BRIDGE,
    NETWORK_OP_APPLY_FIREWALL, /* both tables new in one transaction, with all elements */
    NETWORK_OP_REPLACE_UPLINK,
    NETWORK_OP_REPLACE_CLOSED, /* networks that guests don't reach */
    NETWORK_OP_REMOVE_GUESTS,  /* elements that belong to no VM */
    NETWORK_OP_ADD_GUESTS,     /* missing elements of running VMs */
    NETWORK_OP_APPLY_POLICIES, /* of the firewall, and address sets */
    NETWORK_OP_SET_PORTS,      /* published, of running VMs */
    NETWORK_OP_TUNE_BRIDGE,    /* the kernel's parameters of it */
    NETWORK_OP_SET_GATE,       /* the lock outside of nftables: host/gate/gate.h */
    NETWORK_OP_SET_LOOPBACK,   /* on while a port is published: then the host reaches it at 127.0.0.1 */
    NETWORK_OP_SET_ENTRIES,    /* interfaces by which clients of published ports come */
    NETWORK_OP_FORWARD_BRIDGE,
    NETWORK_OP_UNFORWARD_OLD_UPLINK, /* that we turned on, and that is the uplink no more */
    NETWORK_OP_FORWARD_UPLINK,
    NETWORK_OP_SET_IPV6, /* the bridge's IPv6 address, or none */
    NETWORK_OP_FORWARD6_BRIDGE,
    NETWORK_OP_UNFORWARD6_OLD_UPLINK,
    NETWORK_OP_FORWARD6_UPLINK,
    NETWORK_OP_COUNT_
};

enum { NETWORK_FOUND_MAX = 256 };

/* What the host shows. Texts say in words what is not as wanted; "" when all is well. */
struct network_observed {
    bool set_up_before; /* everything was as wanted once since the start: what is not so now was broken by somebody */
    bool cut_off;       /* the bridge was taken down while the firewall stood open: it gets up behind the firewall's repair */
    bool bridge_present;
    bool bridge_alias_changed; /* but it is ours: it is the same link as before */
    char bridge_found[NETWORK_FOUND_MAX];
    char firewall_found[NETWORK_FOUND_MAX];
    struct interface_names uplinks;        /* that are wanted now; one that the settings name may not be there yet */
    struct interface_names last_uplinks;   /* that were wanted at the last look, and there */
    char uplinks_found[NETWORK_FOUND_MAX]; /* of the firewall's set: uplinks, and the tunnel */
    bool closed_ok;                        /* the firewall's closed networks are the host's */
    bool closed_moved;                     /* the host's are others than at the last look */
    char bridge_tuning_found[NETWORK_FOUND_MAX];
    char gate_found[NETWORK_FOUND_MAX];
    bool bridge_forwards;
    struct interface_names idle_uplinks;      /* that are there, and don't forward */
    struct interface_names forwarded_uplinks; /* whose forwarding the daemon turned on */
    char orphan_taps[NETWORK_FOUND_MAX];
    char orphan_guests[NETWORK_FOUND_MAX];
    char missing_guests[NETWORK_FOUND_MAX];
    char policies_found[NETWORK_FOUND_MAX]; /* while no change by a client waits */
    char ports_found[NETWORK_FOUND_MAX];
    bool ipv6_wanted;
    char ipv6_found[NETWORK_FOUND_MAX]; /* of the bridge's addresses; also when none is wanted */
    bool bridge_forwards6;
    struct interface_names idle6_uplinks, forwarded6_uplinks; /* the same for IPv6 */
    bool entries_there;                                       /* at least one is wanted */
    char entries_found[NETWORK_FOUND_MAX];                    /* of the interfaces by which clients of published ports come */
    bool loopback_wanted, loopback_open;                      /* route_localnet of the bridge */
};

struct network_op {
    enum network_op_type type;
    bool repair; /* of what somebody broke; else it is set up, or follows the host */
    char found[NETWORK_FOUND_MAX];
};

struct network_plan {
    struct network_op ops[NETWORK_OP_COUNT_];
    size_t count;
};

void network_plan_make(const struct network_observed *observed, struct network_plan *ret);
const char *network_op_name(enum network_op_type type);        /* "ensure_bridge" */
const char *network_op_description(enum network_op_type type); /* "make the bridge as it should be" */

#endif
