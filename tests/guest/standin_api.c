/*
 * Requests and answers, as src/firecracker/src/api_server/ and rpc_interface.rs of Firecracker 1.12.1 give them.
 * Resources that the daemon does not use yet (balloon, MMDS, snapshots, …) are answered as if there were none.
 */
#include "standin.h"

#include <string.h>

static const char *const vm_states[] = {"Paused", "Resumed", NULL};
static const char *const action_types[] = {"FlushMetrics", "InstanceStart", "SendCtrlAltDel", NULL};
static const struct standin_field vm_fields[] = {{"state", STANDIN_ENUM, true, vm_states}};
static const struct standin_field action_fields[] = {{"action_type", STANDIN_ENUM, true, action_types}};
static const struct standin_field patch_machine_fields[] = {
    {"vcpu_count", STANDIN_U8, false, NULL},    {"mem_size_mib", STANDIN_USIZE, false, NULL},     {"smt", STANDIN_BOOL, false, NULL},
    {"cpu_template", STANDIN_ANY, false, NULL}, {"track_dirty_pages", STANDIN_BOOL, false, NULL}, {"huge_pages", STANDIN_ANY, false, NULL},
};
static const struct standin_shape vm_shape = {"Vm", vm_fields, ARRAY_LEN(vm_fields), false};
static const struct standin_shape action_shape = {"ActionBody", action_fields, ARRAY_LEN(action_fields), false};
static const struct standin_shape patch_machine_shape = {"MachineConfigUpdate", patch_machine_fields, ARRAY_LEN(patch_machine_fields), false};

#define NOT_BEFORE "The requested operation is not supported before starting the microVM."
#define NOT_AFTER  "The requested operation is not supported after starting the microVM."

static void answer_json(struct standin_reply *reply, json_t *value)
{
    AUTO_JSON *owned = value;
    AUTO_FREE char *text = json_text(owned);
    reply->status = 200;
    strbuf_add(&reply->body, text == NULL ? "{}" : text);
}

/* Also into the log, as the real one does. */
static void answer_fault(const struct standin *s, struct standin_reply *reply, const char *prefix, const char *text)
{
    AUTO_JSON *message = json_sprintf("%s%s", prefix, text);
    AUTO_JSON *fault = json_pack("{s:O}", "fault_message", message);
    answer_json(reply, json_incref(fault));
    reply->status = 400;
    standin_log(s, "fc_api", "Received Error. Status code: 400 Bad Request. Message: %s%s", prefix, text);
}

static void answer_shape(const struct standin *s, struct standin_reply *reply, const char *why)
{
    char text[440];
    (void)snprintf(text, sizeof text, "%s at line 1 column 1.", why);
    answer_fault(s, reply, "An error occurred when deserializing the json body of a request: ", text);
}

static json_t *instance(const struct standin *s)
{
    static const char *const names[] = {"Not started", "Running", "Paused"};
    return json_pack("{s:s, s:s, s:s, s:s}", "id", s->id, "state", names[atomic_load(&s->state)], "vmm_version", STANDIN_VERSION, "app_name", "Firecracker");
}

static json_t *machine(const struct standin *s)
{
    return json_pack("{s:I, s:I, s:b, s:b, s:s}", "vcpu_count", (json_int_t)s->machine.vcpu_count, "mem_size_mib", (json_int_t)s->machine.mem_size_mib, "smt",
                     s->machine.smt, "track_dirty_pages", s->machine.track_dirty_pages, "huge_pages", "None");
}

/* What was not given is null, but for the two with a default. */
static json_t *drives(const struct standin *s)
{
    static const char *const keys[] = {"drive_id",     "partuuid",     "is_root_device", "cache_type", "is_read_only",
                                       "path_on_host", "rate_limiter", "io_engine",      "socket"};
    json_t *list = json_array();
    size_t i = 0;
    const json_t *drive = NULL;
    json_array_foreach(s->drives, i, drive)
    {
        json_t *shown = json_object();
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            json_t *value = json_object_get(drive, keys[k]);
            (void)json_object_set_new(shown, keys[k], value == NULL ? json_null() : json_incref(value));
        }
        if (json_object_get(drive, "cache_type") == NULL) {
            (void)json_object_set_new(shown, "cache_type", json_string("Unsafe"));
        }
        if (json_object_get(drive, "io_engine") == NULL) {
            (void)json_object_set_new(shown, "io_engine", json_string("Sync"));
        }
        (void)json_array_append_new(list, shown);
    }
    return list;
}

