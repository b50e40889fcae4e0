#include "worker/network.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/fault.h"
#include "core/json.h"
#include "db/events.h"
#include "db/facts.h"
#include "worker/conditions.h"
#include "worker/network_hold.h"
#include "worker/network_work.h"

#include <stdio.h>
#include <string.h>

enum { CONTESTED_TEXT_MAX = 400 };

void network_tell(struct worker *worker, const char *type, const char *vm, const char *operation, const char *found,
                  const char *done)
{
    AUTO_JSON *data = json_pack("{s:s, s:s, s:s}", "operation", operation, "found", found, "done", done);
    AUTO_FREE char *text = json_text(data);
    bool of_vm = vm[0] != '\0';
    log_event(LOG_WARN, type, "vm", vm, "operation", operation, "found", found, NULL);
    if (text != NULL) {
        (void)events_add(worker->db, type, of_vm ? "vm" : "network", vm, text, NULL);
    }
    worker_notify(worker, "network");
}

static void tell(struct network_work *work, const struct network_op *op, struct repair_backoff *backoff)
{
    const char *name = network_op_name(op->type);
    char data[96];
    if (!op->repair) {
        log_event(LOG_INFO, "network.operation", "operation", name, NULL);
        (void)snprintf(data, sizeof data, "{\"operation\":\"%s\"}", name);
        (void)events_add(work->worker->db, "network.operation", "network", "", data, NULL);
        return;
    }
    const char *vm = op->type == NETWORK_OP_ADD_GUESTS ? work->repaired_vm : "";
    network_tell(work->worker, "network.repaired", vm, name, op->found, network_op_description(op->type));
    if (repair_backoff_note(backoff, clock_monotonic_ms())) {
        network_tell(work->worker, "network.contested", vm, name, op->found,
                     "somebody undoes this repair: from now on it waits 1 s, and twice as long each time, up to 60 s");
    }
}

/* Somebody asked for repair: everything that was held against whoever undoes it is forgotten. */
static void follow_epoch(struct network_work *work)
{
    unsigned epoch = atomic_load(&work->worker->repair_epoch);
    if (work->memory.repair_epoch != epoch) {
        work->memory.repair_epoch = epoch;
        memset(work->memory.backoffs, 0, sizeof work->memory.backoffs);
    }
}

/* Guests are cut off while the firewall stands open; told once. */
static int cut_off(struct network_work *work, const struct network_hold *hold, struct error *err)
{
    bool changed = false;
    work->memory.cut_off = hold->cut_off || (work->memory.cut_off && hold->first != NULL);
    if (!hold->cut_off || link_take_down(work->bridge, work->worker->mark, &changed, err) != 0) {
        return hold->cut_off ? -1 : 0;
    }
    if (changed) {
        network_tell(work->worker, "network.cut_off", "", "cut_off", hold->first->found,
                     "the bridge is taken down until the firewall is repaired");
    }
    return 0;
}

