#include "core/vm_row.h"

#include "core/cleanup.h"
#include "core/names.h"

#include <netinet/in.h>
#include <string.h>

static const char unknown_name[] = "unknown"; /* of a damaged row, which is still shown */

static const char *const state_names[VM_STATE_COUNT_] = {
    [VM_CREATING] = "creating", [VM_STOPPED] = "stopped",   [VM_STARTING] = "starting", [VM_RUNNING] = "running",
    [VM_PAUSED] = "paused",     [VM_STOPPING] = "stopping", [VM_DELETING] = "deleting", [VM_FAILED] = "failed",
};

static const char *const desired_names[VM_DESIRED_COUNT_] = {[VM_WANT_RUNNING] = "running", [VM_WANT_STOPPED] = "stopped", [VM_WANT_PAUSED] = "paused"};

const char *vm_state_name(enum vm_state state)
{
    return (unsigned)state < VM_STATE_COUNT_ ? state_names[state] : unknown_name;
}

bool vm_state_parse(const char *name, enum vm_state *ret)
{
    for (size_t i = 0; i < VM_STATE_COUNT_; i++) {
        if (strcmp(state_names[i], name) == 0) {
            *ret = (enum vm_state)i;
            return true;
        }
    }
    return false;
}

const char *vm_desired_name(enum vm_desired desired)
{
    return (unsigned)desired < VM_DESIRED_COUNT_ ? desired_names[desired] : unknown_name;
}

bool vm_desired_parse(const char *name, enum vm_desired *ret)
{
    for (size_t i = 0; i < VM_DESIRED_COUNT_; i++) {
        if (strcmp(desired_names[i], name) == 0) {
            *ret = (enum vm_desired)i;
            return true;
        }
    }
    return false;
}

enum { JSON_MAX = 256 * 1024 };

static const struct record_field interface_fields[] = {
    {RECORD_FIELD(vm_interface, iface_id), .type = RECORD_TEXT, .min = 1, .max = 32, .valid = name_is_iface_id},
    {RECORD_FIELD(vm_interface, tap), .type = RECORD_NAME, .size = INTERFACE_NAME_MAX, .min = 1, .max = INTERFACE_NAME_MAX - 1, .valid = name_is_interface},
    {RECORD_FIELD(vm_interface, mac), .type = RECORD_BYTES, .size = sizeof(struct mac)},
    {RECORD_FIELD(vm_interface, address), .type = RECORD_UINT32, .max = UINT32_MAX},
};
static const struct record_table interface_record = {"vm_interface", sizeof(struct vm_interface), interface_fields, ARRAY_LEN(interface_fields)};

static const struct record_field port_fields[] = {
    {RECORD_FIELD(vm_port, protocol), .type = RECORD_UINT8, .min = IPPROTO_TCP, .max = IPPROTO_UDP},
    {RECORD_FIELD(vm_port, host.version), .type = RECORD_UINT8, .min = IP_V4, .max = IP_V6},
    {RECORD_FIELD(vm_port, host.bytes), .type = RECORD_BYTES, .size = 16},
    {RECORD_FIELD(vm_port, host_port), .type = RECORD_UINT16, .max = UINT16_MAX},
    {RECORD_FIELD(vm_port, guest_port), .type = RECORD_UINT16, .min = 1, .max = UINT16_MAX},
    {RECORD_FIELD(vm_port, count), .type = RECORD_UINT16, .min = 1, .max = 1000},
};
const struct record_table vm_port_record = {"vm_port", sizeof(struct vm_port), port_fields, ARRAY_LEN(port_fields)};

static const struct record_field row_fields[] = {
    {RECORD_FIELD(vm_row, id), .type = RECORD_TEXT, .min = 1, .max = LIMIT_VM_ID_BYTES, .valid = name_is_vm_id},
    {RECORD_FIELD(vm_row, uid), .type = RECORD_INT, .min = 1, .max = LIMIT_VM_UID},
    {RECORD_FIELD(vm_row, image), .type = RECORD_TEXT, .min = 1, .max = 128, .valid = name_is_image_id},
    {RECORD_FIELD(vm_row, desired), .type = RECORD_ENUM, .max = VM_DESIRED_COUNT_ - 1},
    {.name = "config", .offset = offsetof(struct vm_row, config_text), .type = RECORD_TEXT, .min = 2, .max = LIMIT_VM_CONFIG_BYTES},
    {RECORD_FIELD(vm_row, stop_timeout_ms), .type = RECORD_INT, .min = -1, .max = 3600000},
    {RECORD_FIELD(vm_row, boot_wanted), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, deleting), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(vm_row, generation), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, request), .type = RECORD_NAME, .size = REQUEST_TEXT_MAX, .max = REQUEST_TEXT_MAX - 1, .valid = name_is_text},
    {RECORD_FIELD(vm_row, state), .type = RECORD_ENUM, .max = VM_STATE_COUNT_ - 1},
    {RECORD_FIELD(vm_row, observed_generation), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, observed), .type = RECORD_TEXT, .min = 2, .max = JSON_MAX},
    {RECORD_FIELD(vm_row, pid), .type = RECORD_INT, .max = INT32_MAX},
    {RECORD_FIELD(vm_row, start_time), .type = RECORD_INT, .max = INT64_MAX},
    {RECORD_FIELD(vm_row, boot_id), .type = RECORD_NAME, .size = 40, .max = 39, .valid = name_is_uuid_or_none},
    {RECORD_FIELD(vm_row, boot_done), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, boot_config), .type = RECORD_TEXT, .max = LIMIT_VM_CONFIG_BYTES},
    {RECORD_FIELD(vm_row, restart_count), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, restart_boot), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, restart_streak), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, restart_due_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, restart_keeps_drives), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(vm_row, revision), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, created_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, updated_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(vm_row, interfaces), .type = RECORD_LIST, .size = sizeof(struct vm_interface), .count_offset = offsetof(struct vm_row, interface_count),
     .max = LIMIT_INTERFACES, .of = &interface_record},
};
const struct record_table vm_row_record = {"vm", sizeof(struct vm_row), row_fields, ARRAY_LEN(row_fields)};

static int damaged(const char *what, struct error *err)
{
    return error_set(err, ERR_ROW_DAMAGED, "config: %s", what);
}

static bool has_interfaces_of(const struct vm_row *row, const struct vm_config *config)
{
    bool same = row->interface_count == config->interface_count;
    for (size_t i = 0; i < row->interface_count && same; i++) {
        same = strcmp(row->interfaces[i].iface_id, config->interfaces[i].iface_id) == 0;
    }
    return same;
}

int vm_row_read_config(struct vm_row *row, struct error *err)
{
    AUTO_VM_CONFIG config = {.image = NULL};
    struct error why = {0};
    vm_config_free(&row->config);
    if (row->config_text == NULL || row->image == NULL) { /* where somebody made the columns such that they may be */
        return damaged("there is none", err);
    }
    if (vm_config_parse_text(row->config_text, &config, &why) != 0) {
        return why.code == ERR_INVALID_CONFIG ? damaged(why.message, err) : error_set(err, why.code, "%s", why.message);
    }
    if (strcmp(config.image, row->image) != 0) {
        return damaged("it is of another image", err);
    }
    if (!has_interfaces_of(row, &config)) {
        return damaged("it has other network interfaces", err);
    }
    row->config = config;
    memset(&config, 0, sizeof config);
    return 0;
}

void vm_row_free(struct vm_row *row)
{
    vm_config_free(&row->config);
    record_free(&vm_row_record, row);
}

void vm_rows_free(struct vm_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        vm_row_free(&rows[i]);
    }
    free(rows);
}
