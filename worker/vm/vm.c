#include "worker/vm/vm.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "worker/border/wanted.h"
#include "worker/host_facts.h"
#include "worker/quarantine.h"
#include "worker/vm/boot.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/log.h"
#include "worker/vm/row_copy.h"
#include "worker/vm/work.h"

#include <stdio.h>
#include <string.h>

/* A look leads to a plan, its application to another look; a VM that needs more rounds than this is queued again. */
enum {
    ROUNDS_MAX = 6,
    NETWORK_PATIENCE_MS = 3000, /* of a start: the network is tried again 50, 150, 350, 750 and 1550 ms after it failed */
    CLAIMED_LOOK_MS = 10000,    /* at a row whose number is another VM's */
    UNWATCHED_LOOK_MS = 60000,  /* at a guest whose end the kernel can't tell (before Linux 6.9): its VMM may hang then */
};

static void log_failure(const struct vm_work *work)
{
    log_event(LOG_WARN, "vm.operation_failed", "vm", work->row.id, "code", error_code_name(work->error.code), "message", work->error.message, NULL);
}

static bool plan_spawns(const struct vm_plan *plan)
{
    return plan->count > 0 && plan->ops[0].type == VM_OP_MAKE_RUN_DIR;
}

static int observe_and_plan(struct vm_work *work, struct error *err)
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
    if (border_network_settings(work->worker->border, work->worker->config, &wanted, err) != 0) {
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
    (void)host_facts_refresh(work->worker, NULL); /* what is not stored now is stored by the next look */
    if (host_facts_choose(&work->worker->facts, vm_vmm_name(work->row.config.vmm), &work->choice, &known, err) != 0) {
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
    return work->plan.count > 0 && work->plan.ops[0].type == VM_OP_AWAIT_VMM && (work->row.state == VM_STARTING || work->row.state == VM_CREATING);
}

/* The wanted boot is tried once: what was set up is taken back, and the VM stays failed until somebody wants something else. */
static void fail_start(struct vm_work *work)
{
    work->row.boot_done = work->row.boot_wanted;
    work->start_failed = true;
    work->runtime->observed = false;
}

/* What was looked at once as it is wanted now, and is otherwise, was changed by somebody else than a client. */
static bool is_as_wanted_before(const struct vm_work *work)
{
    return work->row.observed_generation >= work->row.generation;
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
        if (work->plan.ops[i].type == VM_OP_AWAIT_VMM && work->runtime->answered && !work->runtime->start_told) {
            work->runtime->start_told = true; /* one that answers before its guest runs is waited for again */
            vm_log_started(work);
        } else if (work->plan.ops[i].type == VM_OP_REPAIR_TAP) {
            vm_drift_note(work, &work->plan.ops[i]);
        } else if (work->plan.ops[i].type == VM_OP_SET_LIMITS && work->plan.state != VM_STARTING && is_as_wanted_before(work)) {
            vm_drift_note_limits(work);
        }
    }
    return 0;
}

