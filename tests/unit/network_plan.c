/* The planner of the network. */
#include "worker/network_plan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct network_observed seen;
static struct network_plan plan;

static void setup(void)
{
    seen = (struct network_observed){.bridge_ok = true,
                                     .firewall_ok = true,
                                     .uplink = "eth0",
                                     .firewall_uplink = "eth0",
                                     .firewall_uplink_single = true,
                                     .bridge_forwards = true,
                                     .uplink_forwards = true,
                                     .forwarded_uplink = "eth0"};
}

static int position(enum network_op_type type)
{
    network_plan_make(&seen, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        if (plan.ops[i] == type) {
            return (int)i;
        }
    }
    return -1;
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
    strcpy(seen.uplink, "eth0");
    ck_assert_int_lt(position(NETWORK_OP_ENSURE_BRIDGE), position(NETWORK_OP_APPLY_FIREWALL));
    ck_assert_int_lt(position(NETWORK_OP_APPLY_FIREWALL), position(NETWORK_OP_FORWARD_BRIDGE));
    ck_assert_int_lt(position(NETWORK_OP_FORWARD_BRIDGE), position(NETWORK_OP_FORWARD_UPLINK));
    ck_assert_int_eq(position(NETWORK_OP_REPLACE_UPLINK), -1);
}
END_TEST

START_TEST(uplink_moves)
{
    strcpy(seen.uplink, "eth1");
    seen.uplink_forwards = false;
    ck_assert_int_ge(position(NETWORK_OP_REPLACE_UPLINK), 0);
    ck_assert_int_lt(position(NETWORK_OP_UNFORWARD_OLD_UPLINK), position(NETWORK_OP_FORWARD_UPLINK));
}
END_TEST

START_TEST(uplink_that_somebody_else_forwards_is_left_alone)
{
    strcpy(seen.uplink, "eth1");
    seen.forwarded_uplink[0] = '\0';
    ck_assert_int_eq(position(NETWORK_OP_UNFORWARD_OLD_UPLINK), -1);
    ck_assert_int_eq(position(NETWORK_OP_FORWARD_UPLINK), -1);
}
END_TEST

START_TEST(no_way_out)
{
    seen.uplink[0] = '\0';
    seen.uplink_forwards = false;
    ck_assert_int_ge(position(NETWORK_OP_REPLACE_UPLINK), 0);
    ck_assert_int_eq(position(NETWORK_OP_FORWARD_UPLINK), -1);
    ck_assert_int_ge(position(NETWORK_OP_UNFORWARD_OLD_UPLINK), 0);
}
END_TEST

START_TEST(orphans)
{
    seen.orphan_taps = seen.orphan_guests = true;
    ck_assert_int_lt(position(NETWORK_OP_REMOVE_TAPS), position(NETWORK_OP_REMOVE_GUESTS));
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
    tcase_add_test(tcase, uplink_that_somebody_else_forwards_is_left_alone);
    tcase_add_test(tcase, no_way_out);
    tcase_add_test(tcase, orphans);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
