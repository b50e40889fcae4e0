/* The planner of the network. */
#include "worker/network/plan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct network_observed seen;
static struct network_plan plan;

static struct interface_names names(const char *text)
{
    struct interface_names ret;
    interface_names_parse(text, &ret);
    return ret;
}

static void setup(void)
{
    seen = (struct network_observed){.set_up_before = true,
                                     .bridge_present = true,
                                     .uplinks = names("eth0"),
                                     .last_uplinks = names("eth0"),
                                     .closed_ok = true,
                                     .bridge_forwards = true,
                                     .forwarded_uplinks = names("eth0")};
}

static int position(enum network_op_type type)
{
    network_plan_make(&seen, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        if (plan.ops[i].type == type) {
            return (int)i;
        }
    }
    return -1;
}

/* The one operation that is planned. */
static const struct network_op *only(enum network_op_type type)
{
    network_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, type);
    return &plan.ops[0];
}

START_TEST(nothing_to_do)
{
    network_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 0);
}
END_TEST

START_TEST(from_nothing)
{
    memset(&seen, 0, sizeof seen);
    seen.uplinks = seen.idle_uplinks = names("eth0");
    strcpy(seen.bridge_found, "it is gone");
    strcpy(seen.firewall_found, "table inet smartvm is gone");
    ck_assert_int_lt(position(NETWORK_OP_ENSURE_BRIDGE), position(NETWORK_OP_APPLY_FIREWALL));
    ck_assert_int_lt(position(NETWORK_OP_APPLY_FIREWALL), position(NETWORK_OP_FORWARD_BRIDGE));
    ck_assert_int_lt(position(NETWORK_OP_FORWARD_BRIDGE), position(NETWORK_OP_FORWARD_UPLINK));
    ck_assert_int_eq(position(NETWORK_OP_REPLACE_UPLINK), -1);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert(!plan.ops[i].repair);
    }
}
END_TEST

START_TEST(uplink_moves)
{
    seen.uplinks = seen.idle_uplinks = names("eth1");
    strcpy(seen.uplinks_found, "set uplink holds eth0, not eth1");
    ck_assert_int_ge(position(NETWORK_OP_REPLACE_UPLINK), 0);
    ck_assert_int_lt(position(NETWORK_OP_UNFORWARD_OLD_UPLINK), position(NETWORK_OP_FORWARD_UPLINK));
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert(!plan.ops[i].repair); /* it follows the host */
    }
}
END_TEST

START_TEST(uplink_that_somebody_else_forwards_is_left_alone)
{
    seen.uplinks = names("eth1");
    seen.forwarded_uplinks.count = 0;
    ck_assert_int_eq(position(NETWORK_OP_UNFORWARD_OLD_UPLINK), -1);
    ck_assert_int_eq(position(NETWORK_OP_FORWARD_UPLINK), -1);
}
END_TEST

START_TEST(several_uplinks)
{
    seen.uplinks = names("eth0 eth1 wg0");
    seen.idle_uplinks = names("wg0");
    seen.forwarded_uplinks = names("eth0 ppp0");
    strcpy(seen.uplinks_found, "set uplink holds eth0, not eth0 and eth1 and wg0");
    ck_assert(!plan.ops[position(NETWORK_OP_REPLACE_UPLINK)].repair); /* it follows the host */
    const struct network_op *off = &plan.ops[position(NETWORK_OP_UNFORWARD_OLD_UPLINK)];
    ck_assert_str_eq(off->found, "no uplink any more: ppp0");
    const struct network_op *on = &plan.ops[position(NETWORK_OP_FORWARD_UPLINK)];
    ck_assert_str_eq(on->found, "forwarding is off on wg0");
    ck_assert(!on->repair);
    seen.last_uplinks = names("wg0 eth1 eth0"); /* the same, in another order: now somebody broke it */
    ck_assert(plan.ops[position(NETWORK_OP_REPLACE_UPLINK)].repair);
    ck_assert(plan.ops[position(NETWORK_OP_FORWARD_UPLINK)].repair);
}
END_TEST

