#include "worker/network/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *description;
} op_table[NETWORK_OP_COUNT_] = {
    [NETWORK_OP_RESTORE_ALIAS] = {"restore_alias", "give the bridge its alias back"},
    [NETWORK_OP_REMOVE_TAPS] = {"remove_taps", "remove TAPs of VMs that are gone"},
    [NETWORK_OP_ENSURE_BRIDGE] = {"ensure_bridge", "make the bridge as it should be"},
    [NETWORK_OP_APPLY_FIREWALL] = {"apply_firewall", "make both firewall tables new, in one transaction"},
    [NETWORK_OP_REPLACE_UPLINK] = {"replace_uplink", "put the uplinks into the firewall's set"},
    [NETWORK_OP_REPLACE_CLOSED] = {"replace_closed", "close the networks that the host is connected to"},
    [NETWORK_OP_REMOVE_GUESTS] = {"remove_guests", "remove addresses from the firewall that no VM has"},
    [NETWORK_OP_ADD_GUESTS] = {"add_guests", "let the addresses of running VMs through the firewall"},
    [NETWORK_OP_APPLY_POLICIES] = {"apply_policies", "put the firewall's policies and address sets back"},
    [NETWORK_OP_SET_PORTS] = {"set_ports", "let published ports lead to their VMs"},
    [NETWORK_OP_SET_LOOPBACK] = {"set_loopback", "let the host reach published ports at 127.0.0.1, if there are any"},
    [NETWORK_OP_SET_ENTRIES] = {"set_entries", "let clients of published ports in by the host's other interfaces, if there are any"},
    [NETWORK_OP_TUNE_BRIDGE] = {"tune_bridge", "set the kernel's parameters of the bridge"},
    [NETWORK_OP_SET_GATE] = {"set_gate", "let nothing of guests through without the firewall's tables"},
    [NETWORK_OP_FORWARD_BRIDGE] = {"forward_bridge", "turn on forwarding on the bridge"},
    [NETWORK_OP_UNFORWARD_OLD_UPLINK] = {"unforward_old_uplink", "turn off forwarding on uplinks of before"},
    [NETWORK_OP_FORWARD_UPLINK] = {"forward_uplink", "turn on forwarding on the uplinks"},
    [NETWORK_OP_SET_IPV6] = {"set_ipv6", "give the bridge its IPv6 address, and no other"},
    [NETWORK_OP_FORWARD6_BRIDGE] = {"forward6_bridge", "turn on IPv6 forwarding on the bridge"},
    [NETWORK_OP_UNFORWARD6_OLD_UPLINK] = {"unforward6_old_uplink", "turn off IPv6 forwarding on uplinks of before"},
    [NETWORK_OP_FORWARD6_UPLINK] = {"forward6_uplink", "turn on IPv6 forwarding on the uplinks"},
};

const char *network_op_name(enum network_op_type type)
{
    return op_table[type].name;
}

const char *network_op_description(enum network_op_type type)
{
    return op_table[type].description;
}

static void plan_op(struct network_plan *plan, enum network_op_type type, bool repair, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void plan_op(struct network_plan *plan, enum network_op_type type, bool repair, const char *fmt, ...)
{
    struct network_op *op = &plan->ops[plan->count++];
    va_list ap;
    op->type = type;
    op->repair = repair;
    va_start(ap, fmt);
    (void)vsnprintf(op->found, sizeof op->found, fmt, ap);
    va_end(ap);
}

static void plan_taps(const struct network_observed *seen, struct network_plan *plan)
{
    if (seen->orphan_taps[0] != '\0') {
        plan_op(plan, NETWORK_OP_REMOVE_TAPS, seen->set_up_before, "%s", seen->orphan_taps);
    }
}

static void plan_bridge(const struct network_observed *seen, struct network_plan *plan)
{
    if (seen->bridge_alias_changed) {
        plan_op(plan, NETWORK_OP_RESTORE_ALIAS, seen->set_up_before, "the bridge: %.200s", seen->bridge_found);
    }
    if (seen->bridge_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_ENSURE_BRIDGE, seen->set_up_before && !seen->cut_off, "the bridge: %.200s", seen->bridge_found);
    }
}

/* The firewall's set follows the host's routes; that is no repair. */
static void plan_firewall(const struct network_observed *seen, struct network_plan *plan)
{
    bool followed = !interface_names_equal(&seen->uplinks, &seen->last_uplinks);
    if (seen->firewall_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_APPLY_FIREWALL, seen->set_up_before, "%s", seen->firewall_found);
        return;
    }
    if (seen->uplinks_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_REPLACE_UPLINK, seen->set_up_before && !followed, "%s", seen->uplinks_found);
    }
    if (!seen->closed_ok) {
        plan_op(plan, NETWORK_OP_REPLACE_CLOSED, seen->set_up_before && !seen->closed_moved,
                seen->closed_moved ? "the host is connected to other networks than before" : "sets closed4 and closed6 hold other networks");
    }
    if (seen->orphan_guests[0] != '\0') {
        plan_op(plan, NETWORK_OP_REMOVE_GUESTS, seen->set_up_before, "%s", seen->orphan_guests);
    }
    if (seen->missing_guests[0] != '\0') {
        plan_op(plan, NETWORK_OP_ADD_GUESTS, seen->set_up_before, "%s", seen->missing_guests);
    }
    if (seen->policies_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_APPLY_POLICIES, seen->set_up_before, "%s", seen->policies_found);
    }
    if (seen->ports_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_SET_PORTS, seen->set_up_before, "%s", seen->ports_found);
    }
}