static json_t *nics(const struct standin *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->nic_count; i++) {
        const struct standin_nic *nic = &s->nics[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:n, s:n}", "iface_id", nic->iface_id, "host_dev_name", nic->tap_name, "guest_mac",
                                                    nic->mac[0] != '\0' ? nic->mac : NULL, "rx_rate_limiter", "tx_rate_limiter"));
    }
    return list;
}

static json_t *whole_config(const struct standin *s)
{
    const char *kernel = json_get_string(s->boot_source, "kernel_image_path");
    json_t *boot = json_pack("{s:s, s:s?, s:s?}", "kernel_image_path", kernel == NULL ? "" : kernel, "initrd_path",
                             json_get_string(s->boot_source, "initrd_path"), "boot_args", json_get_string(s->boot_source, "boot_args"));
    json_t *entropy = s->entropy ? json_pack("{s:n}", "rate_limiter") : json_null();
    return json_pack("{s:n, s:o, s:o, s:n, s:n, s:o, s:n, s:n, s:o, s:n, s:o}", "balloon", "drives", drives(s), "boot-source", boot, "cpu-config", "logger",
                     "machine-config", machine(s), "metrics", "mmds-config", "network-interfaces", nics(s), "vsock", "entropy", entropy);
}

static void put_vm(struct standin *s, const json_t *body, struct standin_reply *reply)
{
    const bool pause = strcmp(json_get_string(body, "state"), "Paused") == 0;
    if (atomic_load(&s->state) == STANDIN_NOT_STARTED) {
        answer_fault(s, reply, "", NOT_BEFORE);
        return;
    }
    atomic_store(&s->state, pause ? STANDIN_PAUSED : STANDIN_RUNNING);
    reply->status = 204;
}

static void press_ctrl_alt_del(struct standin *s, struct standin_reply *reply)
{
    enum { KEYBOARD_ROOM = 4 }; /* its 16 bytes hold that many times three keys */
    if (s->i8042_used == KEYBOARD_ROOM) {
        answer_fault(s, reply, "Internal VMM error: ", "I8042 error: i8042 internal buffer full.");
        return;
    }
    s->i8042_used++;
    atomic_store(&s->ctrl_alt_del, true);
    reply->status = 204;
}

static void put_action(struct standin *s, const json_t *body, struct standin_reply *reply)
{
    const char *action = json_get_string(body, "action_type");
    const bool start = strcmp(action, "InstanceStart") == 0;
    const bool started = atomic_load(&s->state) != STANDIN_NOT_STARTED;
    if (start == started) {
        answer_fault(s, reply, "", started ? NOT_AFTER : NOT_BEFORE);
    } else if (start && s->boot_source == NULL) {
        answer_fault(s, reply, "Start microvm error: ", "Cannot start microvm without kernel configuration.");
    } else if (start) {
        standin_start_machine(s);
        reply->status = 204;
    } else if (strcmp(action, "SendCtrlAltDel") == 0) {
        press_ctrl_alt_del(s, reply);
    } else {
        reply->status = 204;
    }
}

static void set_machine(struct standin *s, const json_t *body, struct standin_machine wanted, struct standin_reply *reply)
{
    if (atomic_load(&s->state) != STANDIN_NOT_STARTED) {
        answer_fault(s, reply, "", NOT_AFTER);
        return;
    }
    wanted.vcpu_count = json_get_int(body, "vcpu_count", wanted.vcpu_count);
    wanted.mem_size_mib = json_get_int(body, "mem_size_mib", wanted.mem_size_mib);
    wanted.smt = json_get_bool(body, "smt", wanted.smt);
    wanted.track_dirty_pages = json_get_bool(body, "track_dirty_pages", wanted.track_dirty_pages);
    const char *wrong = standin_check_machine(&wanted);
    if (wrong != NULL) {
        answer_fault(s, reply, "Machine config error: ", wrong);
        return;
    }
    s->machine = wanted;
    reply->status = 204;
}

static void put_machine(struct standin *s, const json_t *body, struct standin_reply *reply)
{
    set_machine(s, body, (struct standin_machine){.vcpu_count = 1}, reply);
}

static void patch_machine(struct standin *s, const json_t *body, struct standin_reply *reply)
{
    if (json_object_size(body) == 0) {
        answer_fault(s, reply, "", "Empty PATCH request.");
    } else {
        set_machine(s, body, s->machine, reply);
    }
}

static void put_boot_source(struct standin *s, const json_t *body, struct standin_reply *reply)
{
    struct standin_refusal why = {{0}, {0}};
    if (atomic_load(&s->state) != STANDIN_NOT_STARTED) {
        answer_fault(s, reply, "", NOT_AFTER);
    } else if (!standin_check_boot_source(body, &why)) {
        answer_fault(s, reply, "", why.words);
    } else {
        json_decref(s->boot_source);
        s->boot_source = json_incref((json_t *)(uintptr_t)body);
        reply->status = 204;
    }
}

