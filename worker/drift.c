#include "worker/drift.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "db/vms.h"
#include "worker/network_work.h"
#include "worker/runtime.h"
#include "worker/vm_work.h"
#include "worker/wireguard.h"

#include <stdio.h>
#include <string.h>

struct drift {
    struct worker *worker;
    json_t *items;
    size_t total;
    int64_t now_ms;
};

static void add_item_of(struct drift *drift, const char *resource, const char *operation, const char *description,
                        const char *found, int64_t waits_ms)
{
    if (drift->total++ < LIMIT_DRIFT_ITEMS) {
        (void)json_array_append_new(drift->items, json_pack("{s:s, s:s, s:s, s:s, s:I}", "resource", resource, "operation",
                                                            operation, "description", description, "found", found,
                                                            "waits_ms", (json_int_t)waits_ms));
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
            add_item(drift, op->type == NETWORK_OP_ADD_GUESTS ? work.repaired_vm : "", network_op_name(op->type),
                     network_op_description(op->type), op->found,
                     op->repair ? repair_backoff_wait(backoff, drift->now_ms) : 0);
        }
    }
    network_work_free(&work);
    return result;
}

static int look_at_tap(struct drift *drift, const struct vm_row *row, size_t index, const struct runtime_drift *known,
                       struct error *err)
{
    const struct vm_interface *interface = &row->interfaces[index];
    char alias[LINK_ALIAS_MAX];
    char found[LINK_FOUND_MAX + 32];
    struct link_check check;
    (void)snprintf(alias, sizeof alias, "%s:%s", drift->worker->mark, row->id);
    if (link_tap_check(interface->tap, alias, drift->worker->config->network.bridge, interface->mac,
                       known->tap_index[index], &check, err) != 0) {
        return -1;
    }
    (void)snprintf(found, sizeof found, "TAP %s: %s", interface->tap, check.found);
    if (!check.present || !check.ours) {
        add_item(drift, row->id, "none", "nothing is done by itself: a running VMM can't be given a new TAP; reboot the VM",
                 found, 0);
    } else if (check.found[0] != '\0') {
        int64_t waits_ms = known->repair_due_ms - drift->now_ms;
        add_item(drift, row->id, vm_op_name(VM_OP_REPAIR_TAP), vm_op_description(VM_OP_REPAIR_TAP), found,
                 waits_ms > 0 ? waits_ms : 0);
    }
    return 0;
}

static void look_at_limits(struct drift *drift, const struct vm_row *row)
{
    char dir[192];
    char found[VM_LIMITS_FOUND_MAX];
    struct vm_boot_record record;
    struct cgroup_limits limits;
    (void)snprintf(dir, sizeof dir, "%s/vm/%s", drift->worker->config->run_dir, row->id);
    if (vm_boot_record_read(dir, &record)) {
        vm_limits_check(drift->worker, row->id, &record, &limits, found);
        if (found[0] != '\0') {
            add_item(drift, row->id, vm_op_name(VM_OP_SET_LIMITS), vm_op_description(VM_OP_SET_LIMITS), found, 0);
        }
    }
}

static int look_at_vm(struct drift *drift, const struct vm_row *row, struct error *err)
{
    struct runtime_drift known;
    if (row->deleting || row->desired == VM_WANT_STOPPED || row->boot_done < row->boot_wanted) {
        return 0;
    }
    runtimes_drift(drift->worker->runtimes, row->uid, &known);
    look_at_limits(drift, row);
    for (size_t i = 0; i < row->interface_count; i++) {
        if (look_at_tap(drift, row, i, &known, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int look_at_vms(struct drift *drift, enum vm_state state, struct error *err)
{
    struct vm_row *rows = NULL;
    size_t count = 0;
    int result = vms_list(drift->worker->db, "", &state, LIMIT_VMS, &rows, &count, err);
    for (size_t i = 0; i < count && result == 0; i++) {
        result = look_at_vm(drift, &rows[i], err);
    }
    vms_list_free(rows, count);
    return result;
}

json_t *drift_look(struct worker *worker, struct error *err)
{
    struct drift drift = {.worker = worker, .items = json_array(), .now_ms = clock_monotonic_ms()};
    if (look_at_network(&drift, err) != 0 || wireguard_look(worker, add_of_tunnel, &drift, err) != 0 || look_at_vms(&drift, VM_RUNNING, err) != 0 ||
        look_at_vms(&drift, VM_PAUSED, err) != 0) {
        json_decref(drift.items);
        return NULL;
    }
    return json_pack("{s:o, s:I}", "items", drift.items, "total", (json_int_t)drift.total);
}
