#include "core/message.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/names.h"
#include "core/policy.h"

#include <string.h>

enum { JSON_MAX = 256 * 1024, COUNTER_MAX_BITS = 62 };
#define COUNTER_MAX ((int64_t)1 << COUNTER_MAX_BITS)

#define TABLE(record) \
    const struct record_table message_##record##_record = {#record, sizeof(struct message_##record), record##_fields, ARRAY_LEN(record##_fields)}
/* `items` and `count` of a struct, of rows that the table `element` tells. */
#define ITEMS(record, type_of_item, least, most, element, is_spare) \
    { \
        RECORD_FIELD(message_##record, items), .type = RECORD_LIST, .size = sizeof(type_of_item), .count_offset = offsetof(struct message_##record, count), \
                                               .min = (least), .max = (most), .of = &(element), .spare = (is_spare) \
    }
#define VM_ID(record) \
    { \
        RECORD_FIELD(message_##record, id), .type = RECORD_NAME, .size = LIMIT_VM_ID_BYTES + 1, .min = 1, .max = LIMIT_VM_ID_BYTES, .valid = name_is_vm_id \
    }
#define COUNTER(record, member) \
    { \
        RECORD_FIELD(message_##record, member), .type = RECORD_INT, .max = COUNTER_MAX \
    }
#define UID(record) \
    { \
        RECORD_FIELD(message_##record, uid), .type = RECORD_INT, .min = 1, .max = LIMIT_VM_UID \
    }

static bool is_resource_word(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz_") == strlen(text);
}

static const struct record_field nothing_fields[] = {{RECORD_FIELD(message_nothing, unused), .type = RECORD_BOOL, .max = 1}};
static TABLE(nothing);
static const struct record_field number_fields[] = {COUNTER(number, value)};
static TABLE(number);
static const struct record_field flag_fields[] = {{RECORD_FIELD(message_flag, value), .type = RECORD_BOOL, .max = 1}};
static TABLE(flag);

static const struct record_field vm_id_fields[] = {VM_ID(vm_id)};
static TABLE(vm_id);
static const struct record_field vm_ids_fields[] = {ITEMS(vm_ids, struct message_vm_id, 0, 1, message_vm_id_record, false)};
static TABLE(vm_ids);
static const struct record_field vm_key_fields[] = {VM_ID(vm_key), UID(vm_key)};
static TABLE(vm_key);
static const struct record_field vm_page_fields[] = {
    {RECORD_FIELD(message_vm_page, after), .type = RECORD_NAME, .size = LIMIT_VM_ID_BYTES + 1, .max = LIMIT_VM_ID_BYTES},
    {RECORD_FIELD(message_vm_page, has_state), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(message_vm_page, state), .type = RECORD_ENUM, .max = VM_STATE_COUNT_ - 1},
    {RECORD_FIELD(message_vm_page, limit), .type = RECORD_UINT32, .min = 1, .max = LIMIT_VM_PAGE},
};
static TABLE(vm_page);
static const struct record_field vms_fields[] = {ITEMS(vms, struct vm_row, 0, LIMIT_VM_PAGE, vm_row_record, true)};
static TABLE(vms);
static const struct record_field vm_fields[] = {ITEMS(vm, struct vm_row, 0, 1, vm_row_record, false)};
static TABLE(vm);
static const struct record_field quarantine_fields[] = {
    {RECORD_FIELD(message_quarantine, id), .type = RECORD_TEXT, .min = 1, .max = 128, .valid = name_is_image_id},
    {RECORD_FIELD(message_quarantine, observed), .type = RECORD_TEXT, .min = 2, .max = JSON_MAX},
};
static TABLE(quarantine);
static const struct record_field vm_generation_fields[] = {UID(vm_generation), COUNTER(vm_generation, generation)};
static TABLE(vm_generation);
static const struct record_field vm_report_fields[] = {
    VM_ID(vm_report),
    UID(vm_report),
    {RECORD_FIELD(message_vm_report, state), .type = RECORD_ENUM, .max = VM_STATE_COUNT_ - 1},
    COUNTER(vm_report, observed_generation),
    {RECORD_FIELD(message_vm_report, observed), .type = RECORD_TEXT, .min = 2, .max = JSON_MAX},
    {RECORD_FIELD(message_vm_report, pid), .type = RECORD_INT, .max = INT32_MAX},
    {RECORD_FIELD(message_vm_report, start_time), .type = RECORD_INT, .max = INT64_MAX},
    {RECORD_FIELD(message_vm_report, boot_id), .type = RECORD_NAME, .size = 40, .max = 39, .valid = name_is_uuid_or_none},
    COUNTER(vm_report, boot_done),
    {RECORD_FIELD(message_vm_report, boot_config), .type = RECORD_TEXT, .max = LIMIT_VM_CONFIG_BYTES},
    {RECORD_FIELD(message_vm_report, event), .type = RECORD_TEXT, .min = 2, .max = JSON_MAX, .optional = true},
    {RECORD_FIELD(message_vm_report, end_type), .type = RECORD_ENUM, .max = EVENT_TYPE_COUNT_ - 1},
    {RECORD_FIELD(message_vm_report, end), .type = RECORD_TEXT, .min = 2, .max = JSON_MAX, .optional = true},
};
static TABLE(vm_report);
static const struct record_field vm_restart_fields[] = {
    UID(vm_restart),
    COUNTER(vm_restart, restart.boot),
    COUNTER(vm_restart, restart.streak),
    COUNTER(vm_restart, restart.due_ms),
    {RECORD_FIELD(message_vm_restart, restart.keeps_drives), .type = RECORD_BOOL, .max = 1},
};
static TABLE(vm_restart);
static const struct record_field vm_readdress_fields[] = {
    VM_ID(vm_readdress),
    UID(vm_readdress),
    {RECORD_FIELD(message_vm_readdress, subnet), .type = RECORD_UINT32, .max = UINT32_MAX},
    {RECORD_FIELD(message_vm_readdress, prefix), .type = RECORD_UINT32, .min = SUBNET_PREFIX_MIN, .max = SUBNET_PREFIX_MAX},
    {RECORD_FIELD(message_vm_readdress, bridge), .type = RECORD_NAME, .size = INTERFACE_NAME_MAX, .min = 1, .max = INTERFACE_NAME_MAX - 1,
     .valid = name_is_interface},
    {RECORD_FIELD(message_vm_readdress, lease_quarantine_s), .type = RECORD_UINT32, .max = UINT32_MAX},
};
static TABLE(vm_readdress);
static const struct record_field vm_restore_fields[] = {
    ITEMS(vm_restore, struct vm_row, 1, 1, vm_row_record, false),
    {RECORD_FIELD(message_vm_restore, images), .type = RECORD_LIST, .size = sizeof(struct image_row),
     .count_offset = offsetof(struct message_vm_restore, image_count), .max = 1, .of = &image_row_record},
    {RECORD_FIELD(message_vm_restore, force), .type = RECORD_BOOL, .max = 1},
};
static TABLE(vm_restore);
static const struct record_field vm_wish_fields[] = {
    {RECORD_FIELD(message_vm_wish, uid), .type = RECORD_INT, .max = LIMIT_VM_UID},
    {RECORD_FIELD(message_vm_wish, deleting), .type = RECORD_BOOL, .max = 1},
};
static TABLE(vm_wish);

static const struct record_field image_id_fields[] = {
    {RECORD_FIELD(message_image_id, id), .type = RECORD_TEXT, .min = 1, .max = 128, .valid = name_is_image_id}};
static TABLE(image_id);
static const struct record_field images_fields[] = {ITEMS(images, struct image_row, 0, 1, image_row_record, false)};
static TABLE(images);
static const struct record_field image_report_fields[] = {
    ITEMS(image_report, struct image_row, 1, 1, image_row_record, false),
    {RECORD_FIELD(message_image_report, has_event), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(message_image_report, event), .type = RECORD_ENUM, .max = EVENT_TYPE_COUNT_ - 1},
};
static TABLE(image_report);
static const struct record_field image_file_fields[] = {
    {RECORD_FIELD(message_image_file, sha256), .type = RECORD_TEXT, .min = 64, .max = 64, .valid = name_is_sha256},
    {RECORD_FIELD(message_image_file, except), .type = RECORD_TEXT, .min = 1, .max = 128, .valid = name_is_image_id, .optional = true},
};
static TABLE(image_file);

static const struct record_field task_id_fields[] = {{RECORD_FIELD(message_task_id, id), .type = RECORD_INT, .min = 1, .max = COUNTER_MAX}};
static TABLE(task_id);
static const struct record_field keys_fields[] = {
    {RECORD_FIELD(message_keys, vms), .type = RECORD_LIST, .size = sizeof(struct message_vm_id), .count_offset = offsetof(struct message_keys, vm_count),
     .max = LIMIT_VMS, .of = &message_vm_id_record, .spare = true},
    {RECORD_FIELD(message_keys, images), .type = RECORD_LIST, .size = sizeof(struct message_image_id),
     .count_offset = offsetof(struct message_keys, image_count), .max = LIMIT_IMAGES, .of = &message_image_id_record, .spare = true},
    {RECORD_FIELD(message_keys, tasks), .type = RECORD_LIST, .size = sizeof(struct message_task_id), .count_offset = offsetof(struct message_keys, task_count),
     .max = LIMIT_TASKS, .of = &message_task_id_record, .spare = true},
};
static TABLE(keys);

static const struct record_field fact_fields[] = {
    {RECORD_FIELD(message_fact, fact), .type = RECORD_ENUM, .max = FACT_COUNT_ - 1},
    {RECORD_FIELD(message_fact, value), .type = RECORD_TEXT, .min = 1, .max = JSON_MAX},
};
static TABLE(fact);
static const struct record_field event_fields[] = {
    {RECORD_FIELD(message_event, type), .type = RECORD_ENUM, .max = EVENT_TYPE_COUNT_ - 1},
    {RECORD_FIELD(message_event, kind), .type = RECORD_TEXT, .min = 1, .max = 32, .valid = is_resource_word},
    {RECORD_FIELD(message_event, id), .type = RECORD_TEXT, .max = 128, .valid = name_is_text},
    {RECORD_FIELD(message_event, data), .type = RECORD_TEXT, .min = 2, .max = JSON_MAX},
};
static TABLE(event);

static const struct record_field firewall_list_fields[] = {ITEMS(firewall_list, struct firewall_row, 0, 1, firewall_row_record, false)};
static TABLE(firewall_list);
static const struct record_field overdue_fields[] = {
    {RECORD_FIELD(message_overdue, vm), .type = RECORD_TEXT, .min = 1, .max = LIMIT_VM_ID_BYTES, .valid = name_is_vm_id, .optional = true},
    {RECORD_FIELD(message_overdue, set), .type = RECORD_TEXT, .min = 1, .max = ADDRESS_SET_NAME_MAX - 1, .valid = address_set_name_valid, .optional = true},
};
static TABLE(overdue);
static const struct record_field overdue_list_fields[] = {
    ITEMS(overdue_list, struct message_overdue, 0, LIMIT_VMS + ADDRESS_SETS_MAX + 1, message_overdue_record, true)};
static TABLE(overdue_list);
static const struct record_field set_name_fields[] = {
    {RECORD_FIELD(message_set_name, name), .type = RECORD_TEXT, .min = 1, .max = ADDRESS_SET_NAME_MAX - 1, .valid = address_set_name_valid}};
static TABLE(set_name);

static const struct record_field address_range_fields[] = {
    {RECORD_FIELD(message_address_range, first), .type = RECORD_UINT32, .max = UINT32_MAX},
    {RECORD_FIELD(message_address_range, last), .type = RECORD_UINT32, .max = UINT32_MAX},
    {RECORD_FIELD(message_address_range, limit), .type = RECORD_UINT32, .max = LIMIT_VM_PAGE},
};
static TABLE(address_range);
static const struct record_field addresses_fields[] = {
    ITEMS(addresses, struct network_address_row, 0, LIMIT_VM_PAGE, network_address_row_record, true),
    COUNTER(addresses, total),
};
static TABLE(addresses);
static const struct record_field interfaces_fields[] = {
    ITEMS(interfaces, struct interface_row, 0, (int64_t)LIMIT_VMS *LIMIT_INTERFACES, interface_row_record, true)};
static TABLE(interfaces);
static const struct record_field tap_fields[] = {
    {RECORD_FIELD(message_tap, name), .type = RECORD_NAME, .size = INTERFACE_NAME_MAX, .min = 1, .max = INTERFACE_NAME_MAX - 1}};
static TABLE(tap);
static const struct record_field ports_fields[] = {ITEMS(ports, struct port_row, 0, (int64_t)LIMIT_VMS *LIMIT_PORTS, port_row_record, true)};
static TABLE(ports);

static const struct record_field tasks_fields[] = {ITEMS(tasks, struct task_row, 0, 1, task_row_record, false)};
static TABLE(tasks);
static const struct record_field task_report_fields[] = {
    {RECORD_FIELD(message_task_report, id), .type = RECORD_INT, .min = 1, .max = COUNTER_MAX},
    {RECORD_FIELD(message_task_report, outcome), .type = RECORD_TEXT, .min = 2, .max = LIMIT_QUESTION_BYTES},
    {RECORD_FIELD(message_task_report, ended), .type = RECORD_BOOL, .max = 1},
};
static TABLE(task_report);

static const struct record_field failure_fields[] = {
    {RECORD_FIELD(message_failure, code), .type = RECORD_ENUM, .max = ERR_COUNT_ - 1},
    {RECORD_FIELD(message_failure, text), .type = RECORD_NAME, .size = 512, .max = 511},
};
TABLE(failure);

/* Rows have a table of their own. */
#define message_firewall_record          firewall_rows_record
#define message_firewall_observed_record firewall_observed_record
#define message_network_overrides_record network_overrides_record
#define message_wireguard_record         wireguard_row_record

const struct message_type message_types[MESSAGE_COUNT_] = {
#define X(capitals, name, question, answer) [MESSAGE_##capitals] = {#name, &message_##question##_record, &message_##answer##_record},
    MESSAGES(X)
#undef X
};

const char *message_fact_text(enum message_fact_name fact)
{
    static const char *const names[FACT_COUNT_] = {
        [FACT_WORKER] = "worker", [FACT_HOST] = "host", [FACT_NETWORK] = "network", [FACT_WIREGUARD] = "wireguard", [FACT_SEAL_KEY] = "seal_key"};
    return names[fact];
}
