/* The planner of the WireGuard egress: what closes comes first, what opens comes last. */
#include "worker/wireguard/plan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct wireguard_observed seen;
static struct wireguard_plan plan;

static void setup(void)
{
    seen = (struct wireguard_observed){.set_up_before = true, .is_managed = true};
}

static int position(enum wireguard_op_type type)
{
    wireguard_plan_make(&seen, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        if (plan.ops[i].type == type) {
            return (int)i;
        }
    }
    return -1;
}

static const struct wireguard_op *only(enum wireguard_op_type type)
{
    wireguard_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, type);
    return &plan.ops[0];
}

START_TEST(nothing_to_do)
{
    wireguard_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 0);
}
END_TEST

START_TEST(from_nothing)
{
    static const enum wireguard_op_type order[] = {WIREGUARD_OP_CLOSE_ROUTES, WIREGUARD_OP_ADD_RULES, WIREGUARD_OP_START,      WIREGUARD_OP_CONFIGURE,
                                                   WIREGUARD_OP_SET_LINK,     WIREGUARD_OP_TUNE,      WIREGUARD_OP_OPEN_ROUTES};
    seen.set_up_before = false;
    strcpy(seen.closed_found, "no routes");
    strcpy(seen.rules_found, "no rule");
    strcpy(seen.missing_found, "no tunnel");
    strcpy(seen.tuning_found, "forwarding is off");
    strcpy(seen.open_found, "no route");
    wireguard_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, sizeof order / sizeof *order);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert_int_eq(plan.ops[i].type, order[i]);
        ck_assert(!plan.ops[i].repair);
    }
}
END_TEST

START_TEST(another_one_is_closed_before_the_old_one_goes)
{
    seen.set_up_before = false;
    strcpy(seen.closed_found, "no routes");
    strcpy(seen.rules_found, "no rule");
    strcpy(seen.old_rules_found, "a rule");
    strcpy(seen.old_routes_found, "a route");
    strcpy(seen.old_tunnels_found, "a tunnel");
    strcpy(seen.old_tuning_found, "wg0");
    strcpy(seen.missing_found, "no tunnel");
    strcpy(seen.open_found, "no route");
    ck_assert_int_lt(position(WIREGUARD_OP_ADD_RULES), position(WIREGUARD_OP_REMOVE_RULES));
    ck_assert_int_lt(position(WIREGUARD_OP_REMOVE_RULES), position(WIREGUARD_OP_REMOVE_ROUTES));
    ck_assert_int_lt(position(WIREGUARD_OP_REMOVE_ROUTES), position(WIREGUARD_OP_REMOVE_TUNNELS));
    ck_assert_int_lt(position(WIREGUARD_OP_REMOVE_TUNNELS), position(WIREGUARD_OP_START));
    ck_assert_int_lt(position(WIREGUARD_OP_UNTUNE), position(WIREGUARD_OP_START));
    ck_assert_int_lt(position(WIREGUARD_OP_START), position(WIREGUARD_OP_OPEN_ROUTES));
}
END_TEST

START_TEST(what_somebody_broke_is_a_repair)
{
    strcpy(seen.rules_found, "the rule is gone");
    ck_assert(only(WIREGUARD_OP_ADD_RULES)->repair);
    ck_assert_str_eq(plan.ops[0].found, "the rule is gone");
    setup();
    strcpy(seen.open_found, "no route");
    ck_assert(only(WIREGUARD_OP_OPEN_ROUTES)->repair);
    setup();
    strcpy(seen.missing_found, "there is no tunnel");
    strcpy(seen.open_found, "no route");
    wireguard_plan_make(&seen, &plan);
    ck_assert_int_eq(plan.ops[0].type, WIREGUARD_OP_START);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert(plan.ops[i].repair == (plan.ops[i].type == WIREGUARD_OP_START)); /* one fault, one repair */
    }
    setup();
    seen.alias_changed = true;
    strcpy(seen.link_found, "its alias is 'mine'");
    ck_assert_int_lt(position(WIREGUARD_OP_RESTORE_ALIAS), position(WIREGUARD_OP_SET_LINK));
}
END_TEST

START_TEST(to_follow_a_name_is_no_repair)
{
    strcpy(seen.device_found, "other than wanted: 1 peer");
    ck_assert(only(WIREGUARD_OP_CONFIGURE)->repair);
    seen.follows_name = true;
    ck_assert(!only(WIREGUARD_OP_CONFIGURE)->repair);
}
END_TEST

START_TEST(somebody_elses_interface_is_left_alone)
{
    seen.is_managed = false;
    strcpy(seen.link_found, "it is down");
    strcpy(seen.device_found, "other peers");
    strcpy(seen.missing_found, "there is none");
    wireguard_plan_make(&seen, &plan);
    ck_assert_uint_eq(plan.count, 0);
    strcpy(seen.closed_found, "no routes");
    strcpy(seen.open_found, "no route");
    strcpy(seen.tuning_found, "forwarding is off");
    seen.waits = true; /* until it is there, guests are kept from every other way */
    (void)only(WIREGUARD_OP_CLOSE_ROUTES);
    seen.waits = false;
    ck_assert_int_lt(position(WIREGUARD_OP_TUNE), position(WIREGUARD_OP_OPEN_ROUTES));
}
END_TEST

START_TEST(each_has_a_name)
{
    for (int i = 0; i < WIREGUARD_OP_COUNT_; i++) {
        ck_assert_str_ne(wireguard_op_name((enum wireguard_op_type)i), "");
        ck_assert_str_ne(wireguard_op_description((enum wireguard_op_type)i), "");
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("wireguard_plan");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, nothing_to_do);
    tcase_add_test(tc, from_nothing);
    tcase_add_test(tc, another_one_is_closed_before_the_old_one_goes);
    tcase_add_test(tc, what_somebody_broke_is_a_repair);
    tcase_add_test(tc, to_follow_a_name_is_no_repair);
    tcase_add_test(tc, somebody_elses_interface_is_left_alone);
    tcase_add_test(tc, each_has_a_name);
    Suite *suite = suite_create("wireguard_plan");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
