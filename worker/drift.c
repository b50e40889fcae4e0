#include "worker/drift.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/border/wanted.h"
#include "worker/network/work.h"
#include "worker/vm/look.h"
#include "worker/wireguard/wireguard.h"

#include <stdio.h>
#include <string.h>

enum {
    VMMS_ASKED_MS = 2000, /* so long in all; of the rest it is believed that they do what was seen last */
    CLAIM_MS = 200,       /* of one that is worked on; within those */
};

struct drift {
    struct worker *worker;
    struct json_build items;
    size_t total;
    int64_t now_ms;
    bool patient;
};

static void add_item_of(struct drift *drift, const char *resource, const char *operation, const char *description, const char *found, int64_t waits_ms)
{
    if (drift->total++ < LIMIT_DRIFT_ITEMS) {
        json_build_add(&drift->items, json_pack("{s:s, s:s, s:s, s:s, s:I}", "resource", resource, "operation", operation, "description", description, "found",
                                                found, "waits_ms", (json_int_t)waits_ms));
    }
}

static void add_item(struct drift *drift, const char *vm, const char *operation, const char *description, const char *found, int64_t waits_ms)
{
    char resource[LIMIT_VM_ID_BYTES + 16];
    (void)snprintf(resource, sizeof resource, vm[0] != '\0' ? "/vms/%s" : "/network", vm);
    add_item_of(drift, resource, operation, description, found, waits_ms);
}

static void add_of_tunnel(const struct wireguard_op *op, int64_t waits_ms, void *ctx)
{
    add_item_of(ctx, "/network/wireguard", wireguard_op_name(op->type), wireguard_op_description(op->type), op->found, waits_ms);
}

static int look_at_network(struct drift *drift, struct error *err)
{
    struct network_work work;
    network_work_init(&work, drift->worker);
    int result = network_observe(&work, err);
    if (result == 0) {
        network_plan_make(&work.observed, &work.plan);
        for (size_t i = 0; i < work.plan.count; i++) {
            const struct network_op *op = &work.plan.ops[i];
            const struct repair_backoff *backoff = &work.memory.backoffs[op->type];
            add_item(drift, op->type == NETWORK_OP_ADD_GUESTS ? work.repaired_vm : "", network_op_name(op->type), network_op_description(op->type), op->found,
                     op->repair ? repair_backoff_wait(backoff, drift->now_ms) : 0);
        }
    }
    network_work_free(&work);
    return result;
}

static void add_tap(struct drift *drift, const struct vm_look *look, size_t index, enum vm_op_type type)
{
    const struct vm_row *row = &look->work.row;
    char found[LINK_FOUND_MAX + 32];
    (void)snprintf(found, sizeof found, "TAP %s: %s", row->interfaces[index].tap, look->work.observed.tap_found[index]);
    if (type == VM_OP_REPAIR_TAP) {
        const int64_t waits_ms = atomic_load(&look->runtime.repair_due_ms) - drift->now_ms;
        add_item(drift, row->id, vm_op_name(type), vm_op_description(type), found, waits_ms > 0 ? waits_ms : 0);
    } else {
        add_item(drift, row->id, "none", "nothing is done by itself: a running VMM can't be given a new TAP; reboot the VM", found, 0);
    }
}

/* What the plan does for a client who asked for it is no drift, and neither is the end of a guest. */
static void add_op(struct drift *drift, const struct vm_look *look, const struct vm_op *op)
{
    const struct vm_row *row = &look->work.row;
    if (op->type == VM_OP_REPAIR_TAP) {
        add_tap(drift, look, op->index, op->type);
    } else if (op->type == VM_OP_SET_LIMITS && row->observed_generation >= row->generation) {
        add_item(drift, row->id, vm_op_name(op->type), vm_op_description(op->type), look->work.observed.limits_found, 0);
    } else if ((op->type == VM_OP_PAUSE_VMM || op->type == VM_OP_RESUME_VMM) && row->observed_generation >= row->generation) {
        add_item(drift, row->id, vm_op_name(op->type), vm_op_description(op->type),
                 op->type == VM_OP_PAUSE_VMM ? "the VMM runs its guest, which is to be paused" : "the VMM has paused its guest, which is to run", 0);
    }
}

static void add_ops(struct drift *drift, const struct vm_row *row, const struct vm_look *look)
{
    struct vm_plan plan;
    vm_plan_make(&look->work.wanted, &look->work.observed, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        add_op(drift, look, &plan.ops[i]);
    }
    for (size_t i = 0; i < row->interface_count; i++) {
        if (!look->work.observed.tap_present[i]) {
            add_tap(drift, look, i, VM_OP_COUNT_);
        }
    }
}

static bool is_in_time(const struct drift *drift)
{
    return clock_monotonic_ms() - drift->now_ms < VMMS_ASKED_MS;
}

static int plan_vm(struct drift *drift, const struct vm_row *row, struct error *err)
{
    struct vm_look look;
    int result = vm_look(drift->worker, row, is_in_time(drift), &look, err);
    if (result == 0 && look.work.observed.process_alive) {
        add_ops(drift, row, &look);
    }
    vm_look_free(&look);
    return result;
}

/* One that is worked on for long is looked at all the same: a repair counts what is gone. */
static int look_at_vm(struct drift *drift, const struct vm_row *row, struct error *err)
{
    char key[QUEUE_KEY_MAX];
    if (row->deleting || row->desired == VM_WANT_STOPPED || row->boot_done < row->boot_wanted) {
        return 0;
    }
    (void)snprintf(key, sizeof key, "vm/%s", row->id);
    const bool is_claimed = queue_claim(drift->worker->queue, key, drift->patient && is_in_time(drift) ? CLAIM_MS : 0);
    int result = plan_vm(drift, row, err);
    if (is_claimed) {
        queue_release(drift->worker->queue, key);
    }
    return result;
}

static int look_at_vms(struct drift *drift, enum vm_state state, struct error *err)
{
    struct vm_row *rows = NULL;
    size_t count = 0;
    int result = border_vm_list(drift->worker->border, &state, &rows, &count, err);
    for (size_t i = 0; i < count && result == 0; i++) {
        result = look_at_vm(drift, &rows[i], err);
    }
    vm_rows_free(rows, count);
    return result;
}

json_t *drift_look(struct worker *worker, bool patient, struct error *err)
{
    struct drift drift = {.worker = worker, .items = json_build_array(), .now_ms = clock_monotonic_ms(), .patient = patient};
    if (look_at_network(&drift, err) != 0 || wireguard_look(worker, NULL, add_of_tunnel, &drift, err) != 0 || look_at_vms(&drift, VM_RUNNING, err) != 0 ||
        look_at_vms(&drift, VM_PAUSED, err) != 0) {
        json_build_free(&drift.items);
        return NULL;
    }
    json_t *json = json_pack("{s:o, s:I}", "items", json_build_take(&drift.items), "total", (json_int_t)drift.total);
    if (json == NULL) {
        (void)error_oom(err);
    }
    return json;
}
