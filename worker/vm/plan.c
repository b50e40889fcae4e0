#include "worker/vm/plan.h"

#include "worker/vm/restart.h"

#include <string.h>

static const struct {
    const char *name;
    const char *description;
} op_table[VM_OP_COUNT_] = {
    [VM_OP_MAKE_RUN_DIR] = {"make_run_dir", "make the runtime directory and the console"},
    [VM_OP_TAKE_UID] = {"take_uid", "take a uid for the VMM"},
    [VM_OP_STAGE_DRIVES] = {"stage_drives", "copy the writable drives"},
    [VM_OP_READDRESS] = {"readdress", "give the VM addresses of the subnet in force"},
    [VM_OP_ADD_GUEST] = {"add_guest", "let the addresses through the firewall"},
    [VM_OP_SET_PORTS] = {"set_ports", "let the published ports lead to the VM"},
    [VM_OP_CREATE_TAP] = {"create_tap", "create the TAP as an isolated port of the bridge"},
    [VM_OP_REPAIR_TAP] = {"repair_tap", "make the TAP an isolated port of the bridge again, with its alias and its guest's MAC"},
    [VM_OP_PREPARE_VMM] = {"prepare_vmm", "write the configuration of the VMM"},
    [VM_OP_SET_LIMITS] = {"set_limits", "set the limits of the VMM's cgroup"},
    [VM_OP_SPAWN_VMM] = {"spawn_vmm", "start the VMM process"},
    [VM_OP_AWAIT_VMM] = {"await_vmm", "wait until the VMM answers"},
    [VM_OP_PAUSE_VMM] = {"pause_vmm", "pause the VMM"},
    [VM_OP_RESUME_VMM] = {"resume_vmm", "resume the VMM"},
    [VM_OP_SHUTDOWN_GUEST] = {"shutdown_guest", "ask the guest to shut down"},
    [VM_OP_KILL_VMM] = {"kill_vmm", "kill the VMM process"},
    [VM_OP_REMOVE_TAPS] = {"remove_taps", "remove the TAPs"},
    [VM_OP_REMOVE_GUEST] = {"remove_guest", "remove the addresses from the firewall"},
    [VM_OP_UNSTAGE_DRIVES] = {"unstage_drives", "remove the copies of the drives"},
    [VM_OP_REMOVE_CGROUP] = {"remove_cgroup", "remove the cgroup"},
    [VM_OP_FREE_UID] = {"free_uid", "give the uid of the VMM back"},
    [VM_OP_REMOVE_RUN_DIR] = {"remove_run_dir", "remove the runtime directory"},
    [VM_OP_GIVE_UP_RUNNING] = {"give_up_running", "note that the VM is not wanted running any more"},
    [VM_OP_WANT_RESTART] = {"want_restart", "note that the VM is to be started again"},
    [VM_OP_FORGET] = {"forget", "free the addresses and forget the VM"},
};

const char *vm_op_name(enum vm_op_type type)
{
    return op_table[type].name;
}

const char *vm_op_description(enum vm_op_type type)
{
    return op_table[type].description;
}

static void plan_op(struct vm_plan *plan, enum vm_op_type type)
{
    plan->ops[plan->count++] = (struct vm_op){.type = type};
}

static bool any_tap(const struct vm_wanted *wanted, const struct vm_observed *observed)
{
    for (size_t i = 0; i < wanted->interface_count; i++) {
        if (observed->tap_present[i]) {
            return true;
        }
    }
    return false;
}

/* What a VM without a process must not have. The order matters: a firewall element leaves after its TAP. */
static void plan_teardown(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    bool taps = any_tap(wanted, observed);
    if (taps) {
        plan_op(plan, VM_OP_REMOVE_TAPS);
    }
    if (taps || wanted->guest_elements) {
        plan_op(plan, VM_OP_REMOVE_GUEST);
    }
    if (observed->staged_present && !plan->restart.keeps_drives) {
        plan_op(plan, VM_OP_UNSTAGE_DRIVES);
    }
    if (observed->cgroup_present) {
        plan_op(plan, VM_OP_REMOVE_CGROUP);
    }
    if (observed->uid_held && !plan->restart.keeps_drives) {
        plan_op(plan, VM_OP_FREE_UID);
    }
}

static void plan_delete(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    plan->state = VM_DELETING;
    if (observed->process_alive) {
        /* The rest in the next round: what a VMM leaves behind is seen only when it is gone. */
        plan_op(plan, VM_OP_KILL_VMM);
        return;
    }
    plan_teardown(wanted, observed, plan);
    if (observed->run_dir_present) {
        plan_op(plan, VM_OP_REMOVE_RUN_DIR);
    }
    plan_op(plan, VM_OP_FORGET);
}

