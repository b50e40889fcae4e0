#include "worker/vm.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "db/network.h"
#include "worker/vm_work.h"

#include <stdio.h>
#include <string.h>

/* A look leads to a plan, its application to another look; a VM that needs more rounds than this is queued again. */
enum {
    ROUNDS_MAX = 6,
    NETWORK_PATIENCE_MS = 3000, /* of a start: the network is tried again 50, 150, 350, 750 and 1550 ms after it failed */
    UNWATCHED_LOOK_MS = 60000, /* at a guest whose end the kernel can't tell (before Linux 6.9): its VMM may hang then */
};

static void log_failure(const struct vm_work *work)
{
    log_event(LOG_WARN, "vm.operation_failed", "vm", work->row.id, "code", error_code_name(work->error.code), "message",
              work->error.message, NULL);
}

static bool plan_spawns(const struct vm_plan *plan)
{
    return plan->count > 0 && plan->ops[0].type == VM_OP_MAKE_RUN_DIR;
}

static int look(struct vm_work *work, struct error *err)
{
    if (vm_observe(work, err) != 0) {
        return -1;
    }
    vm_work_want(work);
    vm_plan_make(&work->wanted, &work->observed, &work->plan);
    if (!plan_spawns(&work->plan)) {
        work->runtime->network_wait_ms = 0;
    }
    vm_drift_hold(work);
    return 0;
}

/* Between a change of the network's settings and its being set up that way, nothing is started that would need them. */
static int network_is_behind(struct vm_work *work, bool *ret, struct error *err)
{
    struct network_settings wanted;
    if (work->row.interface_count == 0) {
        return 0;
    }
    if (network_settings_load(work->worker->db, work->worker->config, &wanted, err) != 0) {
        return -1;
    }
    *ret = wanted.generation != worker_network(work->worker).generation;
    return 0;
}

/*
 * Somebody may have flushed the ruleset just now, or deleted the bridge: a start that meets a network which fails, or fails in it, does not
 * give up before it had the time to be repaired.
 */
static bool network_may_come_back(struct vm_work *work)
{
    struct runtime *runtime = work->runtime;
    int64_t now_ms = clock_monotonic_ms();
    if (runtime->network_wait_ms == 0) {
        runtime->network_wait_ms = now_ms;
        (void)queue_add(work->worker->queue, "network");
    }
    return now_ms - runtime->network_wait_ms < NETWORK_PATIENCE_MS;
}

static int await_network(struct vm_work *work, bool *ret_later, struct error *err)
{
    *ret_later = network_may_come_back(work);
    if (!*ret_later) {
        return error_set(err, ERR_BRIDGE_SETUP_FAILED, "the network is not set up; GET /network says why");
    }
    work->plan.look_again_ms = work->runtime->network_wait_ms + NETWORK_PATIENCE_MS;
    return 0;
}

/* A start needs a VMM; *ret_later when it isn't known yet which, or the network isn't there yet. */
static int prepare_start(struct vm_work *work, bool *ret_later, struct error *err)
{
    bool known = false;
    enum network_state network = atomic_load(&work->worker->network_state);
    *ret_later = network == NETWORK_UNKNOWN;
    if (*ret_later) {
        return 0;
    }
    if (network == NETWORK_FAILED && work->row.interface_count > 0) {
        return await_network(work, ret_later, err);
    }
    if (network_is_behind(work, ret_later, err) != 0 || *ret_later) {
        return *ret_later ? 0 : -1;
    }
    memset(&work->choice, 0, sizeof work->choice);
    if (host_facts_choose(&work->worker->facts, work->row.vmm, &work->choice, &known, err) != 0) {
        return -1;
    }
    *ret_later = !known;
    work->choice_known = known;
    work->runtime->timing_count = 0;
    work->runtime->start_us = clock_monotonic_us();
    return 0;
}

/* A process that was started, perhaps by a daemon that died meanwhile, and never answered yet. */
static bool plan_awaits_first_answer(const struct vm_work *work)
{
    return work->plan.count > 0 && work->plan.ops[0].type == VM_OP_AWAIT_VMM &&
           (work->row.state == VM_STARTING || work->row.state == VM_CREATING);
}

/* The wanted boot is tried once: what was set up is taken back, and the VM stays failed until somebody wants something else. */
static void fail_start(struct vm_work *work)
{
    work->row.boot_done = work->row.boot_wanted;
    work->start_failed = true;
    work->runtime->observed = false;
}

