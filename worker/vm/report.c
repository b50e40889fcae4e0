/* What the worker found of a VM, as the JSON that the API shows (openapi.yaml, components/schemas/Vm), and the event of a new state. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/json_build.h"
#include "host/nft/listening.h"
#include "worker/border/wanted.h"
#include "worker/conditions.h"
#include "worker/vm/boot.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/log.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static void add_condition(struct vm_work *work, struct json_build *list, enum condition_type type, enum condition_status status, enum condition_reason reason,
                          const char *message)
{
    conditions_add(list, work->old, type, status, reason, message);
}

static void process_condition(struct vm_work *work, struct json_build *list)
{
    const struct vm_observed *seen = &work->observed;
    if (!seen->process_alive) {
        add_condition(work, list, CONDITION_PROCESS, CONDITION_FALSE, REASON_NO_PROCESS, "the VM has no VMM process");
    } else if (seen->foreign_socket) {
        add_condition(work, list, CONDITION_PROCESS, CONDITION_UNKNOWN, REASON_FOREIGN_SOCKET,
                      "what is at the place of the VMM's socket is not the VMM's, so nobody speaks to it: the VM can only be killed");
    } else if (!seen->vmm_answers) {
        add_condition(work, list, CONDITION_PROCESS, CONDITION_UNKNOWN, REASON_NO_ANSWER, "the VMM process runs, but does not answer");
    } else {
        add_condition(work, list, CONDITION_PROCESS, CONDITION_TRUE, REASON_RUNNING, "the VMM process runs and answers");
    }
}

static void network_condition(struct vm_work *work, struct json_build *list)
{
    const struct vm_observed *seen = &work->observed;
    if (!seen->process_alive || work->row.interface_count == 0) {
        return;
    }
    if (seen->network_found[0] != '\0') {
        char message[VM_NETWORK_FOUND_MAX + 100];
        (void)snprintf(message, sizeof message, "the network has changed since the guest started: %s; reboot the VM", seen->network_found);
        add_condition(work, list, CONDITION_NETWORK, CONDITION_FALSE, REASON_CHANGED, message);
        return;
    }
    for (size_t i = 0; i < work->row.interface_count; i++) {
        if (!seen->tap_present[i]) {
            char message[200];
            (void)snprintf(message, sizeof message, "the TAP %s of %.32s was removed by someone else; a running VMM can't be given a new one: reboot the VM",
                           work->row.interfaces[i].tap, work->row.interfaces[i].iface_id);
            work->tap_lost = !conditions_had(work->old, CONDITION_NETWORK, CONDITION_FALSE, REASON_TAP_LOST);
            add_condition(work, list, CONDITION_NETWORK, CONDITION_FALSE, REASON_TAP_LOST, message);
            return;
        }
    }
    for (size_t i = 0; i < work->row.interface_count; i++) {
        if (seen->tap_found[i][0] != '\0') {
            char message[LINK_FOUND_MAX + 100];
            (void)snprintf(message, sizeof message, "the TAP %s: %s; the repair waits, as somebody undoes it", work->row.interfaces[i].tap, seen->tap_found[i]);
            add_condition(work, list, CONDITION_NETWORK, CONDITION_FALSE, REASON_CONTESTED, message);
            return;
        }
    }
    add_condition(work, list, CONDITION_NETWORK, CONDITION_TRUE, REASON_ATTACHED, "every TAP is there");
}

/* Listeners of the host on ports that this VM publishes. */
struct shadowed {
    const struct vm_row *row;
    bool ports[LIMIT_PORTS];
};

static void note_listener(const struct listener *listener, void *ctx)
{
    struct shadowed *shadowed = ctx;
    for (size_t i = 0; i < shadowed->row->config.port_count; i++) {
        shadowed->ports[i] = shadowed->ports[i] || listener_meets(listener, &shadowed->row->config.ports[i]);
    }
}

