/* Which operations wait, and when guests are cut off. */
#include "worker/network/hold.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct network_plan plan;
static struct repair_backoff backoffs[NETWORK_OP_COUNT_];
static struct network_hold hold;
enum { NOW_MS = 100000 };

static void setup(void)
{
    memset(&plan, 0, sizeof plan);
    memset(backoffs, 0, sizeof backoffs);
}

static void add(enum network_op_type type)
{
    plan.ops[plan.count++] = (struct network_op){.type = type, .repair = true};
}

/* Somebody undid this repair ten times, the last time just now. */
static void contest(enum network_op_type type)
{
    for (int i = 0; i < REPAIR_FREE; i++) {
        (void)repair_backoff_note(&backoffs[type], NOW_MS);
    }
}

static void make(void)
{
    network_hold_make(&plan, backoffs, NOW_MS, &hold);
}

START_TEST(nothing_waits_without_a_fight)
{
    for (int i = 0; i < NETWORK_OP_COUNT_; i++) {
        add((enum network_op_type)i);
    }
    make();
    ck_assert(hold.first == NULL && !hold.cut_off);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert(!hold.held[i]);
    }
}
END_TEST

START_TEST(an_open_firewall_cuts_guests_off)
{
    static const enum network_op_type opening[] = {NETWORK_OP_APPLY_FIREWALL, NETWORK_OP_REPLACE_UPLINK, NETWORK_OP_REPLACE_CLOSED, NETWORK_OP_REMOVE_GUESTS};
    contest(opening[_i]);
    add(NETWORK_OP_ENSURE_BRIDGE);
    add(opening[_i]);
    add(NETWORK_OP_FORWARD_BRIDGE);
    add(NETWORK_OP_FORWARD_UPLINK);
    make();
    ck_assert(hold.cut_off);
    ck_assert_ptr_eq(hold.first, &plan.ops[1]);
    ck_assert_int_eq(hold.wait_ms, REPAIR_DELAY_FIRST_MS);
    ck_assert(hold.held[0] && hold.held[1] && hold.held[2] && !hold.held[3]);
}
END_TEST

START_TEST(what_closes_too_much_cuts_nobody_off)
{
    contest(NETWORK_OP_ADD_GUESTS);
    contest(NETWORK_OP_FORWARD_BRIDGE);
    add(NETWORK_OP_ADD_GUESTS);
    add(NETWORK_OP_FORWARD_BRIDGE);
    add(NETWORK_OP_TUNE_BRIDGE);
    make();
    ck_assert(!hold.cut_off && hold.held[0] && hold.held[1] && !hold.held[2]);
}
END_TEST

START_TEST(the_second_lock_cuts_nobody_off)
{
    contest(NETWORK_OP_SET_GATE);
    add(NETWORK_OP_SET_GATE);
    add(NETWORK_OP_FORWARD_BRIDGE);
    make();
    ck_assert(!hold.cut_off && hold.held[0] && !hold.held[1]);
    contest(NETWORK_OP_ENSURE_BRIDGE); /* nor is it put on a bridge that may not be ours */
    memset(&backoffs[NETWORK_OP_SET_GATE], 0, sizeof backoffs[NETWORK_OP_SET_GATE]);
    add(NETWORK_OP_ENSURE_BRIDGE);
    make();
    ck_assert(!hold.cut_off && hold.held[0] && hold.held[1] && hold.held[2]);
}
END_TEST

START_TEST(a_bridge_that_waits_holds_what_needs_it)
{
    contest(NETWORK_OP_ENSURE_BRIDGE);
    add(NETWORK_OP_ENSURE_BRIDGE);
    add(NETWORK_OP_APPLY_FIREWALL);
    add(NETWORK_OP_TUNE_BRIDGE);
    add(NETWORK_OP_FORWARD_BRIDGE);
    make();
    ck_assert(!hold.cut_off);
    ck_assert(hold.held[0] && !hold.held[1] && hold.held[2] && hold.held[3]);
}
END_TEST

START_TEST(what_is_no_repair_never_waits)
{
    contest(NETWORK_OP_APPLY_FIREWALL);
    add(NETWORK_OP_APPLY_FIREWALL);
    plan.ops[0].repair = false;
    make();
    ck_assert(hold.first == NULL && !hold.held[0] && !hold.cut_off);
}
END_TEST

START_TEST(the_earliest_decides_when_to_look_again)
{
    contest(NETWORK_OP_APPLY_FIREWALL);
    (void)repair_backoff_note(&backoffs[NETWORK_OP_APPLY_FIREWALL], NOW_MS); /* 2 s now */
    contest(NETWORK_OP_FORWARD_UPLINK);
    add(NETWORK_OP_APPLY_FIREWALL);
    add(NETWORK_OP_FORWARD_UPLINK);
    make();
    ck_assert_int_eq(hold.wait_ms, REPAIR_DELAY_FIRST_MS);
    ck_assert_ptr_eq(hold.first, &plan.ops[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("network_hold");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, nothing_waits_without_a_fight);
    tcase_add_loop_test(tests, an_open_firewall_cuts_guests_off, 0, 4);
    tcase_add_test(tests, what_closes_too_much_cuts_nobody_off);
    tcase_add_test(tests, the_second_lock_cuts_nobody_off);
    tcase_add_test(tests, a_bridge_that_waits_holds_what_needs_it);
    tcase_add_test(tests, what_is_no_repair_never_waits);
    tcase_add_test(tests, the_earliest_decides_when_to_look_again);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
