/* What somebody else changed of a running VM's TAPs: when it is repaired, and how that is told. */
#include "core/clock.h"
#include "worker/network/work.h"
#include "worker/vm/work.h"

#include <stdio.h>
#include <string.h>

static void look_again_at(struct vm_plan *plan, int64_t at_ms)
{
    if (plan->look_again_ms < 0 || at_ms < plan->look_again_ms) {
        plan->look_again_ms = at_ms;
    }
}

/* Somebody asked for repair: everything that was held against whoever undoes it is forgotten. */
static void follow_epoch(struct vm_work *work)
{
    unsigned epoch = atomic_load(&work->worker->repair_epoch);
    if (work->runtime->repair_epoch != epoch) {
        work->runtime->repair_epoch = epoch;
        work->runtime->tap_repairs = (struct repair_backoff){.repairs = 0};
    }
}

static void set_contested(struct vm_work *work, bool contested)
{
    if (work->runtime->contested != contested) {
        work->runtime->contested = contested;
        (void)atomic_fetch_add(&work->worker->contested_vms, contested ? 1 : -1);
    }
}

/* Until it is repaired, nothing passes a TAP that may let through too much. */
static void take_down(struct vm_work *work, const struct vm_op *op)
{
    const char *tap = work->row.interfaces[op->index].tap;
    struct error err;
    bool changed = false;
    if (link_take_down(tap, work->worker->mark, &changed, &err) != 0) {
        log_event(LOG_WARN, "network.cut_off_failed", "vm", work->row.id, "message", err.message, NULL);
    } else if (changed) {
        network_tell(work->worker, EVENT_NETWORK_CUT_OFF, work->row.id, "cut_off", work->observed.tap_found[op->index],
                     "the TAP is taken down until it is repaired");
    }
}

void vm_drift_hold(struct vm_work *work)
{
    struct vm_plan *plan = &work->plan;
    size_t kept = 0;
    follow_epoch(work);
    int64_t wait_ms = repair_backoff_wait(&work->runtime->tap_repairs, work->wanted.now_ms);
    atomic_store(&work->runtime->repair_due_ms, work->wanted.now_ms + wait_ms);
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->ops[i].type == VM_OP_REPAIR_TAP && wait_ms > 0) {
            look_again_at(plan, work->wanted.now_ms + wait_ms);
            take_down(work, &plan->ops[i]);
        } else {
            plan->ops[kept++] = plan->ops[i];
        }
    }
    plan->count = kept;
}

void vm_drift_note(struct vm_work *work, const struct vm_op *op)
{
    char found[LINK_FOUND_MAX + 32];
    const char *name = vm_op_name(op->type);
    (void)snprintf(found, sizeof found, "TAP %s: %s", work->row.interfaces[op->index].tap, work->observed.tap_found[op->index]);
    network_tell(work->worker, EVENT_NETWORK_REPAIRED, work->row.id, name, found, vm_op_description(op->type));
    if (repair_backoff_note(&work->runtime->tap_repairs, clock_monotonic_ms())) {
        network_tell(work->worker, EVENT_NETWORK_CONTESTED, work->row.id, name, found,
                     "somebody undoes this repair: from now on it waits 1 s, and twice as long each time, up to 60 s");
    }
}

void vm_drift_note_limits(struct vm_work *work)
{
    network_tell(work->worker, EVENT_VM_REPAIRED, work->row.id, vm_op_name(VM_OP_SET_LIMITS), work->observed.limits_found, vm_op_description(VM_OP_SET_LIMITS));
}

void vm_drift_settle(struct vm_work *work)
{
    const struct repair_backoff *backoff = &work->runtime->tap_repairs;
    bool contested = repair_backoff_is_contested(backoff, clock_monotonic_ms());
    set_contested(work, contested);
    if (contested) {
        look_again_at(&work->plan, repair_backoff_quiet_at(backoff));
    }
}

void vm_drift_tell_loss(struct vm_work *work)
{
    work->tap_lost = false;
    network_tell(work->worker, EVENT_NETWORK_DAMAGED, work->row.id, "none", "a TAP of the running VM is gone",
                 "nothing: a running VMM can't be given a new one; reboot the VM");
}

void vm_drift_forget(struct vm_work *work)
{
    set_contested(work, false);
}
