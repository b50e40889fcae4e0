#include "worker/network/network.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/fault.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/border/wanted.h"
#include "worker/memory.h"
#include "worker/conditions.h"
#include "worker/network/flows.h"
#include "worker/network/hold.h"
#include "worker/network/work.h"
#include "worker/telling.h"

#include <stdio.h>
#include <string.h>

enum { CONTESTED_TEXT_MAX = 400 };

void network_tell(struct worker *worker, enum event_type type, const char *vm, const char *operation, const char *found, const char *done)
{
    bool of_vm = vm[0] != '\0';
    log_event(LOG_WARN, event_type_name(type), "vm", vm, "operation", operation, "found", found, NULL);
    tell_event(worker, type, of_vm ? "vm" : "network", vm, "operation", operation, "found", found, "done", done, NULL);
}

static void tell(struct network_work *work, const struct network_op *op, struct repair_backoff *backoff)
{
    const char *name = network_op_name(op->type);
    if (!op->repair) {
        log_event(LOG_INFO, event_type_name(EVENT_NETWORK_OPERATION), "operation", name, NULL);
        tell_event(work->worker, EVENT_NETWORK_OPERATION, "network", "", "operation", name, NULL);
        return;
    }
    const char *vm = op->type == NETWORK_OP_ADD_GUESTS ? work->repaired_vm : "";
    network_tell(work->worker, EVENT_NETWORK_REPAIRED, vm, name, op->found, network_op_description(op->type));
    if (repair_backoff_note(backoff, clock_monotonic_ms())) {
        network_tell(work->worker, EVENT_NETWORK_CONTESTED, vm, name, op->found,
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
        network_tell(work->worker, EVENT_NETWORK_CUT_OFF, "", "cut_off", hold->first->found, "the bridge is taken down until the firewall is repaired");
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
        work->memory.flows_due |= network_flows_due(op->type, op->repair);
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

static void add_contested(struct network_work *work, struct json_build *list, const json_t *old)
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
        conditions_add(list, old, CONDITION_CONTESTED, CONDITION_TRUE, REASON_CONTESTED, message);
    }
}

static void tell_obstacle(const struct network_work *work, enum network_obstacle obstacle, bool there, const char *text)
{
    const enum event_type type = there ? EVENT_NETWORK_OBSTACLE : EVENT_NETWORK_OBSTACLE_GONE;
    log_event(there ? LOG_WARN : LOG_INFO, event_type_name(type), "reason", condition_reason_name(network_obstacle_reason(obstacle)), "message", text, NULL);
    tell_event(work->worker, type, "network", "", "reason", condition_reason_name(network_obstacle_reason(obstacle)), "message", text, NULL);
}

/* Only those that are there are conditions; coming and going are events. */
static void add_obstacles(struct network_work *work, struct json_build *list, const json_t *old)
{
    for (int i = 0; i < OBSTACLE_COUNT_; i++) {
        enum network_obstacle obstacle = (enum network_obstacle)i;
        char text[OBSTACLE_TEXT_MAX];
        const enum condition_type type = network_obstacle_type(obstacle);
        bool there = network_obstacle_text(obstacle, &work->obstacles, &work->settings, text);
        bool before = conditions_find(old, type) != NULL;
        if (there) {
            conditions_add(list, old, type, CONDITION_TRUE, network_obstacle_reason(obstacle), text);
        }
        if (there != before) {
            tell_obstacle(work, obstacle, there, there ? text : "it is not there any more");
        }
    }
}

/* What guests don't reach, as "first-last", for who explains the firewall. */
static json_t *closed_json(const struct network_work *work)
{
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < work->closed_count; i++) {
        char first[IP_TEXT_MAX];
        char last[IP_TEXT_MAX];
        json_build_add(&list, json_sprintf("%s-%s", ip_addr_format(&work->closed[i].first, first), ip_addr_format(&work->closed[i].last, last)));
    }
    return json_build_take(&list);
}

static json_t *uplinks_json(const struct network_work *work)
{
    const char *names[NETWORK_UPLINKS_MAX];
    size_t count = network_uplinks(work, names);
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < count; i++) {
        json_build_add(&list, json_string(names[i]));
    }
    return json_build_take(&list);
}

static json_t *fact_json(struct network_work *work, const json_t *old, const struct error *failure)
{
    const char *uplink = work->egress.all ? work->egress.tunnel : work->observed.uplinks.count > 0 ? work->observed.uplinks.items[0] : "";
    AUTO_JSON_BUILD conditions = json_build_array();
    conditions_add(&conditions, old, CONDITION_READY, failure == NULL ? CONDITION_TRUE : CONDITION_FALSE,
                   failure == NULL ? REASON_SET_UP : condition_reason_of(failure->code),
                   failure == NULL ? "bridge, firewall and forwarding are as they should be" : failure->message);
    add_contested(work, &conditions, old);
    add_obstacles(work, &conditions, old);
    return json_pack("{s:o, s:o, s:I, s:o, s:o}", "uplink", uplink[0] != '\0' ? json_string(uplink) : json_null(), "uplinks", uplinks_json(work),
                     "observed_generation", (json_int_t)work->settings.generation, "conditions", json_build_take(&conditions), "closed", closed_json(work));
}

