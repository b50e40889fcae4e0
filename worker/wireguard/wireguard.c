#include "worker/wireguard/wireguard.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/fault.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/border/wanted.h"
#include "worker/memory.h"
#include "worker/conditions.h"
#include "worker/telling.h"
#include "worker/wireguard/endpoints.h"
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES_MAX = 5 };

static void tell(struct wireguard_work *work, const struct wireguard_op *op)
{
    struct worker *worker = work->worker;
    const char *name = wireguard_op_name(op->type);
    const enum event_type type = op->repair ? EVENT_WIREGUARD_REPAIRED : EVENT_WIREGUARD_OPERATION;
    log_event(op->repair ? LOG_WARN : LOG_INFO, event_type_name(type), "operation", name, "found", op->found, NULL);
    tell_event(worker, type, "network", "", "operation", name, "found", op->found, "done", wireguard_op_description(op->type), NULL);
    if (op->repair && repair_backoff_note(&work->memory.backoffs[op->type], clock_monotonic_ms())) {
        log_event(LOG_WARN, event_type_name(EVENT_WIREGUARD_CONTESTED), "operation", name, NULL);
        tell_event(worker, EVENT_WIREGUARD_CONTESTED, "network", "", "operation", name, "found", op->found, "done",
                   "somebody undoes this repair: from now on it waits 1 s, and twice as long each time, up to 60 s", NULL);
    }
    worker_notify(worker, "wireguard");
}

/* Somebody asked for repair, or for something else: what is held against whoever undoes it is forgotten. */
static void follow_epoch(struct wireguard_work *work)
{
    unsigned epoch = atomic_load(&work->worker->repair_epoch);
    if (work->memory.repair_epoch != epoch || work->memory.generation != work->row.generation) {
        work->memory.repair_epoch = epoch;
        memset(work->memory.backoffs, 0, sizeof work->memory.backoffs);
    }
}

static int64_t wait_of(const struct wireguard_memory *memory, const struct wireguard_op *op)
{
    return op->repair ? repair_backoff_wait(&memory->backoffs[op->type], clock_monotonic_ms()) : 0;
}

/* Without the tunnel and its link, nothing behind them can be done. */
static bool is_needed_by_others(enum wireguard_op_type type)
{
    return type == WIREGUARD_OP_START || type == WIREGUARD_OP_RESTORE_ALIAS || type == WIREGUARD_OP_SET_LINK;
}

