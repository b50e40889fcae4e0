/*
 * The policies of guests in the firewall's tables, as far as the network's reconciler is concerned: with the tables when they are made, and
 * again when somebody broke them. What a client changes is worker/firewall.c's; while such a change waits, nothing is judged here.
 */
#include "core/cleanup.h"
#include "db/firewall.h"
#include "worker/firewall.h"
#include "worker/firewall_plan.h"
#include "worker/network_work.h"

#include <string.h>

static bool is_present(const struct interface_row *row, void *ctx)
{
    return network_guest_is_wanted(ctx, row);
}

int network_policies_wanted(struct network_work *work, struct firewall_wanted *ret, struct error *err)
{
    struct interface_row *rows = NULL;
    size_t count = 0;
    if (interfaces_list(work->worker->db, &rows, &count, err) != 0) {
        return -1;
    }
    int result = firewall_wanted_load(work->worker->db, &work->settings, rows, count, is_present, work, ret, err);
    free(rows);
    return result;
}

static int look(struct network_work *work, struct firewall_wanted *wanted, struct firewall_plan *ret, struct error *err)
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
    if (firewall_observed_get(work->worker->db, &observed, err) != 0) {
        return -1;
    }
    if (observed.generation != observed.wanted) {
        return 0;
    }
    if (look(work, &wanted, &plan, err) != 0) {
        return -1;
    }
    memcpy(work->observed.policies_found, plan.found, sizeof work->observed.policies_found);
    return 0;
}

int network_policies_repair(struct network_work *work, struct error *err)
{
    AUTO_FIREWALL_WANTED wanted = {.vm_count = 0};
    AUTO_FIREWALL_PLAN plan = {.empty = true};
    if (look(work, &wanted, &plan, err) != 0 ||
        (!plan.empty && nft_policies_change(work->worker->mark, &plan.change, err) != 0)) {
        return -1;
    }
    return firewall_cut_flows(&wanted, err); /* that began meanwhile */
}