/* Forwarding of uplinks is turned off again where it was the daemon that had turned it on. */
static void plan_old_uplinks(const struct interface_names *forwarded, const struct interface_names *wanted, enum network_op_type op, const char *version,
                             struct network_plan *plan)
{
    char names[INTERFACE_NAMES_TEXT_MAX];
    struct interface_names old = *forwarded;
    for (size_t i = 0; i < wanted->count; i++) {
        interface_names_remove(&old, wanted->items[i]);
    }
    if (old.count > 0) {
        plan_op(plan, op, false, "no uplink%s any more: %.200s", version, interface_names_format(&old, names));
    }
}

static void plan_idle_uplinks(const struct network_observed *seen, const struct interface_names *idle, enum network_op_type op, const char *version,
                              struct network_plan *plan)
{
    char names[INTERFACE_NAMES_TEXT_MAX];
    if (idle->count > 0) {
        plan_op(plan, op, seen->set_up_before && interface_names_within(idle, &seen->last_uplinks), "forwarding%s is off on %.200s", version,
                interface_names_format(idle, names));
    }
}

static void plan_forwarding(const struct network_observed *seen, struct network_plan *plan)
{
    if (!seen->bridge_present || seen->bridge_tuning_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_TUNE_BRIDGE, seen->set_up_before && seen->bridge_present, "%s",
                seen->bridge_present ? seen->bridge_tuning_found : "the bridge is new");
    }
    /* Behind the tables, without whose marks it lets nothing through. */
    if (!seen->bridge_present || seen->gate_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_SET_GATE, seen->set_up_before && seen->bridge_present, "%s", seen->bridge_present ? seen->gate_found : "the bridge is new");
    }
    if (seen->loopback_wanted != seen->loopback_open) {
        plan_op(plan, NETWORK_OP_SET_LOOPBACK, false, "route_localnet of the bridge is %s", seen->loopback_open ? "on" : "off");
    }
    if (!seen->bridge_forwards) {
        /* A bridge that was just made anew forwards nothing; that is part of the same repair. */
        plan_op(plan, NETWORK_OP_FORWARD_BRIDGE, seen->set_up_before && seen->bridge_present, "forwarding is off on the bridge");
    }
    plan_old_uplinks(&seen->forwarded_uplinks, &seen->uplinks, NETWORK_OP_UNFORWARD_OLD_UPLINK, "", plan);
    plan_idle_uplinks(seen, &seen->idle_uplinks, NETWORK_OP_FORWARD_UPLINK, "", plan);
}

/* Of IPv6, what is turned off goes before the guard that stands there, and what is turned on comes behind it. */
static void plan_old_ipv6(const struct network_observed *seen, struct network_plan *plan)
{
    static const struct interface_names none = {.count = 0};
    plan_old_uplinks(&seen->forwarded6_uplinks, seen->ipv6_wanted ? &seen->uplinks : &none, NETWORK_OP_UNFORWARD6_OLD_UPLINK, " of IPv6", plan);
}

/* Behind the uplinks: an interface may have been one, or be one now. */
static void plan_entries(const struct network_observed *seen, struct network_plan *plan)
{
    if (seen->entries_found[0] != '\0' || (seen->entries_there && seen->firewall_found[0] != '\0')) {
        plan_op(plan, NETWORK_OP_SET_ENTRIES, false, "%s", seen->entries_found[0] != '\0' ? seen->entries_found : "the tables are new");
    }
}

static void plan_ipv6(const struct network_observed *seen, struct network_plan *plan)
{
    bool repair = seen->set_up_before && seen->bridge_present;
    if (seen->ipv6_found[0] != '\0') {
        plan_op(plan, NETWORK_OP_SET_IPV6, repair, "%s", seen->ipv6_found);
    }
    if (seen->ipv6_wanted && !seen->bridge_forwards6) {
        plan_op(plan, NETWORK_OP_FORWARD6_BRIDGE, repair, "IPv6 forwarding is off on the bridge");
    }
    if (seen->ipv6_wanted) {
        plan_idle_uplinks(seen, &seen->idle6_uplinks, NETWORK_OP_FORWARD6_UPLINK, " of IPv6", plan);
    }
}

/*
 * The firewall stands before anything can be forwarded, and an element leaves after its TAP. The bridge comes first,
 * since a foreign one of that name is none of our firewall's business; but one that was taken down because the
 * firewall stood open gets up behind it.
 */
void network_plan_make(const struct network_observed *observed, struct network_plan *ret)
{
    memset(ret, 0, sizeof *ret);
    plan_taps(observed, ret);
    if (observed->cut_off) {
        plan_firewall(observed, ret);
        plan_bridge(observed, ret);
    } else {
        plan_bridge(observed, ret);
        plan_firewall(observed, ret);
    }
    plan_forwarding(observed, ret);
    plan_old_ipv6(observed, ret);
    plan_entries(observed, ret);
    plan_ipv6(observed, ret);
}