static size_t list_shadowed(const struct vm_row *row, char *buf, size_t size)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
    struct shadowed shadowed = {.row = row};
    size_t count = 0;
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        (void)listener_each(protocols[i], note_listener, &shadowed, NULL);
    }
    for (size_t i = 0; i < row->config.port_count && len < size; i++) {
        if (shadowed.ports[i]) {
            len += (size_t)snprintf(buf + len, size - len, "%s%s %u", count++ > 0 ? ", " : "", row->config.ports[i].protocol == IPPROTO_UDP ? "udp" : "tcp",
                                    row->config.ports[i].host_port);
        }
    }
    return count;
}

static void ports_condition(struct vm_work *work, struct json_build *list)
{
    char ports[160];
    char message[360];
    if (work->row.config.port_count == 0 || !work->observed.process_alive) {
        return;
    }
    if (list_shadowed(&work->row, ports, sizeof ports) == 0) {
        add_condition(work, list, CONDITION_PORTS, CONDITION_TRUE, REASON_PUBLISHED, "the published ports lead to the VM");
        return;
    }
    (void)snprintf(message, sizeof message,
                   "the published ports lead to the VM, and no more to programs of the host that listen there, too (%s): let those listen on "
                   "other ports, or publish others by PATCH",
                   ports);
    add_condition(work, list, CONDITION_PORTS, CONDITION_TRUE, REASON_SHADOWS_LISTENER, message);
}

/* What is on record of it: the newest boot's, or what was told of it before (the runtime directory is gone after a reboot of the host). */
static enum guest_sign last_sign(const struct vm_work *work, const char **ret_words)
{
    enum guest_sign sign = guest_sign_read(work->dir, ret_words);
    for (int i = 0; i < GUEST_SIGN_COUNT_ && sign == GUEST_BOOTING; i++) {
        if (conditions_had(work->old, CONDITION_GUEST, CONDITION_FALSE, guest_sign_reason((enum guest_sign)i))) {
            sign = (enum guest_sign)i;
        }
    }
    return sign;
}

static bool had_guest_condition(const struct vm_work *work)
{
    return conditions_find(work->old, CONDITION_GUEST) != NULL;
}

static void guest_condition(struct vm_work *work, struct json_build *list, enum vm_state state)
{
    static const struct {
        enum condition_status status;
        const char *message;
    } words_of[GUEST_SIGN_COUNT_] = {
        [GUEST_BOOTING] = {CONDITION_UNKNOWN, "the guest has said nothing on its console yet"},
        [GUEST_UP] = {CONDITION_TRUE, "the guest speaks on its console"},
        [GUEST_PANICKED] = {CONDITION_FALSE, "the guest's kernel panicked"},
        [GUEST_NO_ROOT] = {CONDITION_FALSE, "the guest found no root file system"},
    };
    char message[192];
    const char *words = NULL;
    const bool alive = work->observed.process_alive;
    if (!alive && (state == VM_STARTING || work->start_failed || !(work->exit_noted || had_guest_condition(work)))) {
        return; /* there was no guest, or it is that of an earlier boot */
    }
    const enum guest_sign sign = alive ? console_hub_sign(work->worker->consoles, work->row.uid, &words) : last_sign(work, &words);
    if (!alive && sign < GUEST_PANICKED) {
        add_condition(work, list, CONDITION_GUEST, CONDITION_FALSE, REASON_EXITED, "the guest has ended, and last_exit says how");
        return;
    }
    (void)snprintf(message, sizeof message, "%s%s%s%s", words_of[sign].message, words != NULL ? ": it said '" : "", words != NULL ? words : "",
                   words != NULL ? "' on its console" : "");
    add_condition(work, list, CONDITION_GUEST, words_of[sign].status, guest_sign_reason(sign), message);
}

static json_t *number_or_null(bool is_there, int number)
{
    return is_there ? json_integer(number) : json_null();
}

static json_t *limit_json(uint64_t limit)
{
    return limit > 0 ? json_integer((json_int_t)limit) : json_null();
}

static json_t *io_json(const struct vm_work *work)
{
    AUTO_JSON_BUILD io = json_build_object();
    if (!work->worker->facts.cgroup.io || work->limits.io_device == 0) {
        return json_null();
    }
    for (size_t i = 0; i < VM_IO_COUNT_; i++) {
        json_build_put(&io, vm_io_name((enum vm_io)i), json_integer((json_int_t)work->limits.io_max[i]));
    }
    return json_build_take(&io);
}

