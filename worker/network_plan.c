#include "worker/network_plan.h"

#include <string.h>

static const char *const op_names[NETWORK_OP_COUNT_] = {
    [NETWORK_OP_ENSURE_BRIDGE] = "ensure_bridge",
    [NETWORK_OP_APPLY_FIREWALL] = "apply_firewall",
    [NETWORK_OP_REPLACE_UPLINK] = "replace_uplink",
    [NETWORK_OP_REMOVE_TAPS] = "remove_taps",
    [NETWORK_OP_REMOVE_GUESTS] = "remove_guests",
    [NETWORK_OP_FORWARD_BRIDGE] = "forward_bridge",
    [NETWORK_OP_FORWARD_UPLINK] = "forward_uplink",
    [NETWORK_OP_UNFORWARD_OLD_UPLINK] = "unforward_old_uplink",
};

const char *network_op_name(enum network_op_type type)
{
    return op_names[type];
}

static void add(struct network_plan *plan, enum network_op_type type)
{
    plan->ops[plan->count++] = type;
}

/* The firewall stands before anything can be forwarded, and an element leaves after its TAP. */
void network_plan_make(const struct network_observed *observed, struct network_plan *ret)
{
    bool has_uplink = observed->uplink[0] != '\0';
    bool uplink_moved = strcmp(observed->uplink, observed->forwarded_uplink) != 0;
    memset(ret, 0, sizeof *ret);
    if (observed->orphan_taps) {
        add(ret, NETWORK_OP_REMOVE_TAPS);
    }
    if (!observed->bridge_ok) {
        add(ret, NETWORK_OP_ENSURE_BRIDGE);
    }
    if (!observed->firewall_ok) {
        add(ret, NETWORK_OP_APPLY_FIREWALL);
    } else if (!observed->firewall_uplink_single || strcmp(observed->uplink, observed->firewall_uplink) != 0) {
        add(ret, NETWORK_OP_REPLACE_UPLINK);
    }
    if (observed->firewall_ok && observed->orphan_guests) {
        add(ret, NETWORK_OP_REMOVE_GUESTS);
    }
    if (!observed->bridge_forwards) {
        add(ret, NETWORK_OP_FORWARD_BRIDGE);
    }
    if (observed->forwarded_uplink[0] != '\0' && uplink_moved) {
        add(ret, NETWORK_OP_UNFORWARD_OLD_UPLINK);
    }
    if (has_uplink && !observed->uplink_forwards) {
        add(ret, NETWORK_OP_FORWARD_UPLINK);
    }
}
