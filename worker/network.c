#include "worker/network.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "db/events.h"
#include "db/facts.h"
#include "worker/network_work.h"

#include <stdio.h>
#include <string.h>

static int observe_and_apply(struct network_work *work, struct error *err)
{
    struct network_plan plan;
    if (network_observe(work, err) != 0) {
        return -1;
    }
    network_plan_make(&work->observed, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        if (network_apply(work, plan.ops[i], err) != 0) {
            return error_prefix(err, "%s", network_op_name(plan.ops[i]));
        }
        log_event(LOG_INFO, "network.operation", "operation", network_op_name(plan.ops[i]), NULL);
        char data[96];
        (void)snprintf(data, sizeof data, "{\"operation\":\"%s\"}", network_op_name(plan.ops[i]));
        (void)events_add(work->worker->db, "network.operation", "network", "", data, NULL);
    }
    return 0;
}

static int publish(struct network_work *work, const struct error *failure, struct error *err)
{
    char now[CLOCK_TEXT_MAX];
    AUTO_FREE char *old_text = NULL;
    AUTO_JSON *old = NULL;
    const char *status = failure == NULL ? "true" : "false";
    const char *since = clock_format(clock_wall_ms(), now);
    if (facts_get(work->worker->db, "network", &old_text, NULL) == 0 && old_text != NULL &&
        json_parse(old_text, strlen(old_text), &old, NULL) == 0) {
        const json_t *condition = json_array_get(json_object_get(old, "conditions"), 0);
        const char *old_status = json_get_string(condition, "status");
        if (old_status != NULL && strcmp(old_status, status) == 0) {
            since = json_get_string(condition, "since");
        }
    }
    const char *uplink = work->observed.uplink;
    AUTO_JSON *fact = json_pack(
        "{s:o, s:[{s:s, s:s, s:s, s:s, s:s}]}", "uplink", uplink[0] != '\0' ? json_string(uplink) : json_null(),
        "conditions", "type", "ready", "status", status, "reason",
        failure == NULL ? "set_up" : error_code_name(failure->code), "message",
        failure == NULL ? "bridge, firewall and forwarding are as they should be" : failure->message, "since",
        since != NULL ? since : now);
    AUTO_FREE char *text = json_text(fact);
    bool changed = false;
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

int network_reconcile(struct worker *worker, struct error *err)
{
    struct network_work work = {.worker = worker, .bridge = worker->config->network.bridge};
    struct error failure = {0};
    int result = observe_and_apply(&work, &failure);
    atomic_store(&worker->network_state, result == 0 ? NETWORK_READY : NETWORK_FAILED);
    if (publish(&work, result == 0 ? NULL : &failure, err) != 0) {
        result = -1;
    } else if (result != 0) {
        *err = failure;
    }
    network_work_free(&work);
    return result;
}