START_TEST(the_host_is_in_another_network)
{
    seen.closed_ok = false;
    ck_assert(only(NETWORK_OP_REPLACE_CLOSED)->repair);
    seen.closed_moved = true; /* that is to follow, not to repair */
    ck_assert(!only(NETWORK_OP_REPLACE_CLOSED)->repair);
    strcpy(seen.firewall_found, "table inet smartvm is gone"); /* made new, with the right ones */
    ck_assert_int_eq(position(NETWORK_OP_REPLACE_CLOSED), -1);
}
END_TEST

START_TEST(the_bridge_is_tuned)
{
    strcpy(seen.bridge_tuning_found, "net.ipv4.conf.br0.rp_filter is 0, not 1");
    ck_assert(only(NETWORK_OP_TUNE_BRIDGE)->repair);
    ck_assert_str_eq(only(NETWORK_OP_TUNE_BRIDGE)->found, seen.bridge_tuning_found);
    seen.bridge_tuning_found[0] = '\0';
    seen.bridge_present = false;
    seen.bridge_forwards = false;
    strcpy(seen.bridge_found, "it is gone");
    ck_assert_int_lt(position(NETWORK_OP_ENSURE_BRIDGE), position(NETWORK_OP_TUNE_BRIDGE));
    ck_assert_int_lt(position(NETWORK_OP_TUNE_BRIDGE), position(NETWORK_OP_FORWARD_BRIDGE));
}
END_TEST

START_TEST(the_gate)
{
    strcpy(seen.gate_found, "the bridge's filter smartvm_in is gone");
    ck_assert(only(NETWORK_OP_SET_GATE)->repair);
    ck_assert_str_eq(only(NETWORK_OP_SET_GATE)->found, seen.gate_found);
    strcpy(seen.firewall_found, "table inet smartvm is gone"); /* without their marks it would let nothing through */
    seen.bridge_forwards = false;
    ck_assert_int_lt(position(NETWORK_OP_APPLY_FIREWALL), position(NETWORK_OP_SET_GATE));
    ck_assert_int_lt(position(NETWORK_OP_SET_GATE), position(NETWORK_OP_FORWARD_BRIDGE));
    seen.gate_found[0] = '\0';
    seen.bridge_present = false; /* its filters went with it */
    strcpy(seen.bridge_found, "it is gone");
    ck_assert_int_lt(position(NETWORK_OP_ENSURE_BRIDGE), position(NETWORK_OP_SET_GATE));
    ck_assert(!plan.ops[position(NETWORK_OP_SET_GATE)].repair);
    seen.cut_off = true; /* it gets up behind the firewall, and the gate is made behind both */
    ck_assert_int_lt(position(NETWORK_OP_ENSURE_BRIDGE), position(NETWORK_OP_SET_GATE));
}
END_TEST

START_TEST(policies)
{
    strcpy(seen.policies_found, "the host-wide egress policy is gone");
    ck_assert(only(NETWORK_OP_APPLY_POLICIES)->repair);
    strcpy(seen.firewall_found, "table inet smartvm is gone"); /* made new, with them */
    ck_assert_int_eq(position(NETWORK_OP_APPLY_POLICIES), -1);
}
END_TEST

START_TEST(published_ports)
{
    strcpy(seen.ports_found, "1 published ports are missing");
    ck_assert(only(NETWORK_OP_SET_PORTS)->repair);
    strcpy(seen.firewall_found, "table inet smartvm is gone"); /* made new, with them */
    ck_assert_int_eq(position(NETWORK_OP_SET_PORTS), -1);
}
END_TEST

START_TEST(loopback_is_open_only_for_published_ports)
{
    seen.loopback_wanted = true;
    ck_assert(!only(NETWORK_OP_SET_LOOPBACK)->repair);
    seen.loopback_open = true;
    ck_assert_int_eq(position(NETWORK_OP_SET_LOOPBACK), -1);
    seen.loopback_wanted = false;
    (void)only(NETWORK_OP_SET_LOOPBACK);
}
END_TEST

