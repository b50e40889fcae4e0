#include "worker/network/hold.h"

#include <string.h>

/* What an operation is to others while it waits. */
static const struct {
    bool opens;        /* without it, packets may pass that should not */
    bool makes_bridge; /* the bridge is not to be relied on without it */
    bool needs_bridge;
} traits[NETWORK_OP_COUNT_] = {
    [NETWORK_OP_RESTORE_ALIAS] = {.makes_bridge = true, .needs_bridge = true},
    [NETWORK_OP_ENSURE_BRIDGE] = {.makes_bridge = true, .needs_bridge = true},
    [NETWORK_OP_APPLY_FIREWALL] = {.opens = true},
    [NETWORK_OP_REPLACE_UPLINK] = {.opens = true},
    [NETWORK_OP_REPLACE_CLOSED] = {.opens = true},
    [NETWORK_OP_REMOVE_GUESTS] = {.opens = true},
    [NETWORK_OP_APPLY_POLICIES] = {.opens = true},
    [NETWORK_OP_TUNE_BRIDGE] = {.needs_bridge = true},
    [NETWORK_OP_SET_GATE] = {.needs_bridge = true}, /* it is the second lock: the first one holds */
    [NETWORK_OP_FORWARD_BRIDGE] = {.needs_bridge = true},
    [NETWORK_OP_SET_ENTRIES] = {.needs_bridge = true}, /* its set is in the tables, which wait as well */
};

void network_hold_make(const struct network_plan *plan, const struct repair_backoff *backoffs, int64_t now_ms, struct network_hold *ret)
{
    bool bridge_waits = false;
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < plan->count; i++) {
        const struct network_op *op = &plan->ops[i];
        int64_t wait_ms = op->repair ? repair_backoff_wait(&backoffs[op->type], now_ms) : 0;
        if (wait_ms == 0) {
            continue;
        }
        ret->held[i] = true;
        ret->wait_ms = ret->first == NULL || wait_ms < ret->wait_ms ? wait_ms : ret->wait_ms;
        ret->first = ret->first == NULL ? op : ret->first;
        ret->cut_off = ret->cut_off || traits[op->type].opens;
        bridge_waits = bridge_waits || traits[op->type].makes_bridge;
    }
    for (size_t i = 0; i < plan->count; i++) {
        ret->held[i] = ret->held[i] || ((ret->cut_off || bridge_waits) && traits[plan->ops[i].type].needs_bridge);
    }
}