static int apply_plan(struct vm_work *work, struct error *err)
{
    for (size_t i = 0; i < work->plan.count; i++) {
        if (vm_apply(work, &work->plan.ops[i], err) != 0) {
            log_failure(work);
            return -1;
        }
        if (work->runtime == NULL) {
            return 0;
        }
        if (work->plan.ops[i].type == VM_OP_REPAIR_TAP) {
            vm_drift_note(work, &work->plan.ops[i]);
        } else if (work->plan.ops[i].type == VM_OP_SET_LIMITS && work->plan.state != VM_STARTING) {
            vm_drift_note_limits(work);
        }
    }
    return 0;
}

/* The VMM is gone and nobody asked for it: a clean end is a stop, everything else a failure. */
static enum vm_state ended_state(struct vm_work *work)
{
    if (work->observed.host_rebooted || (work->exit_noted && work->runtime->exit_status == 0)) {
        return VM_STOPPED;
    }
    if (!work->exit_noted) {
        work->exit_noted = true;
        work->exit_tier = "lost";
        (void)snprintf(work->exit_message, sizeof work->exit_message,
                       "the VMM ended while the daemon did not run: how is not known");
    }
    (void)error_set(&work->error, ERR_VMM_FAILED, "%s", work->exit_message);
    work->failed = true;
    return VM_FAILED;
}

static int run_plan(struct vm_work *work, bool *ret_done, struct error *err)
{
    enum vm_state state = work->plan.state;
    bool spawns = plan_spawns(&work->plan);
    bool later = false;
    int result = spawns ? prepare_start(work, &later, err) : 0;
    if (later) {
        work->keep_record = true;
        *ret_done = true;
        return 0;
    }
    if (result != 0) {
        work->failed = true;
        work->error = *err;
    } else {
        if (state != work->row.state && (state == VM_STARTING || state == VM_STOPPING || state == VM_DELETING) &&
            vm_report(work, state, err) != 0) {
            return -1;
        }
        result = apply_plan(work, err);
    }
    if (result != 0 && spawns && work->network_failed && network_may_come_back(work)) {
        return -1;
    }
    if (result != 0 && (spawns || plan_awaits_first_answer(work))) {
        fail_start(work);
        return 0;
    }
    *ret_done = work->runtime == NULL;
    return result;
}

static enum vm_state settled_state(struct vm_work *work)
{
    bool stays_failed = work->row.state == VM_FAILED && work->row.boot_done >= work->row.boot_wanted;
    if (work->failed || (stays_failed && work->plan.state == VM_STOPPED)) {
        return VM_FAILED;
    }
    return work->plan.state;
}

static int reconcile(struct vm_work *work, struct error *err)
{
    bool done = false;
    enum vm_state ended = VM_STATE_COUNT_;
    for (int round = 0; round < ROUNDS_MAX && !done; round++) {
        if (look(work, err) != 0) {
            return -1;
        }
        if (work->plan.ended_by_itself) {
            ended = ended_state(work);
        }
        if (work->plan.count == 0) {
            break;
        }
        if (run_plan(work, &done, err) != 0) {
            work->unfinished = true;
            (void)vm_report(work, work->start_failed ? VM_FAILED : work->row.state, NULL);
            return -1;
        }
    }
    if (work->runtime == NULL) {
        return 0;
    }
    if (work->plan.look_again_ms < 0 && work->observed.guest_unwatched) {
        work->plan.look_again_ms = clock_monotonic_ms() + UNWATCHED_LOOK_MS;
    }
    vm_drift_settle(work);
    if (work->plan.look_again_ms >= 0) {
        char key[QUEUE_KEY_MAX];
        int64_t delay_ms = work->plan.look_again_ms - clock_monotonic_ms();
        (void)snprintf(key, sizeof key, "vm/%s", work->row.id);
        (void)queue_add_after(work->worker->queue, key, delay_ms > 1 ? delay_ms : 1);
    }
    return vm_report(work, ended != VM_STATE_COUNT_ ? ended : settled_state(work), err);
}

int vm_reconcile(struct worker *worker, const char *id, struct error *err)
{
    struct vm_work work = {.worker = worker};
    bool found = false;
    int result = vms_get(worker->db, id, &work.row, &found, err);
    if (result == 0 && found) {
        (void)snprintf(work.dir, sizeof work.dir, "%s/vm/%s", worker->config->run_dir, id);
        work.runtime = runtimes_get(worker->runtimes, work.row.uid, id);
        result = work.runtime == NULL ? error_oom(err) : json_parse(work.row.observed, strlen(work.row.observed), &work.old, err);
        if (result == 0) {
            result = reconcile(&work, err);
        }
    }
    json_decref(work.old);
    vm_row_free(&work.row);
    return result;
}