/* A process that shall go: ask, wait, kill. */
static void plan_end(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    int64_t deadline_ms = wanted->shutdown_sent_ms + wanted->stop_timeout_ms;
    bool asked = wanted->shutdown_sent_ms >= 0;
    bool can_ask = observed->vmm_answers && observed->vmm_state == VMM_STATE_RUNNING;
    plan->state = VM_STOPPING;
    if (wanted->stop_timeout_ms == 0) {
        plan_op(plan, VM_OP_KILL_VMM);
    } else if (asked ? wanted->now_ms >= deadline_ms : !can_ask) {
        /* A guest that is paused, or whose VMM does not answer, can't do what it is asked. */
        plan->forced = true;
        plan_op(plan, VM_OP_KILL_VMM);
    } else if (!asked) {
        plan_op(plan, VM_OP_SHUTDOWN_GUEST);
        plan->look_again_ms = wanted->now_ms + (wanted->stop_timeout_ms < VM_ASK_AGAIN_MS ? wanted->stop_timeout_ms : VM_ASK_AGAIN_MS);
    } else {
        int64_t again_ms = wanted->shutdown_last_ms + VM_ASK_AGAIN_MS;
        if (wanted->now_ms >= again_ms && can_ask) {
            plan_op(plan, VM_OP_SHUTDOWN_GUEST);
            again_ms = wanted->now_ms + VM_ASK_AGAIN_MS;
        }
        plan->look_again_ms = again_ms > wanted->now_ms && again_ms < deadline_ms ? again_ms : deadline_ms;
    }
}

/* What the boot before left of the old addresses goes first; it knows nothing of them afterwards. */
static void plan_readdress(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    bool taps = any_tap(wanted, observed);
    if (taps) {
        plan_op(plan, VM_OP_REMOVE_TAPS);
    }
    if (taps || wanted->guest_elements) {
        plan_op(plan, VM_OP_REMOVE_GUEST);
    }
    plan_op(plan, VM_OP_READDRESS);
}

static void plan_start(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    plan->state = VM_STARTING;
    plan_op(plan, VM_OP_MAKE_RUN_DIR);
    plan_op(plan, VM_OP_TAKE_UID);
    if (wanted->readdress) {
        plan_readdress(wanted, observed, plan);
    }
    plan_op(plan, VM_OP_STAGE_DRIVES);
    if (wanted->interface_count > 0) {
        plan_op(plan, VM_OP_ADD_GUEST);
    }
    for (size_t i = 0; i < wanted->interface_count; i++) {
        plan_op(plan, VM_OP_CREATE_TAP);
        plan->ops[plan->count - 1].index = i;
    }
    plan_op(plan, VM_OP_PREPARE_VMM);
    plan_op(plan, VM_OP_SET_LIMITS);
    plan_op(plan, VM_OP_SPAWN_VMM);
    plan_op(plan, VM_OP_AWAIT_VMM);
    if (wanted->desired == VM_WANT_PAUSED) {
        plan_op(plan, VM_OP_PAUSE_VMM);
    }
}

static void plan_ports(const struct vm_wanted *wanted, struct vm_plan *plan)
{
    if (wanted->ports_changed) {
        plan_op(plan, VM_OP_SET_PORTS);
    }
}

/*
 * The VMM runs and does not answer. One that has answered before keeps its guest, whatever its API does: shown as starting, it would be taken
 * for a start that failed, and be killed. What is wanted of it waits until it answers again.
 */
static void plan_silent(const struct vm_wanted *wanted, struct vm_plan *plan)
{
    if (wanted->state == VM_RUNNING || wanted->state == VM_PAUSED) {
        plan->state = wanted->state;
        plan->look_again_ms = wanted->now_ms + VM_ASK_AGAIN_MS;
        plan_ports(wanted, plan);
    } else {
        plan->state = VM_STARTING;
        plan_op(plan, VM_OP_AWAIT_VMM);
    }
}

static void plan_running(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    if (!observed->vmm_answers || observed->vmm_state == VMM_STATE_STARTING) {
        plan_silent(wanted, plan);
        return;
    }
    plan_ports(wanted, plan);
    for (size_t i = 0; i < wanted->interface_count; i++) {
        if (observed->tap_present[i] && observed->tap_found[i][0] != '\0') {
            plan_op(plan, VM_OP_REPAIR_TAP);
            plan->ops[plan->count - 1].index = i;
        }
    }
    if (observed->limits_found[0] != '\0') {
        plan_op(plan, VM_OP_SET_LIMITS);
    }
    bool paused = observed->vmm_state == VMM_STATE_PAUSED;
    plan->state = wanted->desired == VM_WANT_PAUSED ? VM_PAUSED : VM_RUNNING;
    if (wanted->desired == VM_WANT_PAUSED && !paused) {
        plan_op(plan, VM_OP_PAUSE_VMM);
    } else if (wanted->desired == VM_WANT_RUNNING && paused) {
        plan_op(plan, VM_OP_RESUME_VMM);
    }
}

