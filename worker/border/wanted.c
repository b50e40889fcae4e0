/* Policies, the network, facts, events and tasks; VMs and images have files of their own. */
#include "worker/border/ask.h"
#include "worker/border/wanted.h"

#include "core/cleanup.h"

#include <stdio.h>
#include <string.h>

static const struct message_nothing nothing;

static int ask_number(struct border *border, enum message_kind kind, const void *question, int64_t *ret, struct error *err)
{
    struct message_number number;
    if (border_ask(border, kind, question, &number, err) != 0) {
        return -1;
    }
    *ret = number.value;
    return 0;
}

int border_keys(struct border *border, struct message_keys *ret, struct error *err)
{
    return border_ask(border, MESSAGE_KEYS, &nothing, ret, err);
}

void border_keys_free(struct message_keys *keys)
{
    record_free(message_types[MESSAGE_KEYS].answer, keys);
}

int border_fact_set(struct border *border, enum message_fact_name fact, const char *value, bool *ret_changed, struct error *err)
{
    const struct message_fact question = {.fact = fact, .value = border_only_read(value)};
    return border_ask_flag(border, MESSAGE_FACT_SET, &question, ret_changed, err);
}

int border_event_add(struct border *border, enum event_type type, const char *kind, const char *id, const char *data, struct error *err)
{
    const struct message_event question = {.type = type, .kind = border_only_read(kind), .id = border_only_read(id), .data = border_only_read(data)};
    return border_tell(border, MESSAGE_EVENT_ADD, &question, err);
}

int border_firewall_load(struct border *border, struct firewall_rows *ret, struct error *err)
{
    return border_ask(border, MESSAGE_FIREWALL_LOAD, &nothing, ret, err);
}

static int ask_firewall_row(struct border *border, enum message_kind kind, const void *question, struct firewall_row *ret, bool *ret_found, struct error *err)
{
    struct message_firewall_list list;
    if (border_ask(border, kind, question, &list, err) != 0) {
        return -1;
    }
    *ret_found = list.count > 0;
    if (list.count > 0) {
        *ret = list.items[0];
        memset(&list.items[0], 0, sizeof list.items[0]);
    }
    record_free(message_types[kind].answer, &list);
    return 0;
}

int border_firewall_policy_get(struct border *border, int64_t vm_uid, struct firewall_row *ret, bool *ret_found, struct error *err)
{
    const struct message_number question = {.value = vm_uid};
    return ask_firewall_row(border, MESSAGE_FIREWALL_POLICY_GET, &question, ret, ret_found, err);
}

int border_firewall_set_get(struct border *border, const char *name, struct firewall_row *ret, bool *ret_found, struct error *err)
{
    const struct message_set_name question = {.name = border_only_read(name)};
    return ask_firewall_row(border, MESSAGE_FIREWALL_SET_GET, &question, ret, ret_found, err);
}

int border_firewall_roll_back(struct border *border, int64_t now_ms, size_t *ret_count, struct error *err)
{
    const struct message_number question = {.value = now_ms};
    int64_t count = 0;
    if (ask_number(border, MESSAGE_FIREWALL_ROLL_BACK, &question, &count, err) != 0) {
        return -1;
    }
    *ret_count = (size_t)count;
    return 0;
}

int border_firewall_next_deadline(struct border *border, int64_t *ret_ms, struct error *err)
{
    return ask_number(border, MESSAGE_FIREWALL_NEXT_DEADLINE, &nothing, ret_ms, err);
}

int border_firewall_observed_get(struct border *border, struct firewall_observed *ret, struct error *err)
{
    return border_ask(border, MESSAGE_FIREWALL_OBSERVED_GET, &nothing, ret, err);
}

int border_firewall_observed_set(struct border *border, const struct firewall_observed *observed, bool *ret_changed, struct error *err)
{
    return border_ask_flag(border, MESSAGE_FIREWALL_OBSERVED_SET, observed, ret_changed, err);
}

int border_firewall_overdue(struct border *border, int64_t now_ms, struct message_overdue_list *ret, struct error *err)
{
    const struct message_number question = {.value = now_ms};
    return border_ask(border, MESSAGE_FIREWALL_OVERDUE, &question, ret, err);
}

void border_firewall_overdue_free(struct message_overdue_list *list)
{
    record_free(message_types[MESSAGE_FIREWALL_OVERDUE].answer, list);
}

/* Through its text: the same rules as for a request. */
static bool is_subnet(struct ipv4_net subnet)
{
    char text[CIDR_TEXT_MAX];
    struct ipv4_net parsed;
    return network_subnet_parse(ipv4_net_format(subnet, text), &parsed, NULL) == 0;
}