/* *ret_held: the first that waits, since somebody undoes it. */
static int apply_plan(struct wireguard_work *work, const struct wireguard_op **ret_held, struct error *err)
{
    bool blocked = false;
    if (work->plan.count > 0 && wireguard_record_before(work, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < work->plan.count && !blocked; i++) {
        const struct wireguard_op *op = &work->plan.ops[i];
        const char *name = wireguard_op_name(op->type);
        int64_t wait_ms = wait_of(&work->memory, op);
        if (wait_ms > 0) {
            *ret_held = *ret_held == NULL ? op : *ret_held;
            blocked = is_needed_by_others(op->type);
            (void)queue_add_after(work->worker->queue, "wireguard", wait_ms);
            continue;
        }
        if (fault_before("wireguard", name, err) != 0 || wireguard_apply(work, op->type, err) != 0) {
            return error_prefix(err, "%s", name);
        }
        fault_after("wireguard", name);
        tell(work, op);
    }
    return 0;
}

static void remember_backoffs(struct wireguard_work *work)
{
    struct wireguard_memory *memory = &work->worker->wireguard.memory;
    (void)pthread_mutex_lock(&work->worker->wireguard.lock);
    memcpy(memory->backoffs, work->memory.backoffs, sizeof memory->backoffs);
    memory->repair_epoch = work->memory.repair_epoch;
    (void)pthread_mutex_unlock(&work->worker->wireguard.lock);
}

static void remember(struct wireguard_work *work, bool ready)
{
    struct worker *worker = work->worker;
    (void)pthread_mutex_lock(&worker->wireguard.lock);
    struct wireguard_memory *memory = &worker->wireguard.memory;
    if (ready) {
        memory->set_up_before = true;
        memory->generation = work->row.generation;
        memory->tunnel_index = work->tunnel_index;
    }
    (void)pthread_mutex_unlock(&worker->wireguard.lock);
    atomic_store(&worker->wireguard_active, work->row.wanted || !wireguard_record_is_empty(&work->record));
}

/* Of a tunnel that is gone, why its process ended; of one that is there, what its process says is kept at hand. */
static void add_reason(struct wireguard_work *work)
{
    struct wireguard_observed *seen = &work->observed;
    size_t len = strlen(seen->missing_found);
    if (len > 0 && !work->has_backend) {
        wireguard_process_why(work->worker, seen->missing_found + len, sizeof seen->missing_found - len);
    } else if (work->has_backend && work->backend == WIREGUARD_USERSPACE && work->config.managed) {
        wireguard_process_adopt(work->worker, work->config.interface_name);
    }
}

/* One look, and what it needs. *ret_done: nothing was left to be done. */
static int pass(struct wireguard_work *work, struct worker *worker, const struct wireguard_op **ret_held, bool *ret_done, struct error *err)
{
    if (wireguard_work_init(work, worker, err) != 0) {
        return -1;
    }
    work->claims = true;
    if (wireguard_observe(work, err) != 0) {
        return -1;
    }
    add_reason(work);
    follow_epoch(work);
    wireguard_plan_make(&work->observed, &work->plan);
    int result = apply_plan(work, ret_held, err);
    remember_backoffs(work);
    /* Names are looked up when everything is closed that has to be: that may take its time. */
    bool looked_up = false;
    if (result == 0 && *ret_held == NULL) {
        result = wireguard_endpoints_resolve(work, &looked_up, err);
    }
    *ret_done = work->plan.count == 0 && !looked_up;
    return result;
}

/* A pass after each that changed something: it sees what is new, and that all of it is so. */
static int observe_and_apply(struct wireguard_work *work, struct worker *worker, const struct wireguard_op **ret_held, struct error *err)
{
    bool done = false;
    for (int i = 0; i < PASSES_MAX && !done && *ret_held == NULL; i++) {
        wireguard_work_free(work);
        if (pass(work, worker, ret_held, &done, err) != 0) {
            return -1;
        }
    }
    if (*ret_held != NULL) {
        return 0;
    }
    if (done) {
        wireguard_unclaim(work);
    }
    return done ? wireguard_record_after(work, err)
                : error_set(err, ERR_WIREGUARD_SETUP_FAILED, "it is changed as fast as it is set up: %s", work->plan.ops[0].found);
}

/* What keeps a tunnel that is set up from being of use; "" when nothing does. */
static void add_conditions(struct wireguard_work *work, struct json_build *list, const json_t *old, const struct error *failure)
{
    char unresolved[WIREGUARD_ENDPOINTS_TEXT_MAX];
    enum condition_reason reason = failure == NULL ? REASON_SET_UP : condition_reason_of(failure->code);
    const char *message = failure == NULL ? "tunnel, routes and rules are as they should be" : failure->message;
    bool waits = failure == NULL && work->observed.waits;
    char waiting[160];
    if (waits) {
        (void)snprintf(waiting, sizeof waiting, "the interface %s is not there, or down: whoever owns it has to bring it up%s", work->config.interface_name,
                       work->config.fail_closed ? "; what guests send by it is refused meanwhile" : "");
        reason = REASON_INTERFACE_MISSING;
        message = waiting;
    }
    conditions_add(list, old, CONDITION_READY, failure == NULL && !waits ? CONDITION_TRUE : CONDITION_FALSE, reason, message);
    wireguard_endpoints_unresolved(work, unresolved);
    if (unresolved[0] != '\0') {
        conditions_add(list, old, CONDITION_ENDPOINT_UNRESOLVED, CONDITION_TRUE, REASON_NAME_NOT_FOUND, unresolved);
    }
}

/* A tunnel that is not wanted is gone when all of it was taken back once; what fails later is not about it. */
static bool is_removed(const struct wireguard_work *work, const json_t *old, const struct error *failure)
{
    bool before = json_get_bool(old, "removed", false) && json_get_int(old, "observed_generation", 0) == work->row.generation;
    return !work->row.wanted && (failure == NULL || before);
}

static json_t *fact_json(struct wireguard_work *work, const json_t *old, const struct error *failure)
{
    AUTO_JSON_BUILD conditions = json_build_array();
    add_conditions(work, &conditions, old, failure);
    return json_pack("{s:b, s:I, s:o, s:o}", "removed", (int)is_removed(work, old, failure), "observed_generation", (json_int_t)work->row.generation, "backend",
                     work->has_backend ? json_string(wireguard_backend_name(work->backend)) : json_null(), "conditions", json_build_take(&conditions));
}

static bool was_ready(const json_t *fact)
{
    return condition_has_status(conditions_find(fact, CONDITION_READY), CONDITION_TRUE);
}

static int publish(struct wireguard_work *work, struct worker *worker, const struct error *failure, struct error *err)
{
    AUTO_FREE char *old_text = memory_get(worker->memory, MEMORY_WIREGUARD);
    AUTO_JSON *old = NULL;
    bool changed = false;
    if (old_text == NULL || (old_text[0] != '\0' && json_parse(old_text, strlen(old_text), &old, err) != 0)) {
        return old_text == NULL ? error_oom(err) : -1;
    }
    AUTO_JSON *fact = fact_json(work, old, failure);
    AUTO_FREE char *text = json_text(fact);
    if (text == NULL) {
        return error_oom(err);
    }
    if (border_fact_set(worker->border, FACT_WIREGUARD, text, &changed, err) != 0 || memory_set(worker->memory, MEMORY_WIREGUARD, text, err) != 0) {
        return -1;
    }
    if (changed && was_ready(old) != was_ready(fact)) {
        tell_event(worker, EVENT_WIREGUARD_STATE, "network", "", "ready?", was_ready(fact) ? "true" : "false", "message",
                   json_get_string(conditions_find(fact, CONDITION_READY), "message"), NULL);
        worker_notify(worker, "wireguard");
    } else if (changed) {
        worker_notify(worker, "wireguard");
    }
    return 0;
}

static int observe_apply_and_publish(struct wireguard_work *work, struct worker *worker, struct error *err)
{
    struct error failure = {.code = ERR_INTERNAL};
    const struct wireguard_op *held = NULL;
    int result = observe_and_apply(work, worker, &held, &failure);
    if (result == 0 && held != NULL) {
        (void)error_set(&failure, ERR_WIREGUARD_SETUP_FAILED, "%s; the repair waits, as somebody undoes it", held->found);
    }
    bool ready = result == 0 && held == NULL;
    remember(work, ready);
    if (ready && worker_egress_generation(worker) < work->row.generation) {
        (void)queue_add(worker->queue, "network"); /* which then adds this key */
        return 0;
    }
    int64_t next_ms = work->row.wanted ? wireguard_endpoints_next_ms(work) : -1;
    if (next_ms >= 0) {
        (void)queue_add_after(worker->queue, "wireguard", next_ms);
    }
    if (publish(work, worker, ready ? NULL : &failure, err) != 0) {
        return -1;
    }
    if (result != 0) {
        *err = failure;
    }
    return result;
}

void wireguard_forget(struct worker *worker)
{
    struct wireguard_memory *memory = &worker->wireguard.memory;
    if (memory->process >= 0) {
        (void)close(memory->process);
    }
    if (memory->words >= 0) {
        (void)close(memory->words);
    }
    free(memory->resolved);
    explicit_bzero(worker->seal_key, sizeof worker->seal_key);
}

/* Was there ever anything to do? */
static int is_concerned(struct worker *worker, bool *ret, struct error *err)
{
    AUTO_WIREGUARD_ROW row = {0};
    struct wireguard_record record;
    if (border_wireguard_get(worker->border, &row, err) != 0 || wireguard_record_load(worker->memory, &record, err) != 0) {
        return -1;
    }
    *ret = row.generation > 0 || !wireguard_record_is_empty(&record);
    return 0;
}

/* There is no bridge to lead anybody from. */
static int wait_for_network(struct wireguard_work *work, struct error *err)
{
    struct error failure;
    if (atomic_load(&work->worker->network_state) == NETWORK_UNKNOWN) {
        return 0; /* everything is looked at again when it is known */
    }
    (void)error_set(&failure, ERR_WIREGUARD_SETUP_FAILED, "the network has to be set up first: see GET /network");
    return wireguard_work_init(work, work->worker, err) == 0 ? publish(work, work->worker, &failure, err) : -1;
}

int wireguard_reconcile(struct worker *worker, struct error *err)
{
    struct wireguard_work work = {.worker = worker};
    bool concerned = false;
    wireguard_process_reap(worker);
    if (is_concerned(worker, &concerned, err) != 0) {
        return -1;
    }
    if (!concerned) {
        return 0;
    }
    bool network = atomic_load(&worker->network_state) == NETWORK_READY;
    int result = network ? observe_apply_and_publish(&work, worker, err) : wait_for_network(&work, err);
    wireguard_work_free(&work);
    return result;
}

/* As if *wish were stored. */
static int take_wish(struct wireguard_work *work, const struct wireguard_row *wish, struct error *err)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct wireguard_row row = {.generation = 0};
    record_write(&wireguard_row_record, wish, &bytes);
    if (bytes.failed) {
        return error_oom(err);
    }
    if (record_read(&wireguard_row_record, bytes.data, bytes.len, &row, NULL, NULL, err) != 0) {
        return -1;
    }
    wireguard_row_free(&work->row);
    work->row = row;
    return 0;
}

int wireguard_look(struct worker *worker, const struct wireguard_row *wish, void (*each)(const struct wireguard_op *op, int64_t waits_ms, void *ctx), void *ctx,
                   struct error *err)
{
    struct wireguard_work work = {.worker = worker};
    bool concerned = false;
    if (is_concerned(worker, &concerned, err) != 0) {
        return -1;
    }
    if (!concerned && wish == NULL) {
        return 0;
    }
    int result = wireguard_work_init(&work, worker, err);
    result = result == 0 && wish != NULL ? take_wish(&work, wish, err) : result;
    work.memory.resolved_generation = -1; /* those are the reconciler's */
    result = result == 0 ? wireguard_observe(&work, err) : result;
    if (result == 0) {
        wireguard_plan_make(&work.observed, &work.plan);
        for (size_t i = 0; i < work.plan.count; i++) {
            each(&work.plan.ops[i], wait_of(&work.memory, &work.plan.ops[i]), ctx);
        }
    }
    wireguard_work_free(&work);
    return result;
}
