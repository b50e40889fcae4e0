/*
 * The whole way of a VM, from what is observed now to where nothing is left to be done: the planner's rounds (worker/vm/plan.h), one after the other,
 * with the host as each operation would leave it. Pure.
 *
 * It takes for granted that operations succeed and that a guest which is asked to shut down does.
 */
#ifndef SMARTVM_WORKER_VM_FORECAST_H
#define SMARTVM_WORKER_VM_FORECAST_H

#include "worker/vm/plan.h"

enum { VM_FORECAST_ROUNDS_MAX = 6, VM_FORECAST_OPS_MAX = VM_FORECAST_ROUNDS_MAX * VM_PLAN_OPS_MAX };

struct vm_forecast {
    struct vm_op ops[VM_FORECAST_OPS_MAX];
    size_t count;
    enum vm_state state;    /* that it ends in */
    bool asks_guest;        /* to shut down, or waits for it to: killed at the deadline, if it does not */
    int64_t restart_due_ms; /* it ends with a pause before the next boot, until then; 0: it does not */
};

/* `has_cgroups`: a VMM has a cgroup, which outlives it. */
void vm_forecast_make(const struct vm_wanted *wanted, const struct vm_observed *observed, bool has_cgroups, struct vm_forecast *ret);

#endif