static int publish(struct network_work *work, const struct error *failure, struct error *err)
{
    AUTO_FREE char *old_text = memory_get(work->worker->memory, MEMORY_NETWORK);
    AUTO_JSON *old = NULL;
    bool changed = false;
    /* Without it every `since` would be now, and every obstacle news. */
    if (old_text == NULL || (old_text[0] != '\0' && json_parse(old_text, strlen(old_text), &old, err) != 0)) {
        return old_text == NULL ? error_oom(err) : -1;
    }
    AUTO_JSON *fact = fact_json(work, old, failure);
    AUTO_FREE char *text = json_text(fact);
    if (text == NULL) {
        return error_oom(err);
    }
    if (border_fact_set(work->worker->border, FACT_NETWORK, text, &changed, err) != 0 || memory_set(work->worker->memory, MEMORY_NETWORK, text, err) != 0) {
        return -1;
    }
    if (changed) {
        worker_notify(work->worker, "network");
    }
    return 0;
}

static void remember_uplinks(struct network_work *work)
{
    work->memory.uplinks = (struct interface_names){.count = 0};
    for (size_t i = 0; i < work->observed.uplinks.count; i++) {
        const struct link_info *link = network_link(work, work->observed.uplinks.items[i]);
        if (link != NULL) {
            work->memory.uplink_indices[work->memory.uplinks.count] = link->index;
            (void)interface_names_add(&work->memory.uplinks, link->name);
        }
    }
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
        char subnet[CIDR_TEXT_MAX];
        claim_drop_others(worker->claims, CLAIM_SUBNET, ipv4_net_format(work->settings.subnet, subnet));
        work->memory.set_up_before = true;
        work->memory.cut_off = false;
        work->memory.generation = work->settings.generation;
        work->memory.egress = work->egress;
        /* One that is not there yet is followed when it comes. */
        remember_uplinks(work);
        work->memory.closed_digest = ip_ranges_digest(work->closed, work->closed_count);
        if (link_get(work->bridge, &bridge, &found, NULL) == 0 && found && link_alias_has_mark(bridge.alias, worker->mark)) {
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

/* At the first look, too: a daemon that was killed may have changed the firewall, and not come to the flows. */
static int cut_flows(struct network_work *work, struct error *err)
{
    if (!work->memory.set_up_before) {
        work->memory.flows_due |= NETWORK_FLOWS_JUDGE;
    }
    if (work->memory.flows_due == 0) {
        return 0;
    }
    if (fault_before("network", "cut_flows", err) != 0 || network_flows_cut(work, err) != 0) {
        return error_prefix(err, "cut_flows");
    }
    fault_after("network", "cut_flows");
    return 0;
}

/* The settings may have changed since the start: a subnet that another daemon has taken meanwhile is not touched. */
static int claim_subnet(const struct network_work *work, struct error *err)
{
    char subnet[CIDR_TEXT_MAX];
    return claim_take(work->worker->claims, CLAIM_SUBNET, ipv4_net_format(work->settings.subnet, subnet), 0, err);
}

static int observe_and_apply(struct network_work *work, struct network_hold *hold, struct error *err)
{
    if (network_observe(work, err) != 0 || claim_subnet(work, err) != 0) {
        return -1;
    }
    follow_epoch(work);
    network_plan_make(&work->observed, &work->plan);
    network_hold_make(&work->plan, work->memory.backoffs, clock_monotonic_ms(), hold);
    int result = apply_plan(work, hold, err);
    /* Also when a later operation failed: what is done holds. */
    struct error why = {0};
    if (cut_flows(work, &why) != 0 && result == 0) {
        *err = why;
        result = -1;
    }
    return result;
}

int network_reconcile(struct worker *worker, struct error *err)
{
    struct network_work work;
    struct error failure = {0};
    struct network_hold hold = {.first = NULL};
    network_work_init(&work, worker);
    int result = observe_and_apply(&work, &hold, &failure);
    if (result == 0 && hold.first == NULL && work.asked_early) {
        remember(&work, true);
        network_work_free(&work);
        network_work_init(&work, worker);
        result = observe_and_apply(&work, &hold, &failure);
    }
    if (result == 0 && hold.first != NULL) {
        bool of_bridge = hold.first->type == NETWORK_OP_RESTORE_ALIAS || hold.first->type == NETWORK_OP_ENSURE_BRIDGE;
        (void)error_set(&failure, of_bridge ? ERR_BRIDGE_SETUP_FAILED : ERR_FIREWALL_SETUP_FAILED, "%s; the repair waits, as somebody undoes it%s",
                        hold.first->found, hold.cut_off ? ", and the guests are cut off meanwhile" : "");
        (void)queue_add_after(worker->queue, "network", hold.wait_ms);
    }
    if (result != 0 && failure.code == ERR_UNAVAILABLE && atomic_load(&worker->network_state) != NETWORK_UNKNOWN) {
        /* There is no keeper just now, who says what is wanted: that tells nothing about the network, and what was done of it stays known. */
        remember(&work, false);
        network_work_free(&work);
        *err = failure;
        return -1;
    }
    bool ready = result == 0 && hold.first == NULL;
    if (atomic_exchange(&worker->network_state, ready ? NETWORK_READY : NETWORK_FAILED) != NETWORK_READY && ready) {
        log_event(LOG_INFO, "network.ready", "bridge", work.bridge, "uplink", work.observed.uplinks.count > 0 ? work.observed.uplinks.items[0] : NULL, NULL);
    }
    remember(&work, ready);
    network_observe_obstacles(&work, ready);
    if (publish(&work, ready ? NULL : &failure, err) != 0) {
        result = -1;
    } else if (result != 0) {
        *err = failure;
    }
    network_work_free(&work);
    return result;
}