/* It is started again, at once or after a pause, for which it has nothing on the host. */
static void plan_again(const struct vm_wanted *wanted, const struct vm_observed *observed, bool is_reboot, struct vm_plan *plan)
{
    int64_t streak = restart_streak(wanted->boot_is_restart ? wanted->restart_streak : 0, wanted->lasted_ms);
    int64_t delay_ms = restart_delay_ms(streak, is_reboot);
    plan->state = VM_STARTING;
    plan->restart = (struct vm_restart){
        .boot = wanted->boot_wanted + 1, .streak = streak, .due_ms = delay_ms > 0 ? wanted->now_ms + delay_ms : 0, .keeps_drives = is_reboot};
    if (delay_ms > 0) {
        plan_teardown(wanted, observed, plan);
    }
    plan_op(plan, VM_OP_WANT_RESTART);
}

/* More than the longest pause ahead is a time of another boot of the host. */
static bool is_due(const struct vm_wanted *wanted)
{
    int64_t left_ms = wanted->restart_due_ms - wanted->now_ms;
    return !wanted->boot_is_restart || left_ms <= 0 || left_ms > RESTART_DELAY_MAX_MS;
}

static void plan_pause(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    plan->state = VM_STARTING;
    plan->look_again_ms = wanted->restart_due_ms;
    plan->restart.keeps_drives = wanted->restart_keeps_drives;
    plan_teardown(wanted, observed, plan);
}

/* Wanted running or paused, and there is no process. */
static void plan_absent(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    bool done = wanted->boot_done >= wanted->boot_wanted;
    if (!done && !is_due(wanted)) {
        plan_pause(wanted, observed, plan);
        return;
    }
    if (!done || (observed->host_rebooted && wanted->autostart)) {
        plan_start(wanted, observed, plan);
        return;
    }
    /* Without an end that was found, the VM ended with the daemon, and is still wanted. */
    if (wanted->was_running ? restart_is_wanted(wanted->restart_policy, wanted->exit_reason) : wanted->restart_policy != VM_RESTART_NEVER) {
        plan_again(wanted, observed, wanted->was_running && wanted->exit_reason == EXIT_GUEST_REBOOT, plan);
        return;
    }
    plan->state = VM_STOPPED;
    plan->ended_by_itself = wanted->was_running;
    plan_teardown(wanted, observed, plan);
    plan_op(plan, VM_OP_GIVE_UP_RUNNING);
}

/* The wanted boot failed. One that a client asked for is tried once; one of ours again and again. */
static void plan_failed(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *plan)
{
    if (wanted->boot_is_restart && wanted->restart_policy != VM_RESTART_NEVER) {
        plan_again(wanted, observed, false, plan);
        return;
    }
    plan->state = VM_FAILED;
    plan_teardown(wanted, observed, plan);
}

static bool is_halted(const struct vm_wanted *wanted, const struct vm_observed *observed)
{
    return observed->process_alive && observed->guest_halted_ms > 0 && wanted->now_ms >= observed->guest_halted_ms + VM_HALT_GRACE_MS;
}

void vm_plan_make(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->look_again_ms = -1;
    bool wanted_process = wanted->desired != VM_WANT_STOPPED && !wanted->start_failed;
    if (wanted->deleting) {
        plan_delete(wanted, observed, ret);
    } else if (observed->guest_gone || is_halted(wanted, observed)) {
        ret->state = VM_STOPPING;
        plan_op(ret, VM_OP_KILL_VMM);
        ret->guest_gone = true;
    } else if (wanted->start_failed && observed->process_alive) {
        ret->state = VM_FAILED;
        plan_op(ret, VM_OP_KILL_VMM);
    } else if (observed->process_alive && wanted_process && observed->process_boot == wanted->boot_wanted) {
        plan_running(wanted, observed, ret);
    } else if (observed->process_alive) {
        plan_end(wanted, observed, ret);
    } else if (wanted_process) {
        plan_absent(wanted, observed, ret);
    } else if (wanted->start_failed) {
        plan_failed(wanted, observed, ret);
    } else {
        ret->state = VM_STOPPED;
        plan_teardown(wanted, observed, ret);
    }
    if (observed->process_alive && observed->guest_halted_ms > 0 && !ret->guest_gone) {
        int64_t over_ms = observed->guest_halted_ms + VM_HALT_GRACE_MS;
        ret->look_again_ms = ret->look_again_ms < 0 || over_ms < ret->look_again_ms ? over_ms : ret->look_again_ms;
    }
}
