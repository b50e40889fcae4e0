/*
 * The planner of the WireGuard egress: plan = diff(wanted, observed), as data. Pure.
 *
 * What closes comes first and what opens comes last, so that at no step, and after no crash between two of them, anything leaves beside the tunnel.
 */
#ifndef SMARTVM_WORKER_WIREGUARD_PLAN_H
#define SMARTVM_WORKER_WIREGUARD_PLAN_H

#include <stdbool.h>
#include <stddef.h>

enum wireguard_op_type {
    WIREGUARD_OP_CLOSE_ROUTES, /* of its table: the guests' networks by the bridge, and unreachable what goes by the tunnel */
    WIREGUARD_OP_ADD_RULES,    /* which lead guests to the table */
    WIREGUARD_OP_REMOVE_RULES, /* to other tables */
    WIREGUARD_OP_REMOVE_ROUTES,
    WIREGUARD_OP_REMOVE_TUNNELS, /* of ours that are not wanted */
    WIREGUARD_OP_UNTUNE,         /* gives an interface that is left the kernel's parameters of before */
    WIREGUARD_OP_START,          /* makes the tunnel, in the kernel or by a process */
    WIREGUARD_OP_RESTORE_ALIAS,
    WIREGUARD_OP_CONFIGURE, /* keys and peers: just what differs */
    WIREGUARD_OP_SET_LINK,  /* alias, MTU, addresses, up */
    WIREGUARD_OP_TUNE,      /* the kernel's parameters of it */
    WIREGUARD_OP_OPEN_ROUTES,
    WIREGUARD_OP_COUNT_
};

enum { WIREGUARD_FOUND_MAX = 256 };

/* What the host shows. Texts say in words what is not as wanted; "" when all is well. */
struct wireguard_observed {
    bool set_up_before; /* as wanted once since the last change: what is not so now was broken by somebody */
    char closed_found[WIREGUARD_FOUND_MAX];
    char rules_found[WIREGUARD_FOUND_MAX];
    char old_rules_found[WIREGUARD_FOUND_MAX];
    char old_routes_found[WIREGUARD_FOUND_MAX];
    char old_tunnels_found[WIREGUARD_FOUND_MAX];
    char old_tuning_found[WIREGUARD_FOUND_MAX];
    char missing_found[WIREGUARD_FOUND_MAX]; /* there is no tunnel, or nobody answers for it; then what follows is not known */
    bool alias_changed;                      /* but it is ours: the same link as before */
    char device_found[WIREGUARD_FOUND_MAX];
    char link_found[WIREGUARD_FOUND_MAX];
    char tuning_found[WIREGUARD_FOUND_MAX];
    char open_found[WIREGUARD_FOUND_MAX];
    bool follows_name; /* device_found is about an endpoint whose name leads elsewhere now; that is no repair */
    bool is_managed;
    bool waits; /* an existing interface is not there, or down: nothing can lead to it yet */
};

struct wireguard_op {
    enum wireguard_op_type type;
    bool repair; /* of what somebody broke; else it is set up, or removed */
    char found[WIREGUARD_FOUND_MAX];
};

struct wireguard_plan {
    struct wireguard_op ops[WIREGUARD_OP_COUNT_];
    size_t count;
};

void wireguard_plan_make(const struct wireguard_observed *observed, struct wireguard_plan *ret);
const char *wireguard_op_name(enum wireguard_op_type type);        /* "close_routes" */
const char *wireguard_op_description(enum wireguard_op_type type); /* "close the table's routes" */

#endif
