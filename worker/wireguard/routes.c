/* The routing table of the tunnel, and the rules that lead guests there. */
#include "core/cleanup.h"
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_routes(const void *a, const void *b)
{
    const struct route *x = a;
    const struct route *y = b;
    int order = wireguard_compare_nets(&x->net, &y->net);
    if (order == 0) {
        order = x->metric < y->metric ? -1 : x->metric > y->metric;
    }
    if (order == 0) {
        order = (int)x->unreachable - (int)y->unreachable;
    }
    return order != 0 ? order : strcmp(x->link, y->link);
}

static bool is_in(const struct wireguard_routes *sorted, const struct route *route)
{
    return sorted->count > 0 && bsearch(route, sorted->items, sorted->count, sizeof *route, compare_routes) != NULL;
}

static void sort(struct wireguard_routes *routes)
{
    if (routes->count > 0) {
        qsort(routes->items, routes->count, sizeof *routes->items, compare_routes);
    }
}

/* Those of ours, or the first that is not, as an error. */
static int list_ours(uint32_t table, bool others_matter, struct wireguard_routes *ret, struct error *err)
{
    AUTO_FREE struct route_listed *listed = NULL;
    size_t count = 0;
    if (route_list(table, &listed, &count, err) != 0) {
        return -1;
    }
    ret->items = calloc(count + 1, sizeof *ret->items);
    if (ret->items == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < count; i++) {
        char net[IP_NET_TEXT_MAX];
        if (listed[i].ours) {
            ret->items[ret->count++] = listed[i].route;
        } else if (others_matter) {
            return error_set(err, ERR_WIREGUARD_SETUP_FAILED,
                             "routing table %u holds a route that this daemon did not make (%s%s%s): choose another `route_table`", table,
                             ip_net_format(&listed[i].route.net, net), listed[i].route.link[0] != '\0' ? " by " : "", listed[i].route.link);
        }
    }
    sort(ret);
    return 0;
}

static void note_missing(const struct wireguard_routes *wanted, const struct wireguard_routes *there, uint32_t table, char *found, size_t size)
{
    size_t missing = 0;
    const struct route *first = NULL;
    char net[IP_NET_TEXT_MAX];
    for (size_t i = 0; i < wanted->count; i++) {
        if (!is_in(there, &wanted->items[i])) {
            first = first == NULL ? &wanted->items[i] : first;
            missing++;
        }
    }
    if (first != NULL) {
        (void)snprintf(found, size, "table %u has no route to %s %s%s%s", table, ip_net_format(&first->net, net), first->unreachable ? "(unreachable)" : "by ",
                       first->link, missing > 1 ? ", and others" : "");
    }
}

/* Is it one that we have made, and do not want any more? */
static bool is_old(const struct wireguard_work *work, uint32_t table, const struct route *route)
{
    bool wanted_table = work->rule_count > 0 && table == work->config.route_table;
    return !wanted_table || (!is_in(&work->closed, route) && !is_in(&work->open, route));
}

static int observe_table(struct wireguard_work *work, uint32_t table, bool wanted, struct error *err)
{
    struct wireguard_observed *seen = &work->observed;
    struct wireguard_routes there = {.count = 0};
    char net[IP_NET_TEXT_MAX];
    int result = list_ours(table, wanted, &there, err);
    if (result == 0 && wanted) {
        note_missing(&work->closed, &there, table, seen->closed_found, sizeof seen->closed_found);
        note_missing(&work->open, &there, table, seen->open_found, sizeof seen->open_found);
    }
    for (size_t i = 0; result == 0 && i < there.count && seen->old_routes_found[0] == '\0'; i++) {
        if (is_old(work, table, &there.items[i])) {
            (void)snprintf(seen->old_routes_found, sizeof seen->old_routes_found, "table %u has the route to %s, which is not wanted", table,
                           ip_net_format(&there.items[i].net, net));
        }
    }
    free(there.items);
    return result;
}

static bool rule_is_in(const struct route_rule *rules, size_t count, const struct route_rule *rule)
{
    for (size_t i = 0; i < count; i++) {
        if (rules[i].version == rule->version && rules[i].table == rule->table) {
            return true;
        }
    }
    return false;
}

static int observe_rules(struct wireguard_work *work, struct error *err)
{
    struct route_rule there[ROUTE_RULES_MAX];
    size_t count = 0;
    struct wireguard_observed *seen = &work->observed;
    if (route_rules_list(work->bridge, there, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < work->rule_count; i++) {
        if (!rule_is_in(there, count, &work->rules[i])) {
            (void)snprintf(seen->rules_found, sizeof seen->rules_found, "the rule 'iif %s lookup %u' is gone", work->bridge, work->rules[i].table);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!rule_is_in(work->rules, work->rule_count, &there[i])) {
            (void)snprintf(seen->old_rules_found, sizeof seen->old_rules_found, "the rule 'iif %s lookup %u' is not wanted", work->bridge, there[i].table);
        }
    }
    return 0;
}

int wireguard_routes_observe(struct wireguard_work *work, struct error *err)
{
    sort(&work->closed);
    sort(&work->open);
    if (work->rule_count > 0 && observe_table(work, work->config.route_table, true, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < work->record.table_count; i++) {
        bool wanted = work->rule_count > 0 && work->record.tables[i] == work->config.route_table;
        if (!wanted && observe_table(work, work->record.tables[i], false, err) != 0) {
            return -1;
        }
    }
    return observe_rules(work, err);
}

int wireguard_routes_add(const struct wireguard_work *work, const struct wireguard_routes *wanted, struct error *err)
{
    struct wireguard_routes there = {.count = 0};
    int result = list_ours(work->config.route_table, true, &there, err);
    for (size_t i = 0; result == 0 && i < wanted->count; i++) {
        result = is_in(&there, &wanted->items[i]) ? 0 : route_add(work->config.route_table, &wanted->items[i], err);
    }
    free(there.items);
    return result;
}

int wireguard_rules_add(const struct wireguard_work *work, struct error *err)
{
    for (size_t i = 0; i < work->rule_count; i++) {
        if (route_rule_add(work->bridge, &work->rules[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

int wireguard_rules_remove(const struct wireguard_work *work, struct error *err)
{
    struct route_rule there[ROUTE_RULES_MAX];
    size_t count = 0;
    if (route_rules_list(work->bridge, there, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (!rule_is_in(work->rules, work->rule_count, &there[i]) && route_rule_delete(work->bridge, &there[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int remove_from(const struct wireguard_work *work, uint32_t table, struct error *err)
{
    struct wireguard_routes there = {.count = 0};
    int result = list_ours(table, false, &there, err);
    for (size_t i = 0; result == 0 && i < there.count; i++) {
        result = is_old(work, table, &there.items[i]) ? route_delete(table, &there.items[i], err) : 0;
    }
    free(there.items);
    return result;
}

int wireguard_routes_remove(const struct wireguard_work *work, struct error *err)
{
    for (size_t i = 0; i < work->record.table_count; i++) {
        if (remove_from(work, work->record.tables[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}
