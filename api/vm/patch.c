/* The writes to an existing VM: PATCH, and the actions. */
#include "api/handlers.h"
#include "api/vm/actions.h"
#include "api/vm/boot_args.h"
#include "api/vm/config.h"
#include "api/vm/vms.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/reservations.h"

#include <string.h>

void vm_check_patch(struct call *call)
{
    vm_config_check_patch(call);
}

/* A VM that becomes larger must fit; one that becomes smaller keeps what its process has, which the worker knows when it is gone. */
static int resize(struct call *call, struct vm_write *vm, struct error *err)
{
    const struct vm_config *config = &vm->row.config;
    struct reservation now;
    struct capacity_host host;
    if (capacity_of_host(call->api, &host, err) != 0 || vm_check_memory(&host, config->machine.mem_size_mib, err) != 0 ||
        reservations_get(call->api->db, vm->row.uid, &now, &vm->size, err) != 0) {
        return -1;
    }
    const struct reservation wanted = reservation_of(config, 0, &host);
    vm->size.memory_mib = wanted.memory_mib;
    vm->size.vcpus = wanted.vcpus;
    vm->is_resized = true;
    return capacity_admit(call, &host, &now, &vm->size, err);
}

static int change_config(struct call *call, struct vm_write *vm, struct error *err)
{
    const unsigned command_line = 1U << VM_CONFIG_BOOT_ARGS | 1U << VM_CONFIG_VMM; /* of the kernel: what it depends on */
    const unsigned size = 1U << VM_CONFIG_MACHINE | 1U << VM_CONFIG_VMM;
    unsigned changed = 0;
    if (vm_config_merge(call, &vm->row, &changed, err) != 0 || ((changed & size) != 0 && resize(call, vm, err) != 0)) {
        return -1;
    }
    return (changed & command_line) != 0 ? vm_check_boot_args(call, &vm->row, err) : 0;
}

static int patch(struct write *write, struct error *err)
{
    struct call *call = write->call;
    struct vm_write *vm = write->state;
    struct vm_row *row = &vm->row;
    const json_t *body = call->body;
    const char *desired_name = json_get_string(body, "desired_state");
    bool was_settled = vm_is_settled(row);
    if (vm_check_not_deleting(row, err) != 0 || change_config(call, vm, err) != 0) {
        return -1;
    }
    const bool has_live = json_object_get(body, "ports") != NULL || json_object_get(body, "limits") != NULL;
    was_settled = was_settled && !has_live; /* of a running VM they change at once */
    if (desired_name != NULL) {
        int64_t boot_wanted = row->boot_wanted;
        enum vm_desired desired = row->desired;
        (void)vm_desired_parse(desired_name, &desired);
        bool changes = desired != row->desired;
        vm_want(row, desired);
        was_settled = was_settled && !changes && row->boot_wanted == boot_wanted;
    }
    vm->is_done = was_settled; /* the rest counts from the next start on, and takes nothing on the host */
    vm_write_changed(write);
    return 0;
}

int vm_handle_patch(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = VM_WRITE_STEPS(WRITE_CHANGE, patch);
    return write_run(call, &steps, reply, err);
}

static int64_t stop_timeout_ms(const struct call *call)
{
    int64_t seconds = json_get_int(call->body, "timeout_seconds", -1);
    return seconds < 0 ? -1 : seconds * 1000;
}

static const struct {
    const char *operation; /* operationId */
    enum vm_action action;
} actions[] = {
    {"startVm", VM_ACTION_START}, {"stopVm", VM_ACTION_STOP},     {"killVm", VM_ACTION_KILL},
    {"pauseVm", VM_ACTION_PAUSE}, {"resumeVm", VM_ACTION_RESUME}, {"rebootVm", VM_ACTION_REBOOT},
};

static int act(struct write *write, struct error *err)
{
    struct vm_write *vm = write->state;
    const char *operation = write->call->handler->operation;
    size_t i = 0;
    while (i < ARRAY_LEN(actions) && strcmp(actions[i].operation, operation) != 0) {
        i++;
    }
    if (i == ARRAY_LEN(actions)) {
        return error_set(err, ERR_INTERNAL, "%s is not an action", operation);
    }
    int result = vm_action_apply(actions[i].action, &vm->row, stop_timeout_ms(write->call), err);
    vm_write_changed(write);
    return result;
}

int vm_handle_action(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = VM_WRITE_STEPS(WRITE_CHANGE, act);
    return write_run(call, &steps, reply, err);
}
