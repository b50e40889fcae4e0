/* The writes to an existing VM: PATCH, and the actions. */
#include "api/handlers.h"
#include "api/vm_actions.h"
#include "api/vm_ports.h"
#include "api/vms.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <string.h>

void vm_check_patch(struct call *call)
{
    vm_check_machine_config(call);
    vm_ports_check(call);
}

static int set_text(char **member, const json_t *body, const char *name, struct error *err)
{
    const char *text = json_get_string(body, name);
    if (text == NULL) {
        return 0;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        return error_oom(err);
    }
    free(*member);
    *member = copy;
    return 0;
}

static int patch_machine(struct api *api, const json_t *body, struct vm_row *row, struct error *err)
{
    const json_t *machine = json_object_get(body, "machine_config");
    if (machine == NULL && json_object_get(body, "boot_args") == NULL &&
        json_object_get(body, "vmm") == NULL) {
        return 0;
    }
    if (vm_check_reconfigurable(row, err) != 0) {
        return -1;
    }
    row->vcpu_count = (unsigned)json_get_int(machine, "vcpu_count", row->vcpu_count);
    row->mem_size_mib = (unsigned)json_get_int(machine, "mem_size_mib", row->mem_size_mib);
    if (json_object_get(machine, "mem_size_mib") != NULL &&
        vm_check_memory(api, row->mem_size_mib, err) != 0) {
        return -1;
    }
    if (set_text(&row->boot_args, body, "boot_args", err) != 0) {
        return -1;
    }
    return set_text(&row->vmm, body, "vmm", err);
}

/* A merge patch (RFC 7396) of one level. */
static int patch_labels(struct call *call, json_t *changes, struct vm_row *row, struct error *err)
{
    AUTO_JSON *labels = NULL;
    const char *key = NULL;
    json_t *value = NULL;
    if (changes == NULL) {
        return 0;
    }
    if (json_parse(row->labels, strlen(row->labels), &labels, err) != 0) {
        return -1;
    }
    json_object_foreach(changes, key, value)
    {
        if (json_is_null(value)) {
            (void)json_object_del(labels, key); /* also where there is none */
        } else if (json_object_set(labels, key, value) != 0) {
            return error_oom(err);
        }
    }
    if (json_object_size(labels) > LIMIT_LABELS) {
        spec_faults_add(&call->faults, "body", "/labels", "the VM would have more than %d labels", LIMIT_LABELS);
        return error_set(err, ERR_INVALID_CONFIG, "the VM would have more than %d labels", LIMIT_LABELS);
    }
    char *text = json_text(labels);
    if (text == NULL) {
        return error_oom(err);
    }
    free(row->labels);
    row->labels = text;
    return 0;
}

static int patch(struct call *call, struct vm_row *row, bool *ret_done, struct error *err)
{
    const json_t *body = call->body;
    const char *desired_name = json_get_string(body, "desired_state");
    bool was_settled = vm_is_settled(row);
    if (vm_check_not_deleting(row, err) != 0 || patch_machine(call->api, body, row, err) != 0 ||
        patch_labels(call, json_object_get(body, "labels"), row, err) != 0) {
        return -1;
    }
    row->autostart = json_get_bool(body, "autostart", row->autostart);
    bool has_ports = vm_ports_read(body, row);
    was_settled = was_settled && !has_ports; /* of a running VM they change at once */
    if (desired_name != NULL) {
        int64_t boot_wanted = row->boot_wanted;
        enum vm_desired desired = row->desired;
        (void)vm_desired_parse(desired_name, &desired);
        bool changes = desired != row->desired;
        vm_want(row, desired);
        was_settled = was_settled && !changes && row->boot_wanted == boot_wanted;
    }
    *ret_done = was_settled; /* the rest counts from the next start on, and takes nothing on the host */
    return 0;
}

int vm_handle_patch(struct call *call, struct api_reply *reply, struct error *err)
{
    return vm_write(call, WRITE_CHANGE, patch, reply, err);
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

static int act(struct call *call, struct vm_row *row, bool *ret_done, struct error *err)
{
    (void)ret_done;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].operation, call->handler->operation) == 0) {
            return vm_action_apply(actions[i].action, row, stop_timeout_ms(call), err);
        }
    }
    return error_set(err, ERR_INTERNAL, "%s is not an action", call->handler->operation);
}

int vm_handle_action(struct call *call, struct api_reply *reply, struct error *err)
{
    return vm_write(call, WRITE_CHANGE, act, reply, err);
}