static json_t *limits_json(const struct vm_work *work)
{
    const struct cgroup_limits *limits = &work->limits;
    const bool cpu = work->worker->facts.cgroup.cpu;
    if (!work->observed.process_alive) {
        return json_null();
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "memory_max_bytes", limit_json(limits->memory_max), "pids_max", limit_json(limits->pids_max), "cpu_percent",
                     number_or_null(cpu, (int)(limits->cpu_max * 100 / CGROUP_CPU_PERIOD_US)), "cpu_weight", number_or_null(cpu, (int)limits->cpu_weight), "io",
                     io_json(work));
}

/* What runs it, or what ran it last. */
static void add_choice(const struct vm_work *work, const json_t *old, struct json_build *vmm)
{
    static const char *const kept[] = {"driver", "version", "accelerator", "reason"};
    const char *reason = work->choice.reason[0] != '\0' ? work->choice.reason : json_get_string(old, "reason");
    if (work->choice_known) {
        json_build_put(vmm, "driver", json_string(vmm_drivers[work->choice.kind].name));
        json_build_put(vmm, "version", json_string(work->choice.version));
        json_build_put(vmm, "accelerator", json_string(vmm_accel_name(work->choice.accel)));
        json_build_put(vmm, "reason", json_string(reason != NULL ? reason : "found running"));
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        json_build_put(vmm, kept[i], json_or_null(json_object_get(old, kept[i])));
    }
    if (old == NULL) {
        json_build_put(vmm, "reason", json_string("not decided yet"));
    }
}

static void add_identity(struct vm_work *work, struct json_build *vmm)
{
    const struct vm_boot *boot = work->observed.process_alive ? vm_boot_of(work) : NULL;
    json_build_put(vmm, "jailed", boot != NULL ? json_boolean(boot->record.uid != 0) : json_null());
    json_build_put(vmm, "uid", boot != NULL ? json_integer(boot->record.uid) : json_null());
}

static json_t *vmm_json(struct vm_work *work)
{
    AUTO_JSON_BUILD vmm = json_build_object();
    json_build_put(&vmm, "requested", json_string(vm_vmm_name(work->row.config.vmm)));
    add_choice(work, json_object_get(work->old, "vmm"), &vmm);
    json_build_put(&vmm, "pid", work->observed.process_alive ? json_integer(work->runtime->pid) : json_null());
    json_build_put(&vmm, "limits", limits_json(work));
    add_identity(work, &vmm);
    return json_build_take(&vmm);
}

static json_t *timings_json(const struct vm_work *work)
{
    const struct runtime *runtime = work->runtime;
    AUTO_JSON_BUILD list = json_build_array();
    json_t *old = json_object_get(work->old, "timings");
    if (runtime->timings == NULL && old != NULL) {
        return json_incref(old);
    }
    for (size_t i = 0; runtime->timings != NULL && i < runtime->timing_count; i++) {
        const struct runtime_timing *timing = &runtime->timings[i];
        json_build_add(&list, json_pack("{s:s, s:s?, s:I, s:I}", "operation", timing->operation, "target", timing->target[0] != '\0' ? timing->target : NULL,
                                        "at_us", (json_int_t)timing->at_us, "duration_us", (json_int_t)timing->duration_us));
    }
    return json_build_take(&list);
}

/* Of limits that are asked for; those of memory and threads every VM has, where the host has the controllers. */
static void limits_condition(struct vm_work *work, struct json_build *list)
{
    const struct vm_limits *asked = &work->row.config.limits;
    const struct cgroup_support *support = &work->worker->facts.cgroup;
    const bool asks_cpu = asked->cpu_percent > 0 || asked->cpu_weight != VM_CPU_WEIGHT_DEFAULT;
    const bool asks_io = vm_limits_any_io(asked);
    char message[160];
    if (!work->observed.process_alive || (!asks_cpu && !asks_io)) {
        return;
    }
    if ((asks_cpu && !support->cpu) || (asks_io && !support->io)) {
        (void)snprintf(message, sizeof message, "the host's cgroup v2 has no controller for %s%s%s: what the VM may have of it is not limited",
                       asks_cpu && !support->cpu ? "cpu" : "", asks_cpu && !support->cpu && asks_io && !support->io ? " and " : "",
                       asks_io && !support->io ? "io" : "");
        add_condition(work, list, CONDITION_LIMITS, CONDITION_FALSE, REASON_NO_CONTROLLER, message);
    } else if (asks_io && work->limits.io_device == 0) {
        add_condition(work, list, CONDITION_LIMITS, CONDITION_FALSE, REASON_NO_BLOCK_DEVICE,
                      "the drives lie on no disk whose input and output can be limited, or the VM was started by an older daemon: limits.io has no effect");
    } else {
        add_condition(work, list, CONDITION_LIMITS, CONDITION_TRUE, REASON_IN_FORCE, "the limits are in force");
    }
}