/* Applies what need not wait. */
static int apply_plan(struct network_work *work, const struct network_hold *hold, struct error *err)
{
    if (cut_off(work, hold, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < work->plan.count; i++) {
        const struct network_op *op = &work->plan.ops[i];
        const char *name = network_op_name(op->type);
        if (hold->held[i]) {
            continue;
        }
        if (fault_before("network", name, err) != 0 || network_apply(work, op->type, err) != 0) {
            return error_prefix(err, "%s", name);
        }
        fault_after("network", name);
        tell(work, op, &work->memory.backoffs[op->type]);
    }
    return 0;
}

static bool find_contested(const struct network_work *work, enum network_op_type *ret, int64_t *ret_quiet_ms)
{
    int64_t now_ms = clock_monotonic_ms();
    bool found = false;
    for (int i = 0; i < NETWORK_OP_COUNT_; i++) {
        const struct repair_backoff *backoff = &work->memory.backoffs[i];
        int64_t quiet_ms = repair_backoff_quiet_at(backoff) - now_ms;
        if (repair_backoff_is_contested(backoff, now_ms) && (!found || quiet_ms < *ret_quiet_ms)) {
            *ret = (enum network_op_type)i;
            *ret_quiet_ms = quiet_ms;
            found = true;
        }
    }
    return found;
}

static void add_contested(struct network_work *work, json_t *list, const json_t *old)
{
    enum network_op_type type = NETWORK_OP_COUNT_;
    char message[CONTESTED_TEXT_MAX];
    int64_t quiet_ms = 0;
    if (find_contested(work, &type, &quiet_ms)) {
        const struct repair_backoff *backoff = &work->memory.backoffs[type];
        (void)snprintf(message, sizeof message,
                       "somebody undoes what the daemon repairs: '%s' was needed %u times, and waits %lld s before the "
                       "next time; find out who (a firewall manager, a script), or ask for it by POST /drift/repair",
                       network_op_description(type), backoff->repairs, (long long)backoff->delay_ms / 1000);
        conditions_add(list, old, "contested", true, network_op_name(type), message);
    }
}

static void tell_obstacle(const struct network_work *work, enum network_obstacle obstacle, bool there, const char *text)
{
    const char *type = there ? "network.obstacle" : "network.obstacle_gone";
    AUTO_JSON *data = json_pack("{s:s, s:s}", "reason", network_obstacle_reason(obstacle), "message", text);
    AUTO_FREE char *data_text = json_text(data);
    log_event(there ? LOG_WARN : LOG_INFO, type, "reason", network_obstacle_reason(obstacle), "message", text, NULL);
    if (data_text != NULL) {
        (void)events_add(work->worker->db, type, "network", "", data_text, NULL);
    }
}

/* Only those that are there are conditions; coming and going are events. */
static void add_obstacles(struct network_work *work, json_t *list, const json_t *old)
{
    for (int i = 0; i < OBSTACLE_COUNT_; i++) {
        enum network_obstacle obstacle = (enum network_obstacle)i;
        char text[OBSTACLE_TEXT_MAX];
        const char *type = network_obstacle_type(obstacle);
        bool there = network_obstacle_text(obstacle, &work->obstacles, &work->settings, text);
        bool before = conditions_find(old, type) != NULL;
        if (there) {
            conditions_add(list, old, type, true, network_obstacle_reason(obstacle), text);
        }
        if (there != before) {
            tell_obstacle(work, obstacle, there, there ? text : "it is not there any more");
        }
    }
}

/* What guests don't reach, as "first-last", for who explains the firewall. */
static json_t *closed_json(const struct network_work *work)
{
    json_t *list = json_array();
    for (size_t i = 0; i < work->closed_count; i++) {
        char first[IP_TEXT_MAX];
        char last[IP_TEXT_MAX];
        (void)json_array_append_new(list, json_sprintf("%s-%s", ip_addr_format(&work->closed[i].first, first),
                                                       ip_addr_format(&work->closed[i].last, last)));
    }
    return list;
}

static json_t *fact_json(struct network_work *work, const json_t *old, const struct error *failure)
{
    const char *uplink = work->egress.all ? work->egress.tunnel : work->observed.uplink;
    json_t *conditions = json_array();
    conditions_add(conditions, old, "ready", failure == NULL, failure == NULL ? "set_up" : error_code_name(failure->code),
                  failure == NULL ? "bridge, firewall and forwarding are as they should be" : failure->message);
    add_contested(work, conditions, old);
    add_obstacles(work, conditions, old);
    return json_pack("{s:o, s:I, s:o, s:o}", "uplink", uplink[0] != '\0' ? json_string(uplink) : json_null(),
                     "observed_generation", (json_int_t)work->settings.generation, "conditions", conditions, "closed",
                     closed_json(work));
}

static int publish(struct network_work *work, const struct error *failure, struct error *err)
{
    AUTO_FREE char *old_text = NULL;
    AUTO_JSON *old = NULL;
    bool changed = false;
    if (facts_get(work->worker->db, "network", &old_text, NULL) == 0 && old_text != NULL) {
        (void)json_parse(old_text, strlen(old_text), &old, NULL);
    }
    AUTO_JSON *fact = fact_json(work, old, failure);
    AUTO_FREE char *text = json_text(fact);
    if (text == NULL) {
        return error_oom(err);
    }
    if (facts_set(work->worker->db, "network", text, &changed, err) != 0) {
        return -1;
    }
    if (changed) {
        worker_notify(work->worker, "network");
    }
    return 0;
}

/* What was made by this look is there at the next one. */
static void remember(struct network_work *work, bool ready)
{
    struct worker *worker = work->worker;
    enum network_op_type type = NETWORK_OP_COUNT_;
    int64_t quiet_ms = 0;
    struct link_info bridge;
    bool found = false;
    if (ready) {
        work->memory.set_up_before = true;
        work->memory.cut_off = false;
        work->memory.generation = work->settings.generation;
        work->memory.egress = work->egress;
        /* One that is not there yet is followed when it comes. */
        memset(work->memory.uplink, 0, sizeof work->memory.uplink);
        if (work->observed.uplink_present) {
            memcpy(work->memory.uplink, work->observed.uplink, sizeof work->memory.uplink);
        }
        work->memory.closed_digest = ip_ranges_digest(work->closed, work->closed_count);
        if (link_get(work->bridge, &bridge, &found, NULL) == 0 && found &&
            link_alias_has_mark(bridge.alias, worker->mark)) {
            work->memory.bridge_index = bridge.index;
        }
    }
    (void)pthread_mutex_lock(&worker->network.lock);
    worker->network.memory = work->memory;
    if (ready) {
        worker->network.settings = work->settings;
    }
    (void)pthread_mutex_unlock(&worker->network.lock);
    bool contested = find_contested(work, &type, &quiet_ms);
    atomic_store(&worker->contested, contested);
    if (contested) {
        (void)queue_add_after(worker->queue, "network", quiet_ms > 0 ? quiet_ms : 1);
    }
}

static int observe_and_apply(struct network_work *work, struct network_hold *hold, struct error *err)
{
    if (network_observe(work, err) != 0) {
        return -1;
    }
    follow_epoch(work);
    network_plan_make(&work->observed, &work->plan);
    network_hold_make(&work->plan, work->memory.backoffs, clock_monotonic_ms(), hold);
    return apply_plan(work, hold, err);
}

int network_reconcile(struct worker *worker, struct error *err)
{
    struct network_work work;
    struct error failure = {0};
    struct network_hold hold = {.first = NULL};
    network_work_init(&work, worker);
    int result = observe_and_apply(&work, &hold, &failure);
    if (result == 0 && hold.first != NULL) {
        bool of_bridge = hold.first->type == NETWORK_OP_RESTORE_ALIAS || hold.first->type == NETWORK_OP_ENSURE_BRIDGE;
        (void)error_set(&failure, of_bridge ? ERR_BRIDGE_SETUP_FAILED : ERR_FIREWALL_SETUP_FAILED,
                        "%s; the repair waits, as somebody undoes it%s", hold.first->found,
                        hold.cut_off ? ", and the guests are cut off meanwhile" : "");
        (void)queue_add_after(worker->queue, "network", hold.wait_ms);
    }
    bool ready = result == 0 && hold.first == NULL;
    atomic_store(&worker->network_state, ready ? NETWORK_READY : NETWORK_FAILED);
    remember(&work, ready);
    network_observe_obstacles(&work);
    if (publish(&work, ready ? NULL : &failure, err) != 0) {
        result = -1;
    } else if (result != 0) {
        *err = failure;
    }
    network_work_free(&work);
    return result;
}
