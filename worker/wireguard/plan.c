#include "worker/wireguard/plan.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *description;
} op_table[WIREGUARD_OP_COUNT_] = {
    [WIREGUARD_OP_CLOSE_ROUTES] = {"close_routes", "make unreachable what may leave by the tunnel alone, and keep guests reachable"},
    [WIREGUARD_OP_ADD_RULES] = {"add_rules", "lead what guests send to the tunnel's routing table"},
    [WIREGUARD_OP_REMOVE_RULES] = {"remove_rules", "remove routing rules that are not wanted any more"},
    [WIREGUARD_OP_REMOVE_ROUTES] = {"remove_routes", "remove routes that are not wanted any more"},
    [WIREGUARD_OP_REMOVE_TUNNELS] = {"remove_tunnels", "remove tunnels that are not wanted any more"},
    [WIREGUARD_OP_UNTUNE] = {"untune", "give the interface of before its kernel parameters back"},
    [WIREGUARD_OP_START] = {"start", "make the tunnel, in the kernel or by a process"},
    [WIREGUARD_OP_RESTORE_ALIAS] = {"restore_alias", "give the tunnel its alias back"},
    [WIREGUARD_OP_CONFIGURE] = {"configure", "set the tunnel's keys and peers, as far as they differ"},
    [WIREGUARD_OP_SET_LINK] = {"set_link", "set the tunnel's addresses and MTU, and bring it up"},
    [WIREGUARD_OP_TUNE] = {"tune", "set the kernel's parameters of the tunnel"},
    [WIREGUARD_OP_OPEN_ROUTES] = {"open_routes", "route what guests send into the tunnel"},
};

const char *wireguard_op_name(enum wireguard_op_type type)
{
    return op_table[type].name;
}

const char *wireguard_op_description(enum wireguard_op_type type)
{
    return op_table[type].description;
}

static void plan_op(struct wireguard_plan *plan, enum wireguard_op_type type, bool repair, const char *found)
{
    if (found[0] != '\0') {
        struct wireguard_op *op = &plan->ops[plan->count++];
        op->type = type;
        op->repair = repair;
        (void)snprintf(op->found, sizeof op->found, "%s", found);
    }
}

/* What is to be removed was wanted before, so it is never a repair. */
static void plan_removals(const struct wireguard_observed *seen, struct wireguard_plan *plan)
{
    plan_op(plan, WIREGUARD_OP_REMOVE_RULES, seen->set_up_before, seen->old_rules_found);
    plan_op(plan, WIREGUARD_OP_REMOVE_ROUTES, seen->set_up_before, seen->old_routes_found);
    plan_op(plan, WIREGUARD_OP_REMOVE_TUNNELS, seen->set_up_before, seen->old_tunnels_found);
    plan_op(plan, WIREGUARD_OP_UNTUNE, false, seen->old_tuning_found);
}

static void plan_tunnel(const struct wireguard_observed *seen, struct wireguard_plan *plan)
{
    bool repair = seen->set_up_before;
    bool missing = seen->missing_found[0] != '\0';
    plan_op(plan, WIREGUARD_OP_START, repair, seen->missing_found);
    if (seen->alias_changed) {
        plan_op(plan, WIREGUARD_OP_RESTORE_ALIAS, repair, seen->link_found);
    }
    plan_op(plan, WIREGUARD_OP_CONFIGURE, repair && !seen->follows_name && !missing, missing ? "it is new" : seen->device_found);
    plan_op(plan, WIREGUARD_OP_SET_LINK, repair && !missing, missing ? "it is new" : seen->link_found);
}

void wireguard_plan_make(const struct wireguard_observed *observed, struct wireguard_plan *ret)
{
    memset(ret, 0, sizeof *ret);
    plan_op(ret, WIREGUARD_OP_CLOSE_ROUTES, observed->set_up_before, observed->closed_found);
    plan_op(ret, WIREGUARD_OP_ADD_RULES, observed->set_up_before, observed->rules_found);
    plan_removals(observed, ret);
    if (observed->is_managed) {
        plan_tunnel(observed, ret);
    }
    if (!observed->waits) {
        bool is_new = observed->missing_found[0] != '\0';
        plan_op(ret, WIREGUARD_OP_TUNE, observed->set_up_before && !is_new, observed->tuning_found);
        plan_op(ret, WIREGUARD_OP_OPEN_ROUTES, observed->set_up_before && !is_new, observed->open_found);
    }
}
