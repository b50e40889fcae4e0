#include "worker/vm/forecast.h"

#include "core/cleanup.h"

#include <string.h>

/* A VM on its way. */
struct course {
    struct vm_wanted wanted;
    struct vm_observed observed;
    bool has_cgroups;
    bool is_over; /* there is no VM any more, or it waits */
};

static void end_process(struct course *course)
{
    struct vm_observed *seen = &course->observed;
    course->wanted.was_running = true;
    course->wanted.exit_reason = EXIT_ASKED;
    course->wanted.shutdown_sent_ms = -1;
    seen->process_alive = seen->vmm_answers = seen->guest_gone = false;
    seen->guest_halted_ms = 0;
    seen->limits_found[0] = '\0';
    seen->cgroup_present = course->has_cgroups;
}

static void start_process(struct course *course)
{
    course->observed.process_alive = true;
    course->observed.process_boot = course->wanted.boot_done = course->wanted.boot_wanted;
    course->observed.vmm_answers = false;
    course->wanted.was_running = true;
    course->wanted.state = VM_STARTING;
}

static void set_taps(struct course *course, bool present)
{
    for (size_t i = 0; i < course->wanted.interface_count; i++) {
        course->observed.tap_present[i] = present;
        course->observed.tap_found[i][0] = '\0';
    }
}

static void want_restart(struct course *course, const struct vm_restart *restart)
{
    course->wanted.boot_wanted = restart->boot;
    course->wanted.boot_is_restart = true;
    course->wanted.restart_due_ms = restart->due_ms;
    course->wanted.restart_streak = restart->streak;
    course->wanted.restart_keeps_drives = restart->keeps_drives;
    course->wanted.start_failed = false;
}

static void answer(struct course *course, enum vmm_state state)
{
    course->observed.vmm_answers = true;
    course->observed.vmm_state = state;
}

/* The host, and what is known of the VM, as the operation leaves them. */
static void take(struct course *course, const struct vm_op *op, const struct vm_restart *restart)
{
    struct vm_observed *seen = &course->observed;
    switch (op->type) {
    case VM_OP_MAKE_RUN_DIR:
        seen->run_dir_present = true;
        break;
    case VM_OP_TAKE_UID:
        seen->uid_held = true;
        break;
    case VM_OP_FREE_UID:
        seen->uid_held = false;
        break;
    case VM_OP_STAGE_DRIVES:
        seen->staged_present = true;
        break;
    case VM_OP_READDRESS:
        course->wanted.readdress = false;
        break;
    case VM_OP_ADD_GUEST:
        course->wanted.guest_elements = true;
        course->wanted.ports_changed = false;
        break;
    case VM_OP_SET_PORTS:
        course->wanted.ports_changed = false;
        break;
    case VM_OP_CREATE_TAP:
    case VM_OP_REPAIR_TAP:
        seen->tap_present[op->index] = true;
        seen->tap_found[op->index][0] = '\0';
        break;
    case VM_OP_SET_LIMITS:
        seen->limits_found[0] = '\0';
        break;
    case VM_OP_SPAWN_VMM:
        start_process(course);
        break;
    case VM_OP_AWAIT_VMM:
    case VM_OP_RESUME_VMM:
        answer(course, VMM_STATE_RUNNING);
        break;
    case VM_OP_PAUSE_VMM:
        answer(course, VMM_STATE_PAUSED);
        break;
    case VM_OP_SHUTDOWN_GUEST:
    case VM_OP_KILL_VMM:
        end_process(course);
        break;
    case VM_OP_REMOVE_TAPS:
        set_taps(course, false);
        break;
    case VM_OP_REMOVE_GUEST:
        course->wanted.guest_elements = false;
        break;
    case VM_OP_UNSTAGE_DRIVES:
        seen->staged_present = false;
        break;
    case VM_OP_REMOVE_CGROUP:
        seen->cgroup_present = false;
        break;
    case VM_OP_REMOVE_RUN_DIR:
        seen->run_dir_present = false;
        break;
    case VM_OP_GIVE_UP_RUNNING:
        course->wanted.desired = VM_WANT_STOPPED;
        break;
    case VM_OP_WANT_RESTART:
        want_restart(course, restart);
        break;
    case VM_OP_FORGET:
        course->is_over = true;
        break;
    case VM_OP_PREPARE_VMM:
    case VM_OP_COUNT_:
        break;
    }
}

/* A process that was asked to end before, and has its time. */
static bool waits_for_guest(const struct course *course, const struct vm_plan *plan)
{
    return plan->count == 0 && plan->state == VM_STOPPING && course->observed.process_alive;
}

static void follow(struct course *course, const struct vm_plan *plan, struct vm_forecast *ret)
{
    for (size_t i = 0; i < plan->count && ret->count < ARRAY_LEN(ret->ops); i++) {
        ret->ops[ret->count++] = plan->ops[i];
        ret->asks_guest = ret->asks_guest || plan->ops[i].type == VM_OP_SHUTDOWN_GUEST;
        take(course, &plan->ops[i], &plan->restart);
    }
    if (plan->restart.due_ms > course->wanted.now_ms) {
        ret->restart_due_ms = plan->restart.due_ms;
        course->is_over = true;
    }
}

void vm_forecast_make(const struct vm_wanted *wanted, const struct vm_observed *observed, bool has_cgroups, struct vm_forecast *ret)
{
    struct course course = {.wanted = *wanted, .observed = *observed, .has_cgroups = has_cgroups};
    memset(ret, 0, sizeof *ret);
    for (int round = 0; round < VM_FORECAST_ROUNDS_MAX && !course.is_over; round++) {
        struct vm_plan plan;
        vm_plan_make(&course.wanted, &course.observed, &plan);
        ret->state = plan.state;
        if (waits_for_guest(&course, &plan)) {
            ret->asks_guest = true;
            end_process(&course);
            continue;
        }
        if (plan.count == 0) {
            break;
        }
        follow(&course, &plan, ret);
    }
}
