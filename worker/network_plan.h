/* The planner of the network: plan = diff(wanted, observed), as data. Pure. */
#ifndef SMARTVM_WORKER_NETWORK_PLAN_H
#define SMARTVM_WORKER_NETWORK_PLAN_H

#include "core/net_addr.h"

enum network_op_type {
    NETWORK_OP_ENSURE_BRIDGE,
    NETWORK_OP_APPLY_FIREWALL, /* both tables new in one transaction, with all elements */
    NETWORK_OP_REPLACE_UPLINK,
    NETWORK_OP_REMOVE_TAPS,     /* of VMs that are gone */
    NETWORK_OP_REMOVE_GUESTS,   /* elements of TAPs that are gone */
    NETWORK_OP_FORWARD_BRIDGE,
    NETWORK_OP_FORWARD_UPLINK,
    NETWORK_OP_UNFORWARD_OLD_UPLINK, /* that we turned on, and that is the uplink no more */
    NETWORK_OP_COUNT_
};

struct network_observed {
    bool bridge_ok; /* there, ours, up, with its address */
    bool firewall_ok;
    char uplink[INTERFACE_NAME_MAX];          /* that is wanted now; "" for none */
    char firewall_uplink[INTERFACE_NAME_MAX]; /* in the firewall's set; "" for none */
    bool firewall_uplink_single;              /* the set holds nothing else */
    bool bridge_forwards, uplink_forwards;
    char forwarded_uplink[INTERFACE_NAME_MAX]; /* whose forwarding the daemon turned on; "" for none */
    bool orphan_taps, orphan_guests;
};

struct network_plan {
    enum network_op_type ops[NETWORK_OP_COUNT_];
    size_t count;
};

void network_plan_make(const struct network_observed *observed, struct network_plan *ret);
const char *network_op_name(enum network_op_type type);

#endif
