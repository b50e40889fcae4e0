/*
 * Which operations of a plan wait, since somebody undoes them, and what that means for the others. Pure.
 *
 * While the firewall stands open to anything that it should not let through, the guests are cut off: the bridge is
 * taken down, and is not touched again before the firewall is as it should be.
 */
#ifndef SMARTVM_WORKER_NETWORK_HOLD_H
#define SMARTVM_WORKER_NETWORK_HOLD_H

#include "worker/network/plan.h"
#include "worker/repair_backoff.h"

struct network_hold {
    bool held[NETWORK_OP_COUNT_];   /* by position in the plan */
    const struct network_op *first; /* that waits by itself; NULL: nothing does */
    int64_t wait_ms;                /* until the next of them is due */
    bool cut_off;
};

/* `backoffs`: one for each type of operation. */
void network_hold_make(const struct network_plan *plan, const struct repair_backoff *backoffs, int64_t now_ms, struct network_hold *ret);

#endif