static json_t *conditions_json(struct vm_work *work, enum vm_state state)
{
    AUTO_JSON_BUILD conditions = json_build_array();
    process_condition(work, &conditions);
    network_condition(work, &conditions);
    ports_condition(work, &conditions);
    limits_condition(work, &conditions);
    guest_condition(work, &conditions, state);
    return json_build_take(&conditions);
}

static json_t *error_json(const struct vm_work *work, enum vm_state state)
{
    if (work->failed) {
        return json_pack("{s:s, s:s}", "code", error_code_name(work->error.code), "message", work->error.message);
    }
    return state == VM_FAILED ? json_or_null(json_object_get(work->old, "error")) : json_null();
}

/* A new reference; null when none has ended yet. */
static json_t *last_exit_json(const struct vm_work *work)
{
    const struct vm_exit *exit = &work->exit;
    char at[CLOCK_TEXT_MAX];
    if (work->exit_noted) {
        return json_pack("{s:s, s:s, s:o, s:o, s:s, s:s}", "tier", exit->tier, "reason", exit_reason_name(exit->reason), "exit_code",
                         number_or_null(exit->exit_code >= 0, exit->exit_code), "signal", number_or_null(exit->number > 0, exit->number), "message",
                         exit->message, "at", clock_format(exit->at_ms, at));
    }
    json_t *old = json_object_get(work->old, "last_exit");
    if (json_is_object(old) && json_object_get(old, "reason") == NULL) { /* of an older daemon */
        AUTO_JSON_BUILD filled = {.value = json_pack("{s:s, s:n, s:n}", "reason", exit_reason_name(EXIT_UNKNOWN), "exit_code", "signal")};
        const char *key = NULL;
        json_t *value = NULL;
        json_object_foreach(old, key, value)
        {
            json_build_put(&filled, key, json_incref(value));
        }
        return json_build_take(&filled);
    }
    return json_or_null(old);
}

/* Those of the boot that is begun, or what was told before. */
static json_t *drives_json(const struct vm_work *work)
{
    json_t *old = json_object_get(work->old, "drives");
    return work->boot != NULL ? vm_boot_drives_json(work->boot) : old != NULL ? json_incref(old) : json_array();
}

static json_t *observed_json(struct vm_work *work, enum vm_state state)
{
    AUTO_JSON_BUILD observed = json_build_object();
    json_build_put(&observed, "vmm", vmm_json(work));
    json_build_put(&observed, "conditions", conditions_json(work, state));
    json_build_put(&observed, "timings", timings_json(work));
    json_build_put(&observed, "drives", drives_json(work));
    json_build_put(&observed, "last_exit", last_exit_json(work));
    json_build_put(&observed, "error", error_json(work, state));
    return json_build_take(&observed);
}

/* What was not carried out is not observed yet: who waits for it would take the old state for the new one. */
static int64_t observed_generation(const struct vm_work *work)
{
    return work->unfinished ? work->row.observed_generation : work->row.generation;
}