void border_network_settings_of(const struct network_overrides *overrides, const struct config *config, struct network_settings *ret)
{
    struct network_overrides checked = *overrides;
    checked.has_subnet = checked.has_subnet && is_subnet(checked.subnet);
    checked.has_uplink = checked.has_uplink && strcmp(checked.uplink, config->network.bridge) != 0;
    network_settings_make(config, &checked, ret);
}

int border_network_settings(struct border *border, const struct config *config, struct network_settings *ret, struct error *err)
{
    struct network_overrides overrides;
    struct error why = {0};
    if (border_ask(border, MESSAGE_NETWORK_OVERRIDES_GET, &nothing, &overrides, &why) != 0) {
        if (why.code != ERR_ROW_DAMAGED) {
            *err = why;
            return -1;
        }
        overrides = (struct network_overrides){.damaged = true};
    }
    border_network_settings_of(&overrides, config, ret);
    return 0;
}

int border_addresses_outside(struct border *border, uint32_t first, uint32_t last, struct network_address_row *ret, size_t limit, size_t *ret_count,
                             size_t *ret_total, struct error *err)
{
    const struct message_address_range question = {.first = first, .last = last, .limit = (uint32_t)limit};
    struct message_addresses addresses;
    if (border_ask(border, MESSAGE_ADDRESSES_OUTSIDE, &question, &addresses, err) != 0) {
        return -1;
    }
    *ret_count = addresses.count < limit ? addresses.count : limit;
    *ret_total = (size_t)addresses.total;
    if (*ret_count > 0) {
        memcpy(ret, addresses.items, *ret_count * sizeof *ret);
    }
    record_free(message_types[MESSAGE_ADDRESSES_OUTSIDE].answer, &addresses);
    return 0;
}

int border_interface_list(struct border *border, struct interface_row **ret, size_t *ret_count, struct error *err)
{
    struct message_interfaces interfaces;
    if (border_ask(border, MESSAGE_INTERFACE_LIST, &nothing, &interfaces, err) != 0) {
        return -1;
    }
    *ret = interfaces.items;
    *ret_count = interfaces.count;
    return 0;
}

int border_address_changes(struct border *border, uint32_t address, bool *ret, struct error *err)
{
    const struct message_number question = {.value = address};
    return border_ask_flag(border, MESSAGE_ADDRESS_CHANGES, &question, ret, err);
}

int border_tap_owner(struct border *border, const char *tap, char ret[LIMIT_VM_ID_BYTES + 1], bool *ret_found, struct error *err)
{
    struct message_tap question = {.name = ""};
    struct message_vm_ids owner;
    (void)snprintf(question.name, sizeof question.name, "%s", tap);
    if (border_ask(border, MESSAGE_TAP_OWNER, &question, &owner, err) != 0) {
        return -1;
    }
    *ret_found = owner.count > 0;
    if (owner.count > 0) {
        memcpy(ret, owner.items[0].id, sizeof owner.items[0].id);
    }
    record_free(message_types[MESSAGE_TAP_OWNER].answer, &owner);
    return 0;
}

int border_port_list(struct border *border, struct port_row **ret, size_t *ret_count, struct error *err)
{
    struct message_ports ports;
    if (border_ask(border, MESSAGE_PORT_LIST, &nothing, &ports, err) != 0) {
        return -1;
    }
    *ret = ports.items;
    *ret_count = ports.count;
    return 0;
}

int border_wireguard_get(struct border *border, struct wireguard_row *ret, struct error *err)
{
    if (border_ask(border, MESSAGE_WIREGUARD_GET, &nothing, ret, err) != 0) {
        return -1;
    }
    if (ret->wanted && ret->document == NULL) {
        wireguard_row_free(ret);
        return error_set(err, ERR_ROW_DAMAGED, "wireguard.document is missing");
    }
    return 0;
}

int border_task_get(struct border *border, int64_t id, struct task_row *ret, bool *ret_found, struct error *err)
{
    const struct message_number question = {.value = id};
    struct message_tasks tasks;
    if (border_ask(border, MESSAGE_TASK_GET, &question, &tasks, err) != 0) {
        return -1;
    }
    *ret_found = tasks.count > 0;
    if (tasks.count > 0) {
        *ret = tasks.items[0];
        memset(&tasks.items[0], 0, sizeof tasks.items[0]);
    }
    record_free(message_types[MESSAGE_TASK_GET].answer, &tasks);
    return 0;
}

int border_task_report(struct border *border, int64_t id, const char *outcome, bool ended, struct error *err)
{
    const struct message_task_report question = {.id = id, .outcome = border_only_read(outcome), .ended = ended};
    return border_tell(border, MESSAGE_TASK_REPORT, &question, err);
}
