#include "worker/plan.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/json_build.h"
#include "core/memory_file.h"
#include "core/plan_wish.h"
#include "worker/border/wanted.h"
#include "worker/drift.h"
#include "worker/firewall/firewall.h"
#include "worker/image/image.h"
#include "worker/network/flows.h"
#include "worker/network/work.h"
#include "worker/vm/forecast.h"
#include "worker/vm/look.h"
#include "worker/wireguard/wireguard.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Less than LIMIT_QUESTION_S: who asks gets an answer in any case. */
enum { CLAIM_MS = 3000, NOTE_MAX = 480, RESOURCE_MAX = 160 };

struct planning {
    struct worker *worker;
    const struct plan_wish *wish;
    struct json_build operations, notes;
    char resource[RESOURCE_MAX]; /* of the operations that are added now */
};

static void add(struct planning *p, const char *operation, const char *target, const char *description, const char *found)
{
    json_build_add(&p->operations, json_pack("{s:s, s:s, s:s, s:s, s:s}", "resource", p->resource, "operation", operation, "target", target, "description",
                                             description, "found", found));
}

static void note(struct planning *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct planning *p, const char *fmt, ...)
{
    char text[NOTE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_build_add(&p->notes, json_string(text));
}

/* While it is planned for, nobody works on it. */
static int claim(struct planning *p, const char *key, struct error *err)
{
    return queue_claim(p->worker->queue, key, CLAIM_MS)
               ? 0
               : error_set(err, ERR_UNAVAILABLE, "there is no plan yet, as %s is just being worked on: try again", p->resource);
}

/* ---- a VM ---- */

/* What was observed of it is not for a client to tell. */
static int take_observed(struct planning *p, struct vm_row *row, struct error *err)
{
    AUTO_VM_ROW stored = {0};
    bool found = false;
    if (border_vm_get(p->worker->border, row->id, &stored, &found, err) != 0) {
        return -1;
    }
    found = found && stored.uid == row->uid;
    row->state = found ? stored.state : VM_CREATING;
    row->observed_generation = found ? stored.observed_generation : 0;
    row->pid = found ? stored.pid : 0;
    row->start_time = found ? stored.start_time : 0;
    memcpy(row->boot_id, stored.boot_id, sizeof row->boot_id);
    row->boot_done = found ? stored.boot_done : 0;
    row->restart_count = found ? stored.restart_count : 0;
    row->restart_boot = found ? stored.restart_boot : 0;
    row->restart_streak = found ? stored.restart_streak : 0;
    row->restart_due_ms = found ? stored.restart_due_ms : 0;
    row->restart_keeps_drives = found && stored.restart_keeps_drives;
    return 0;
}

static const char *found_of(const struct vm_look *look, const struct vm_op *op)
{
    if (op->type == VM_OP_REPAIR_TAP) {
        return look->work.observed.tap_found[op->index];
    }
    return op->type == VM_OP_SET_LIMITS ? look->work.observed.limits_found : "";
}

static bool forecast_has(const struct vm_forecast *forecast, enum vm_op_type type)
{
    for (size_t i = 0; i < forecast->count; i++) {
        if (forecast->ops[i].type == type) {
            return true;
        }
    }
    return false;
}

/* What a start needs besides. */
static void note_start(struct planning *p, const struct vm_row *row)
{
    struct vmm_choice choice;
    struct error why;
    bool known = false;
    if (atomic_load(&p->worker->network_state) == NETWORK_FAILED && row->interface_count > 0) {
        note(p, "the start would fail as it is now: the network is not set up; GET /network says why");
    }
    if (host_facts_choose(&p->worker->facts, vm_vmm_name(row->config.vmm), &choice, &known, &why) != 0) {
        note(p, "the start would fail as it is now: %s", why.message);
    }
}

static void note_vm(struct planning *p, const struct vm_look *look, const struct vm_forecast *forecast)
{
    const struct vm_row *row = &look->work.row;
    const int64_t timeout_ms = look->work.wanted.stop_timeout_ms;
    if (forecast->asks_guest) {
        note(p, "the guest has %lld s to shut down; if it has not by then, or its VMM outlives it, kill_vmm follows", (long long)(timeout_ms + 999) / 1000);
    }
    if (forecast_has(forecast, VM_OP_SPAWN_VMM)) {
        note_start(p, row);
    }
    if (forecast->restart_due_ms > 0) {
        note(p, "the VM is started again after a pause of %lld ms", (long long)(forecast->restart_due_ms - look->work.wanted.now_ms));
    }
    if (forecast_has(forecast, VM_OP_SET_PORTS) || (row->config.port_count > 0 && forecast_has(forecast, VM_OP_ADD_GUEST))) {
        note(p, "with the first published port of all VMs, and after the last one, the network follows: set_loopback, set_entries");
    }
    if (forecast->count == 0) {
        note(p, "nothing is to be done on the host");
    }
}

static int plan_vm_under_claim(struct planning *p, struct vm_row *row, struct error *err)
{
    struct vm_look look;
    struct vm_forecast forecast;
    if (take_observed(p, row, err) != 0) {
        return -1;
    }
    if (vm_look(p->worker, row, true, &look, err) != 0) {
        vm_look_free(&look);
        return -1;
    }
    vm_forecast_make(&look.work.wanted, &look.work.observed, p->worker->facts.cgroup.mounted, &forecast);
    for (size_t i = 0; i < forecast.count; i++) {
        const struct vm_op *op = &forecast.ops[i];
        const bool of_tap = op->type == VM_OP_CREATE_TAP || op->type == VM_OP_REPAIR_TAP;
        add(p, vm_op_name(op->type), of_tap ? row->interfaces[op->index].tap : "", vm_op_description(op->type), found_of(&look, op));
    }
    note_vm(p, &look, &forecast);
    vm_look_free(&look);
    return 0;
}

static int plan_vm(struct planning *p, struct error *err)
{
    struct vm_row *row = p->wish->vms;
    char key[QUEUE_KEY_MAX];
    (void)snprintf(p->resource, sizeof p->resource, "/vms/%s", row->id);
    (void)snprintf(key, sizeof key, "vm/%s", row->id);
    if (claim(p, key, err) != 0) {
        return -1;
    }
    int result = plan_vm_under_claim(p, row, err);
    queue_release(p->worker->queue, key);
    return result;
}

/* ---- an image ---- */

/* Not claimed: an import takes its time, and what would be done is known without it. */
static int plan_image(struct planning *p, struct error *err)
{
    const struct image_row *row = p->wish->images;
    struct image_plan plan;
    (void)snprintf(p->resource, sizeof p->resource, "/images/%s", row->id);
    if (image_look(p->worker, row, &plan, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < plan.count; i++) {
        const enum image_op_type type = plan.ops[i].type;
        add(p, image_op_name(type), type != IMAGE_OP_FORGET ? image_part_name(plan.ops[i].part) : "", image_op_description(type), "");
    }
    if (row->state == IMAGE_IMPORTING) {
        note(p, "the files of the image are not read for this: whether they are there, and are what the manifest says, the import finds out");
    }
    return 0;
}

/* ---- the network, the tunnel, the firewall ---- */

static int plan_network_under_claim(struct planning *p, struct error *err)
{
    struct network_work work;
    unsigned flows_due = 0;
    network_work_init(&work, p->worker);
    work.wish = p->wish;
    int result = network_observe(&work, err);
    if (result == 0) {
        network_plan_make(&work.observed, &work.plan);
    }
    for (size_t i = 0; i < work.plan.count && result == 0; i++) {
        const struct network_op *op = &work.plan.ops[i];
        add(p, network_op_name(op->type), "", network_op_description(op->type), op->found);
        flows_due |= network_flows_due(op->type, op->repair);
    }
    if (flows_due != 0) {
        add(p, "cut_flows", "", "cut the flows of guests that could not begin any more, or would look otherwise", "");
    }
    network_work_free(&work);
    return result;
}

static int plan_network(struct planning *p, struct error *err)
{
    (void)snprintf(p->resource, sizeof p->resource, "/network");
    if (claim(p, "network", err) != 0) {
        return -1;
    }
    int result = plan_network_under_claim(p, err);
    queue_release(p->worker->queue, "network");
    return result;
}

static void add_of_tunnel(const struct wireguard_op *op, int64_t waits_ms, void *ctx)
{
    (void)waits_ms;
    add(ctx, wireguard_op_name(op->type), "", wireguard_op_description(op->type), op->found);
}

static int plan_tunnel(struct planning *p, struct error *err)
{
    (void)snprintf(p->resource, sizeof p->resource, "/network/wireguard");
    if (claim(p, "wireguard", err) != 0) {
        return -1;
    }
    int result = wireguard_look(p->worker, p->wish->tunnels, add_of_tunnel, p, err);
    queue_release(p->worker->queue, "wireguard");
    return result;
}

static void add_of_firewall(const struct firewall_op *op, void *ctx)
{
    add(ctx, op->name, "", op->description, op->found);
}

static int plan_firewall(struct planning *p, struct error *err)
{
    (void)snprintf(p->resource, sizeof p->resource, "/firewall");
    if (claim(p, "firewall", err) != 0) {
        return -1;
    }
    int result = firewall_look(p->worker, p->wish, add_of_firewall, p, err);
    queue_release(p->worker->queue, "firewall");
    return result;
}

/* ---- a repair: all that drift tells of ---- */

static void add_of_drift(struct planning *p, const json_t *item)
{
    const char *operation = json_get_string(item, "operation");
    const char *resource = json_get_string(item, "resource");
    const char *found = json_get_string(item, "found");
    const char *description = json_get_string(item, "description");
    if (operation == NULL || resource == NULL || found == NULL || description == NULL) {
        return;
    }
    if (strcmp(operation, "none") == 0) {
        note(p, "%s stays as it is: %s", resource, found);
        return;
    }
    (void)snprintf(p->resource, sizeof p->resource, "%s", resource);
    add(p, operation, "", description, found);
}

static int plan_repair(struct planning *p, struct error *err)
{
    size_t i = 0;
    const json_t *item = NULL;
    AUTO_JSON *drift = drift_look(p->worker, true, err);
    if (drift == NULL) {
        return -1;
    }
    json_array_foreach(json_object_get(drift, "items"), i, item)
    {
        add_of_drift(p, item);
    }
    if (json_get_int(drift, "total", 0) > LIMIT_DRIFT_ITEMS) {
        note(p, "these are the first %d of %lld", LIMIT_DRIFT_ITEMS, (long long)json_get_int(drift, "total", 0));
    }
    return 0;
}

/* ---- all of it ---- */

static int plan(struct planning *p, struct error *err)
{
    const struct {
        bool wanted;
        int (*plan)(struct planning *p, struct error *err);
    } parts[] = {
        {p->wish->vm_count > 0, plan_vm},
        {p->wish->image_count > 0, plan_image},
        {p->wish->override_count > 0 || p->wish->tunnel_count > 0, plan_network},
        {p->wish->tunnel_count > 0, plan_tunnel},
        {p->wish->firewall || p->wish->policy_count > 0 || p->wish->set_count > 0, plan_firewall},
        {p->wish->repair, plan_repair},
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i].wanted && parts[i].plan(p, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_wish(int fd, struct plan_wish *ret, struct error *err)
{
    AUTO_FREE uint8_t *data = NULL;
    size_t len = 0;
    if (memory_file_read(fd, PLAN_WISH_BYTES_MAX, &data, &len, err) != 0) {
        return -1;
    }
    return plan_wish_read(data, len, ret, err);
}

json_t *plan_answer(struct worker *worker, int handed_over, struct error *err)
{
    struct plan_wish wish = {.vm_count = 0};
    if (read_wish(handed_over, &wish, err) != 0) {
        return NULL;
    }
    struct planning planning = {.worker = worker, .wish = &wish, .operations = json_build_array(), .notes = json_build_array()};
    int result = plan(&planning, err);
    plan_wish_free(&wish);
    AUTO_JSON *operations = json_build_take(&planning.operations);
    AUTO_JSON *notes = json_build_take(&planning.notes);
    json_t *answer = result == 0 ? json_pack("{s:O, s:O}", "operations", operations, "notes", notes) : NULL;
    if (result == 0 && answer == NULL) {
        (void)error_oom(err);
    }
    return answer;
}