START_TEST(ipv6_where_it_is_chosen)
{
    seen.bridge_forwards6 = false;
    seen.idle6_uplinks = names("eth0");
    ck_assert_int_eq(position(NETWORK_OP_FORWARD6_BRIDGE), -1); /* it is not */
    seen.ipv6_wanted = true;
    strcpy(seen.ipv6_found, "the bridge's address fd00::1/64 is gone");
    ck_assert_int_lt(position(NETWORK_OP_SET_IPV6), position(NETWORK_OP_FORWARD6_BRIDGE));
    ck_assert_int_lt(position(NETWORK_OP_FORWARD6_BRIDGE), position(NETWORK_OP_FORWARD6_UPLINK));
    seen.ipv6_found[0] = '\0';
    seen.bridge_forwards6 = true;
    seen.idle6_uplinks.count = 0;
    seen.forwarded6_uplinks = names("eth0");
    network_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 0);
    seen.forwarded6_uplinks = names("eth9");
    ck_assert(!only(NETWORK_OP_UNFORWARD6_OLD_UPLINK)->repair);
    seen.forwarded6_uplinks = names("eth0");
    seen.ipv6_wanted = false; /* chosen no more */
    (void)only(NETWORK_OP_UNFORWARD6_OLD_UPLINK);
}
END_TEST

START_TEST(an_uplink_that_is_not_there)
{
    seen.uplinks = names("wg0");
    ck_assert_int_eq(position(NETWORK_OP_FORWARD_UPLINK), -1);
}
END_TEST

START_TEST(no_way_out)
{
    seen.uplinks.count = 0;
    ck_assert_int_eq(position(NETWORK_OP_FORWARD_UPLINK), -1);
    ck_assert_int_ge(position(NETWORK_OP_UNFORWARD_OLD_UPLINK), 0);
}
END_TEST

START_TEST(orphans)
{
    strcpy(seen.orphan_taps, "TAP t1");
    strcpy(seen.orphan_guests, "t1");
    ck_assert_int_lt(position(NETWORK_OP_REMOVE_TAPS), position(NETWORK_OP_REMOVE_GUESTS));
}
END_TEST

START_TEST(what_somebody_broke_is_a_repair)
{
    strcpy(seen.bridge_found, "it is down");
    ck_assert_str_eq(only(NETWORK_OP_ENSURE_BRIDGE)->found, "the bridge: it is down");
    ck_assert(plan.ops[0].repair);
    setup();
    strcpy(seen.firewall_found, "chain forward of table inet is gone");
    ck_assert_str_eq(only(NETWORK_OP_APPLY_FIREWALL)->found, "chain forward of table inet is gone");
    ck_assert(plan.ops[0].repair);
    setup();
    strcpy(seen.uplinks_found, "set uplink holds nothing, not eth0");
    ck_assert_str_eq(only(NETWORK_OP_REPLACE_UPLINK)->found, "set uplink holds nothing, not eth0");
    ck_assert(plan.ops[0].repair);
    setup();
    strcpy(seen.missing_guests, "VM a");
    ck_assert(only(NETWORK_OP_ADD_GUESTS)->repair);
    setup();
    seen.bridge_forwards = false;
    ck_assert(only(NETWORK_OP_FORWARD_BRIDGE)->repair);
    setup();
    seen.idle_uplinks = names("eth0");
    ck_assert(only(NETWORK_OP_FORWARD_UPLINK)->repair);
}
END_TEST

START_TEST(before_it_was_set_up_nothing_is_a_repair)
{
    seen.set_up_before = false;
    strcpy(seen.bridge_found, "it is down");
    strcpy(seen.firewall_found, "x");
    seen.idle_uplinks = names("eth0");
    seen.bridge_forwards = false;
    network_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 4);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert(!plan.ops[i].repair);
    }
}
END_TEST

START_TEST(a_changed_alias_is_given_back_first)
{
    seen.bridge_alias_changed = true;
    strcpy(seen.bridge_found, "its alias is 'x'");
    ck_assert_int_lt(position(NETWORK_OP_RESTORE_ALIAS), position(NETWORK_OP_ENSURE_BRIDGE));
}
END_TEST

