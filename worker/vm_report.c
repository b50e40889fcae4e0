/* What the worker found of a VM, as the JSON that the API shows (openapi.yaml, components/schemas/Vm), and the event of a new state. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "db/events.h"
#include "host/listener.h"
#include "worker/console_hub.h"
#include "worker/vm_work.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const char *old_since(const json_t *old, const char *type, const char *status, const char *reason)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(json_object_get(old, "conditions"), i, item)
    {
        const char *t = json_get_string(item, "type");
        const char *s = json_get_string(item, "status");
        const char *r = json_get_string(item, "reason");
        if (t != NULL && s != NULL && r != NULL && strcmp(t, type) == 0 && strcmp(s, status) == 0 &&
            strcmp(r, reason) == 0) {
            return json_get_string(item, "since");
        }
    }
    return NULL;
}

static void add_condition(struct vm_work *work, json_t *list, const char *type, const char *status, const char *reason,
                          const char *message)
{
    char now[CLOCK_TEXT_MAX];
    const char *since = old_since(work->old, type, status, reason);
    (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status, "reason",
                                                reason, "message", message, "since",
                                                since != NULL ? since : clock_format(clock_wall_ms(), now)));
}

static void process_condition(struct vm_work *work, json_t *list)
{
    const struct vm_observed *seen = &work->observed;
    if (!seen->process_alive) {
        add_condition(work, list, "process", "false", "no_process", "the VM has no VMM process");
    } else if (!seen->vmm_answers) {
        add_condition(work, list, "process", "unknown", "no_answer", "the VMM process runs, but does not answer");
    } else {
        add_condition(work, list, "process", "true", "running", "the VMM process runs and answers");
    }
}

static void network_condition(struct vm_work *work, json_t *list)
{
    const struct vm_observed *seen = &work->observed;
    if (!seen->process_alive || work->row.interface_count == 0) {
        return;
    }
    for (size_t i = 0; i < work->row.interface_count; i++) {
        if (!seen->tap_present[i]) {
            char message[200];
            (void)snprintf(message, sizeof message,
                           "the TAP %s of %.32s was removed by someone else; a running VMM can't be given a new one: reboot the VM",
                           work->row.interfaces[i].tap, work->row.interfaces[i].iface_id);
            work->tap_lost = old_since(work->old, "network", "false", "tap_lost") == NULL;
            add_condition(work, list, "network", "false", "tap_lost", message);
            return;
        }
    }
    for (size_t i = 0; i < work->row.interface_count; i++) {
        if (seen->tap_found[i][0] != '\0') {
            char message[LINK_FOUND_MAX + 100];
            (void)snprintf(message, sizeof message, "the TAP %s: %s; the repair waits, as somebody undoes it",
                           work->row.interfaces[i].tap, seen->tap_found[i]);
            add_condition(work, list, "network", "false", "contested", message);
            return;
        }
    }
    add_condition(work, list, "network", "true", "attached", "every TAP is there");
}

/* Listeners of the host on ports that this VM publishes. */
struct shadowed {
    const struct vm_row *row;
    uint8_t protocol;
    bool ports[LIMIT_PORTS];
};

static void note_listener(uint16_t port, void *ctx)
{
    struct shadowed *shadowed = ctx;
    for (size_t i = 0; i < shadowed->row->port_count; i++) {
        const struct vm_port *own = &shadowed->row->ports[i];
        shadowed->ports[i] = shadowed->ports[i] || (own->host_port == port && own->protocol == shadowed->protocol);
    }
}

static size_t list_shadowed(const struct vm_row *row, char *buf, size_t size)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
    struct shadowed shadowed = {.row = row};
    size_t count = 0;
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        shadowed.protocol = protocols[i];
        (void)listener_each(protocols[i], note_listener, &shadowed, NULL);
    }
    for (size_t i = 0; i < row->port_count && len < size; i++) {
        if (shadowed.ports[i]) {
            len += (size_t)snprintf(buf + len, size - len, "%s%s %u", count++ > 0 ? ", " : "",
                                    row->ports[i].protocol == IPPROTO_UDP ? "udp" : "tcp", row->ports[i].host_port);
        }
    }
    return count;
}

