/* What has no mark of its own on the host: routes, and parameters of others' interfaces. The daemon's own memory says which. */
#include "core/cleanup.h"
#include "core/interface_names.h"
#include "host/link/bridge_ipv6.h"
#include "host/link/route.h"
#include "host/link/sysctl.h"
#include "worker/purge/steps.h"
#include "worker/wireguard/work.h"

#include <errno.h>
#include <stdio.h>

void purge_open_memory(struct purge_work *work)
{
    struct error err;
    if (work->has_state && memory_open(work->config->state_dir, &work->memory, &err) != 0) {
        work->memory = NULL;
        purge_tell("what the daemon turned on can't be read (%s): forwarding stays on", err.message);
    }
}

static int remove_routes(struct purge_work *work, uint32_t table, struct error *err)
{
    AUTO_FREE struct route_listed *listed = NULL;
    size_t count = 0;
    char user[INTERFACE_NAME_MAX];
    /* Another daemon's by now? */
    if (route_table_user(table, work->config->network.bridge, user, err) != 0 || (user[0] == '\0' && route_list(table, &listed, &count, err) != 0)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (listed[i].ours && route_delete(table, &listed[i].route, err) != 0) {
            return -1;
        }
        work->count += listed[i].ours;
    }
    return 0;
}

int purge_routes(struct purge_work *work, struct error *err)
{
    struct route_rule rules[ROUTE_RULES_MAX];
    struct wireguard_record record = {.table_count = 0};
    size_t count = 0;
    if (route_rules_list(work->config->network.bridge, rules, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (remove_routes(work, rules[i].table, err) != 0 || route_rule_delete(work->config->network.bridge, &rules[i], err) != 0) {
            return -1;
        }
        work->count++;
    }
    if (work->memory == NULL || wireguard_record_load(work->memory, &record, NULL) != 0) {
        return 0;
    }
    for (size_t i = 0; i < record.table_count; i++) {
        if (remove_routes(work, record.tables[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int no_failure_if_gone(int result, const struct error *why, struct error *err)
{
    if (result != 0 && why->sys_errno != ENOENT) {
        *err = *why;
        return -1;
    }
    return 0;
}

static int give_back(struct purge_work *work, enum memory_item item, int (*set)(const char *interface, bool on, struct error *err), struct error *err)
{
    AUTO_FREE char *text = memory_get(work->memory, item);
    struct interface_names names = {.count = 0};
    struct error why = {.sys_errno = 0};
    if (text == NULL) {
        return error_oom(err);
    }
    interface_names_parse(text, &names);
    for (size_t i = 0; i < names.count; i++) {
        work->count++;
        if (no_failure_if_gone(set(names.items[i], false, &why), &why, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int purge_parameters(struct purge_work *work, struct error *err)
{
    struct wireguard_record record = {.table_count = 0};
    struct error why = {.sys_errno = 0};
    if (work->memory == NULL) {
        return 0;
    }
    if (give_back(work, MEMORY_FORWARDED_UPLINKS, sysctl_forwarding_set, err) != 0 ||
        give_back(work, MEMORY_FORWARDED_ENTRIES, sysctl_forwarding_set, err) != 0 ||
        give_back(work, MEMORY_FORWARDED6_UPLINKS, ipv6_forwarding_set, err) != 0) {
        return -1;
    }
    if (wireguard_record_load(work->memory, &record, NULL) == 0 && record.tuned[0] != '\0') {
        work->count++;
        return no_failure_if_gone(wireguard_give_back(&record, &why), &why, err);
    }
    return 0;
}