static void get_nothing(struct standin *s, const char *rest, struct standin_reply *reply, bool *ret_known)
{
    (void)rest;
    *ret_known = true;
    answer_json(reply, instance(s));
}

static void get_version(struct standin *s, const char *rest, struct standin_reply *reply, bool *ret_known)
{
    (void)s;
    (void)rest;
    *ret_known = true;
    answer_json(reply, json_pack("{s:s}", "firecracker_version", STANDIN_VERSION));
}

static void get_machine(struct standin *s, const char *rest, struct standin_reply *reply, bool *ret_known)
{
    (void)rest;
    *ret_known = true;
    answer_json(reply, machine(s));
}

static void get_vm(struct standin *s, const char *rest, struct standin_reply *reply, bool *ret_known)
{
    *ret_known = strcmp(rest, "config") == 0;
    if (*ret_known) {
        answer_json(reply, whole_config(s));
    }
}

/* A row reads or writes; only the first part of a path counts, as in the real one. */
static const struct {
    const char *method;
    const char *first;
    void (*get)(struct standin *, const char *rest, struct standin_reply *, bool *ret_known);
    const struct standin_shape *shape;
    void (*put)(struct standin *, const json_t *body, struct standin_reply *);
} routes[] = {
    {"GET", "", get_nothing, NULL, NULL},
    {"GET", "version", get_version, NULL, NULL},
    {"GET", "machine-config", get_machine, NULL, NULL},
    {"GET", "vm", get_vm, NULL, NULL},
    {"PUT", "machine-config", NULL, &standin_machine_shape, put_machine},
    {"PATCH", "machine-config", NULL, &patch_machine_shape, patch_machine},
    {"PUT", "boot-source", NULL, &standin_boot_shape, put_boot_source},
    {"PUT", "actions", NULL, &action_shape, put_action},
    {"PATCH", "vm", NULL, &vm_shape, put_vm},
};

static bool answer_route(struct standin *s, size_t i, const char *rest, const char *body, size_t len, struct standin_reply *reply)
{
    char why[400];
    bool known = true;
    if (routes[i].get != NULL) {
        routes[i].get(s, rest, reply, &known);
        return known;
    }
    AUTO_JSON *value = standin_parse(body, len, routes[i].shape, why, sizeof why);
    if (value == NULL) {
        answer_shape(s, reply, why);
    } else {
        routes[i].put(s, value, reply);
    }
    return true;
}

void standin_answer(struct standin *s, const char *method, const char *path, const char *body, size_t len, struct standin_reply *reply)
{
    char text[400];
    const size_t first = strcspn(path + 1, "/");
    const char *rest = path + 1 + first + strspn(path + 1 + first, "/");
    const bool reads = strcmp(method, "GET") == 0;
    if (reads == (body != NULL)) {
        (void)snprintf(text, sizeof text, reads ? "GET request cannot have a body." : "Empty %s request.", method);
        answer_fault(s, reply, "", text);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (strcmp(routes[i].method, method) == 0 && strlen(routes[i].first) == first && strncmp(routes[i].first, path + 1, first) == 0 &&
            answer_route(s, i, rest, body, len, reply)) {
            return;
        }
    }
    (void)snprintf(text, sizeof text, "Invalid request method and/or path: %s %.*s.", method, (int)first, path + 1);
    answer_fault(s, reply, "", text);
}

const char *standin_operation(const char *method, const char *path, const char *body, size_t len)
{
    static const struct {
        const char *method, *path, *word, *name;
    } rows[] = {
        {"GET", "/", NULL, "info"},
        {"GET", "/version", NULL, "version"},
        {"GET", "/vm/config", NULL, "config"},
        {"GET", "/machine-config", NULL, "machine"},
        {"PATCH", "/vm", "\"Paused\"", "pause"},
        {"PATCH", "/vm", "\"Resumed\"", "resume"},
        {"PUT", "/actions", "\"InstanceStart\"", "instance_start"},
        {"PUT", "/actions", "\"SendCtrlAltDel\"", "ctrl_alt_del"},
        {"PUT", "/actions", "\"FlushMetrics\"", "flush_metrics"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(method, rows[i].method) == 0 && strcmp(path, rows[i].path) == 0 &&
            (rows[i].word == NULL || (body != NULL && memmem(body, len, rows[i].word, strlen(rows[i].word)) != NULL))) {
            return rows[i].name;
        }
    }
    return "other";
}