/* A bridge that is made anew forwards nothing: one repair, not two. */
START_TEST(forwarding_of_a_new_bridge_is_no_repair_of_its_own)
{
    seen.bridge_present = seen.bridge_forwards = false;
    strcpy(seen.bridge_found, "it is gone");
    int at = position(NETWORK_OP_FORWARD_BRIDGE);
    ck_assert_int_ge(at, 0);
    ck_assert(!plan.ops[at].repair);
}
END_TEST

/* With the tables, the elements are made. */
START_TEST(elements_come_with_the_tables)
{
    strcpy(seen.firewall_found, "x");
    strcpy(seen.missing_guests, "VM a");
    strcpy(seen.orphan_guests, "t1");
    (void)only(NETWORK_OP_APPLY_FIREWALL);
}
END_TEST

/* A bridge that was taken down because the firewall stood open gets up behind the firewall, and that is no repair. */
START_TEST(the_firewall_first_when_guests_are_cut_off)
{
    strcpy(seen.bridge_found, "it is down");
    strcpy(seen.firewall_found, "x");
    ck_assert_int_lt(position(NETWORK_OP_ENSURE_BRIDGE), position(NETWORK_OP_APPLY_FIREWALL));
    seen.cut_off = true;
    ck_assert_int_lt(position(NETWORK_OP_APPLY_FIREWALL), position(NETWORK_OP_ENSURE_BRIDGE));
    ck_assert(plan.ops[0].repair && !plan.ops[1].repair);
}
END_TEST

START_TEST(every_operation_has_words)
{
    for (int i = 0; i < NETWORK_OP_COUNT_; i++) {
        ck_assert_ptr_nonnull(network_op_name((enum network_op_type)i));
        ck_assert_ptr_nonnull(network_op_description((enum network_op_type)i));
    }
}
END_TEST

START_TEST(entries_follow_the_ports)
{
    plan.count = 0;
    seen.entries_there = true;
    network_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 0);
    (void)strcpy(seen.entries_found, "one more");
    network_plan_make(&seen, &plan);
    ck_assert(plan.count == 1 && plan.ops[0].type == NETWORK_OP_SET_ENTRIES && !plan.ops[0].repair);
    /* Tables that are made anew have none. */
    seen.entries_found[0] = '\0';
    (void)strcpy(seen.firewall_found, "chain forward is gone");
    network_plan_make(&seen, &plan);
    ck_assert(plan.count == 2 && plan.ops[1].type == NETWORK_OP_SET_ENTRIES);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("network_plan");
    TCase *tcase = tcase_create("plan");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, nothing_to_do);
    tcase_add_test(tcase, from_nothing);
    tcase_add_test(tcase, uplink_moves);
    tcase_add_test(tcase, several_uplinks);
    tcase_add_test(tcase, uplink_that_somebody_else_forwards_is_left_alone);
    tcase_add_test(tcase, the_host_is_in_another_network);
    tcase_add_test(tcase, the_bridge_is_tuned);
    tcase_add_test(tcase, the_gate);
    tcase_add_test(tcase, policies);
    tcase_add_test(tcase, published_ports);
    tcase_add_test(tcase, loopback_is_open_only_for_published_ports);
    tcase_add_test(tcase, ipv6_where_it_is_chosen);
    tcase_add_test(tcase, an_uplink_that_is_not_there);
    tcase_add_test(tcase, no_way_out);
    tcase_add_test(tcase, orphans);
    tcase_add_test(tcase, what_somebody_broke_is_a_repair);
    tcase_add_test(tcase, before_it_was_set_up_nothing_is_a_repair);
    tcase_add_test(tcase, a_changed_alias_is_given_back_first);
    tcase_add_test(tcase, forwarding_of_a_new_bridge_is_no_repair_of_its_own);
    tcase_add_test(tcase, elements_come_with_the_tables);
    tcase_add_test(tcase, the_firewall_first_when_guests_are_cut_off);
    tcase_add_test(tcase, entries_follow_the_ports);
    tcase_add_test(tcase, every_operation_has_words);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