static void ports_condition(struct vm_work *work, json_t *list)
{
    char ports[160];
    char message[360];
    if (work->row.port_count == 0 || !work->observed.process_alive) {
        return;
    }
    if (list_shadowed(&work->row, ports, sizeof ports) == 0) {
        add_condition(work, list, "ports", "true", "published", "the published ports lead to the VM");
        return;
    }
    (void)snprintf(message, sizeof message,
                   "the published ports lead to the VM, and no more to programs of the host that listen there, too (%s): let those listen on "
                   "other ports, or publish others by PATCH",
                   ports);
    add_condition(work, list, "ports", "true", "shadows_listener", message);
}

static void guest_condition(struct vm_work *work, json_t *list)
{
    const char *words = NULL;
    if (work->observed.process_alive && console_hub_panicked(work->worker->consoles, work->row.uid, &words)) {
        char message[128];
        (void)snprintf(message, sizeof message, "the guest's kernel said '%s' on the console", words);
        add_condition(work, list, "guest", "false",
                      strstr(words, "root") != NULL ? "root_mount_failed" : "kernel_panic", message);
    }
}

static json_t *limit_json(uint64_t limit)
{
    return limit > 0 ? json_integer((json_int_t)limit) : json_null();
}

static json_t *vmm_json(struct vm_work *work)
{
    const struct vm_observed *seen = &work->observed;
    const json_t *old = json_object_get(work->old, "vmm");
    json_t *vmm = json_pack("{s:s}", "requested", work->row.vmm);
    if (work->choice_known) {
        const char *reason = work->choice.reason[0] != '\0' ? work->choice.reason : json_get_string(old, "reason");
        (void)json_object_set_new(vmm, "driver", json_string(vmm_drivers[work->choice.kind].name));
        (void)json_object_set_new(vmm, "version", json_string(work->choice.version));
        (void)json_object_set_new(vmm, "accelerator", json_string(vmm_accel_name(work->choice.accel)));
        (void)json_object_set_new(vmm, "reason", json_string(reason != NULL ? reason : "found running"));
    } else if (old != NULL) {
        const char *const kept[] = {"driver", "version", "accelerator", "reason"};
        for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
            (void)json_object_set(vmm, kept[i], json_object_get(old, kept[i]));
        }
    } else {
        (void)json_object_update_new(vmm, json_pack("{s:n, s:n, s:n, s:s}", "driver", "version", "accelerator",
                                                    "reason", "not decided yet"));
    }
    (void)json_object_set_new(vmm, "pid", seen->process_alive ? json_integer(work->runtime->pid) : json_null());
    if (seen->process_alive) {
        (void)json_object_set_new(vmm, "limits", json_pack("{s:o, s:o}", "memory_max_bytes", limit_json(work->limits.memory_max), "pids_max",
                                                           limit_json(work->limits.pids_max)));
    }
    return vmm;
}

static json_t *timings_json(struct vm_work *work)
{
    const struct runtime *runtime = work->runtime;
    if (runtime->timings == NULL) {
        json_t *old = json_object_get(work->old, "timings");
        return old != NULL ? json_incref(old) : json_array();
    }
    json_t *list = json_array();
    for (size_t i = 0; i < runtime->timing_count; i++) {
        const struct runtime_timing *timing = &runtime->timings[i];
        json_t *item = json_pack("{s:s, s:I, s:I}", "operation", timing->operation, "at_us",
                                 (json_int_t)timing->at_us, "duration_us", (json_int_t)timing->duration_us);
        if (timing->target[0] != '\0') {
            (void)json_object_set_new(item, "target", json_string(timing->target));
        }
        (void)json_array_append_new(list, item);
    }
    return list;
}