/* An end is told once, and how: `vm.stopped` or `vm.failed`. A start that failed has no VMM that ended. *ret_data NULL: nothing is to be told. */
static int describe_end(struct vm_work *work, enum vm_state state, enum event_type *ret_type, char **ret_data, struct error *err)
{
    const bool fails = state == VM_FAILED && work->row.state != VM_FAILED && work->start_failed;
    if (!fails && (!work->exit_noted || work->exit_told)) {
        return 0;
    }
    const struct vm_exit *exit = &work->exit;
    AUTO_JSON *data = fails ? json_pack("{s:s, s:s, s:s}", "reason", "start_failed", "code", error_code_name(work->error.code), "message", work->error.message)
                            : json_pack("{s:s, s:s}", "reason", exit_reason_name(exit->reason), "message", exit->message);
    *ret_data = data != NULL ? json_text(data) : NULL;
    *ret_type = fails || !exit_reason_is_clean(exit->reason) ? EVENT_VM_FAILED : EVENT_VM_STOPPED;
    return *ret_data == NULL ? error_oom(err) : 0;
}

/* The document that the VMM which runs was started by. What an older daemon started, and told, stays as it is. */
static char *boot_config_of(struct vm_work *work)
{
    static char none[] = "";
    if (!work->observed.process_alive && !work->keep_record) {
        return none;
    }
    const struct vm_boot *boot = work->keep_record ? NULL : vm_boot_of(work);
    return boot != NULL && boot->config != NULL ? boot->config : work->row.boot_config;
}

/* Most looks find what they found before: the database is not asked then. */
static bool is_stored(const struct vm_work *work, const struct message_vm_report *report)
{
    const struct vm_stored *stored = &work->stored;
    const struct vm_row *row = &work->row;
    return stored->known && report->end == NULL && report->state == stored->state && report->observed_generation == stored->observed_generation &&
           report->boot_done == stored->boot_done && report->pid == row->pid && report->start_time == row->start_time &&
           strcmp(report->boot_id, row->boot_id) == 0 && strcmp(report->observed, row->observed) == 0 && strcmp(report->boot_config, row->boot_config) == 0;
}

/* With the events of a new state and of an end. */
static int write_observation(struct vm_work *work, enum vm_state state, char *text, bool *ret_changed, struct error *err)
{
    struct worker *worker = work->worker;
    const bool alive = work->observed.process_alive;
    const bool kept = work->keep_record;
    char event[160];
    struct message_vm_report report = {
        .uid = work->row.uid,
        .state = state,
        .observed_generation = observed_generation(work),
        .observed = text,
        .pid = kept    ? work->row.pid
               : alive ? work->runtime->pid
                       : 0,
        .start_time = kept    ? work->row.start_time
                      : alive ? (int64_t)work->runtime->start_time
                              : 0,
        .boot_done = work->row.boot_done,
        .boot_config = boot_config_of(work),
        .event = state != work->row.state ? event : NULL,
    };
    AUTO_FREE char *end = NULL;
    if (describe_end(work, state, &report.end_type, &end, err) != 0) {
        return -1;
    }
    report.end = end;
    (void)snprintf(report.id, sizeof report.id, "%s", work->row.id);
    (void)snprintf(report.boot_id, sizeof report.boot_id, "%s", kept ? work->row.boot_id : alive ? worker->boot_id : "");
    (void)snprintf(event, sizeof event, "{\"state\":\"%s\",\"from\":\"%s\"}", vm_state_name(state), vm_state_name(work->row.state));
    if (is_stored(work, &report)) {
        return 0;
    }
    work->stored.known = false;
    return border_vm_report(worker->border, &report, ret_changed, err);
}

int vm_report(struct vm_work *work, enum vm_state state, struct error *err)
{
    bool changed = false;
    AUTO_JSON *observed = observed_json(work, state);
    AUTO_FREE char *text = json_text(observed);
    if (text == NULL) {
        return error_oom(err);
    }
    if (write_observation(work, state, text, &changed, err) != 0) {
        return -1;
    }
    if (work->exit_noted && !work->exit_told) {
        vm_log_ended(work);
    }
    work->exit_told = work->exit_told || work->exit_noted;
    if (state == VM_FAILED && work->row.state != VM_FAILED && work->failed) {
        vm_log_failed(work);
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
    work->old = TAKE_PTR(observed);
    if (changed) {
        char key[QUEUE_KEY_MAX];
        (void)snprintf(key, sizeof key, "vm/%s", work->row.id);
        worker_notify(work->worker, key);
    }
    return 0;
}
