/*
 * The policies of guests in the firewall's tables, as far as the network's reconciler is concerned: with the tables when they are made, and
 * again when somebody broke them. What a client changes is worker/firewall/firewall.c's; while such a change waits, nothing is judged here.
 */
#include "core/cleanup.h"
#include "worker/border/wanted.h"
#include "worker/firewall/firewall.h"
#include "worker/firewall/plan.h"
#include "worker/network/work.h"

#include <string.h>

static bool is_present(const struct interface_row *row, void *ctx)
{
    return network_guest_is_wanted(ctx, row);
}

int network_policies_wanted(struct network_work *work, struct firewall_wanted *ret, struct error *err)
{
    struct interface_row *rows = NULL;
    size_t count = 0;
    if (border_interface_list(work->worker->border, &rows, &count, err) != 0) {
        return -1;
    }
    int result = firewall_wanted_load(work->worker->border, work->wish, &work->settings, rows, count, is_present, work, ret, err);
    free(rows);
    return result;
}

static int plan_policies(struct network_work *work, struct firewall_wanted *wanted, struct firewall_plan *ret, struct error *err)
{
    struct nft_policies_seen seen = {.tables = false};
    if (network_policies_wanted(work, wanted, err) != 0 || nft_policies_look(work->worker->mark, &seen, err) != 0) {
        return -1;
    }
    int result = firewall_plan_make(wanted, &seen, ret, err);
    nft_policies_seen_free(&seen);
    return result;
}

int network_policies_observe(struct network_work *work, struct error *err)
{
    AUTO_FIREWALL_WANTED wanted = {.vm_count = 0};
    AUTO_FIREWALL_PLAN plan = {.empty = true};
    struct firewall_observed observed;
    if (work->observed.firewall_found[0] != '\0') {
        return 0; /* the tables are made new anyway, with all policies */
    }
    if (border_firewall_observed_get(work->worker->border, &observed, err) != 0) {
        return -1;
    }
    if (observed.generation != observed.wanted) {
        return 0;
    }
    if (plan_policies(work, &wanted, &plan, err) != 0) {
        return -1;
    }
    if (wanted.generation != observed.wanted) {
        return 0; /* a client has changed it since: that is no repair */
    }
    memcpy(work->observed.policies_found, plan.found, sizeof work->observed.policies_found);
    return 0;
}

int network_policies_repair(struct network_work *work, struct error *err)
{
    AUTO_FIREWALL_WANTED wanted = {.vm_count = 0};
    AUTO_FIREWALL_PLAN plan = {.empty = true};
    if (plan_policies(work, &wanted, &plan, err) != 0) {
        return -1;
    }
    return plan.empty ? 0 : nft_policies_change(work->worker->mark, &plan.change, err);
}