static char *observed_text(struct vm_work *work, enum vm_state state)
{
    char now[CLOCK_TEXT_MAX];
    json_t *conditions = json_array();
    process_condition(work, conditions);
    network_condition(work, conditions);
    ports_condition(work, conditions);
    guest_condition(work, conditions);
    AUTO_JSON *observed = json_pack("{s:o, s:o, s:o}", "vmm", vmm_json(work), "conditions", conditions, "timings",
                                    timings_json(work));
    json_t *drives = json_object_get(work->old, "drives");
    (void)json_object_set_new(observed, "drives", drives != NULL ? json_incref(drives) : json_array());
    if (work->exit_noted) {
        (void)json_object_set_new(observed, "last_exit",
                                  json_pack("{s:s, s:s, s:s}", "tier", work->exit_tier, "message", work->exit_message,
                                            "at", clock_format(clock_wall_ms(), now)));
    } else if (json_object_get(work->old, "last_exit") != NULL) {
        (void)json_object_set(observed, "last_exit", json_object_get(work->old, "last_exit"));
    }
    if (work->failed) {
        (void)json_object_set_new(observed, "error",
                                  json_pack("{s:s, s:s}", "code", error_code_name(work->error.code), "message",
                                            work->error.message));
    } else if (state == VM_FAILED && json_object_get(work->old, "error") != NULL) {
        (void)json_object_set(observed, "error", json_object_get(work->old, "error"));
    }
    return json_text(observed);
}

/* What was not carried out is not observed yet: who waits for it would take the old state for the new one. */
static int64_t observed_generation(const struct vm_work *work)
{
    return work->unfinished ? work->row.observed_generation : work->row.generation;
}

static int write_observation(struct vm_work *work, enum vm_state state, const char *text, bool *ret_changed,
                             struct error *err)
{
    struct worker *worker = work->worker;
    bool alive = work->observed.process_alive;
    struct vm_observation observation = {
        .state = state,
        .observed_generation = observed_generation(work),
        .observed = text,
        .pid = alive ? work->runtime->pid : 0,
        .start_time = alive ? (int64_t)work->runtime->start_time : 0,
        .boot_id = alive ? worker->boot_id : "",
        .boot_done = work->row.boot_done,
    };
    if (work->keep_record) {
        observation.pid = work->row.pid;
        observation.start_time = work->row.start_time;
        observation.boot_id = work->row.boot_id;
    }
    if (vms_set_observed(worker->db, work->row.uid, &observation, ret_changed, err) != 0) {
        return -1;
    }
    if (state == work->row.state) {
        return 0;
    }
    char data[160];
    (void)snprintf(data, sizeof data, "{\"state\":\"%s\",\"from\":\"%s\"}", vm_state_name(state),
                   vm_state_name(work->row.state));
    return events_add(worker->db, "vm.state", "vm", work->row.id, data, err);
}

int vm_report(struct vm_work *work, enum vm_state state, struct error *err)
{
    bool changed = false;
    AUTO_FREE char *text = observed_text(work, state);
    if (text == NULL) {
        return error_oom(err);
    }
    if (db_begin(work->worker->db, err) != 0) {
        return -1;
    }
    if (write_observation(work, state, text, &changed, err) != 0) {
        db_rollback(work->worker->db);
        return -1;
    }
    if (db_commit(work->worker->db, err) != 0) {
        return -1;
    }
    work->row.state = state;
    work->row.observed_generation = observed_generation(work);
    if (work->tap_lost) {
        vm_drift_tell_loss(work);
    }
    if (!work->keep_record) {
        bool alive = work->observed.process_alive;
        work->row.pid = alive ? work->runtime->pid : 0;
        (void)snprintf(work->row.boot_id, sizeof work->row.boot_id, "%s", alive ? work->worker->boot_id : "");
    }
    json_decref(work->old);
    work->old = NULL;
    if (json_parse(text, strlen(text), &work->old, err) != 0) {
        return -1;
    }
    if (changed) {
        char key[QUEUE_KEY_MAX];
        (void)snprintf(key, sizeof key, "vm/%s", work->row.id);
        worker_notify(work->worker, key);
    }
    return 0;
}