/* The VMM is gone and nobody asked for it: a clean end is a stop, everything else a failure. */
static enum vm_state ended_state(struct vm_work *work)
{
    if (!work->exit_noted || exit_reason_is_clean(work->exit.reason)) {
        return VM_STOPPED;
    }
    (void)error_set(&work->error, work->exit.reason == EXIT_GUEST_PANIC ? ERR_GUEST_PANICKED : ERR_VMM_FAILED, "%s", work->exit.message);
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
        if (state != work->row.state && (state == VM_STARTING || state == VM_STOPPING || state == VM_DELETING) && vm_report(work, state, err) != 0) {
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
        if (observe_and_plan(work, err) != 0) {
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

/*
 * A VM whose row is damaged can be deleted all the same: by what was kept of it when it was started; without that it was never started, and only its
 * row has to go. `why`: what is wrong with the row, which it stays when it shall not go.
 */
static int take_over_damaged(struct worker *worker, const char *id, struct vm_row *ret, bool *ret_found, struct error *why)
{
    struct message_vm_wish wish;
    struct message_vm_restore copy;
    struct error err = {0};
    if (border_vm_wish(worker->border, id, &wish, &err) != 0 || wish.uid == 0 || !wish.deleting) {
        return -1;
    }
    vm_row_copy_read(worker, id, &copy);
    *ret_found = copy.count == 1 && copy.items[0].uid == wish.uid;
    if (*ret_found) {
        *ret = copy.items[0];
        ret->deleting = true;
        memset(&copy.items[0], 0, sizeof copy.items[0]);
    }
    vm_row_copy_free(&copy);
    if (*ret_found) {
        return 0;
    }
    const struct vm_row row = {.uid = wish.uid, .id = (char *)(uintptr_t)id};
    return border_vm_forget(worker->border, &row, why);
}

/* What is remembered of the VM with this id, whose row is gone, or is another VM's by now. Its key is worked on, so nobody else has the entry. */
static void forget_runtime(struct worker *worker, const char *id)
{
    struct runtime *runtime = runtimes_of_id(worker->runtimes, id);
    if (runtime != NULL) {
        const struct vm_work of_before = {.worker = worker, .runtime = runtime};
        struct vm_work work = of_before;
        console_hub_remove(worker->consoles, runtime->uid);
        vm_drift_forget(&work);
        runtimes_remove(worker->runtimes, runtime->uid);
    }
}

/*
 * The number of a row is believed once: while another VM is known by it, the row is damaged. Whether that other one still is what it was, its own key
 * finds out; this one is looked at again then.
 */
static int take_runtime(struct vm_work *work, const char *id, struct error *why)
{
    struct worker *worker = work->worker;
    char other[64];
    char key[QUEUE_KEY_MAX];
    work->runtime = runtimes_get(worker->runtimes, work->row.uid, id, other, why);
    if (work->runtime == NULL && strcmp(other, id) == 0) {
        forget_runtime(worker, id); /* of a VM of the same name */
        work->runtime = runtimes_get(worker->runtimes, work->row.uid, id, other, why);
    }
    if (work->runtime == NULL && other[0] != '\0') {
        (void)snprintf(key, sizeof key, "vm/%s", other);
        (void)queue_add(worker->queue, key);
        (void)snprintf(key, sizeof key, "vm/%s", id);
        (void)queue_add_after(worker->queue, key, CLAIMED_LOOK_MS);
    }
    return work->runtime != NULL ? 0 : -1;
}

static int find_row(struct vm_work *work, const char *id, bool *ret_found, struct error *why)
{
    int result = border_vm_get(work->worker->border, id, &work->row, ret_found, why);
    if (result == 0 && *ret_found) {
        const struct vm_row *row = &work->row;
        work->stored = (struct vm_stored){true, row->state, row->observed_generation, row->boot_done};
        result = take_runtime(work, id, why);
    }
    if (result == 0 || why->code != ERR_ROW_DAMAGED) {
        return result;
    }
    vm_row_free(&work->row);
    work->stored.known = false;
    *ret_found = false;
    if (take_over_damaged(work->worker, id, &work->row, ret_found, why) != 0) {
        return -1;
    }
    return *ret_found ? take_runtime(work, id, why) : 0;
}

/* What was observed before is only compared with: what can't be read is observed anew. */
static int read_old(struct vm_work *work, struct error *err)
{
    if (json_parse(work->row.observed, strlen(work->row.observed), &work->old, NULL) == 0 && json_is_object(work->old)) {
        return 0;
    }
    json_decref(work->old);
    work->old = json_object();
    return work->old != NULL ? 0 : error_oom(err);
}

int vm_reconcile(struct worker *worker, const char *id, struct error *err)
{
    struct vm_work work = {.worker = worker};
    bool found = false;
    struct error why = {0};
    int result = find_row(&work, id, &found, &why);
    if (result != 0 && why.code == ERR_ROW_DAMAGED) {
        vm_row_free(&work.row);
        return quarantine_vm(worker, id, &why, err);
    }
    if (result != 0) {
        *err = why;
    }
    if (result == 0 && !found) {
        forget_runtime(worker, id);
    }
    if (result == 0 && found) {
        (void)snprintf(work.dir, sizeof work.dir, "%s/vm/%s", worker->config->run_dir, id);
        result = read_old(&work, err) == 0 ? reconcile(&work, err) : -1;
    }
    boot_plan_free(work.boot);
    json_decref(work.old);
    vm_row_free(&work.row);
    return result;
}
