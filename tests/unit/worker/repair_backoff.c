/* When to repair what somebody else undoes. */
#include "worker/repair_backoff.h"

#include <check.h>
#include <stdlib.h>

static struct repair_backoff backoff;
static int64_t now_ms;

static void setup(void)
{
    backoff = (struct repair_backoff){.repairs = 0};
    now_ms = 1000;
}

/* Repairs at once, as often as asked; says how many of them became "contested". */
static int repair(int times)
{
    int told = 0;
    for (int i = 0; i < times; i++) {
        now_ms += repair_backoff_wait(&backoff, now_ms);
        told += repair_backoff_note(&backoff, now_ms) ? 1 : 0;
    }
    return told;
}

START_TEST(ten_are_free)
{
    int64_t begin_ms = now_ms;
    ck_assert_int_eq(repair(REPAIR_FREE - 1), 0);
    ck_assert(!repair_backoff_is_contested(&backoff, now_ms));
    ck_assert_int_eq(repair(1), 1);
    ck_assert_int_eq(now_ms, begin_ms);
    ck_assert(repair_backoff_is_contested(&backoff, now_ms));
}
END_TEST

START_TEST(delays_double_up_to_a_minute)
{
    static const int64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    (void)repair(REPAIR_FREE);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        ck_assert_int_eq(repair_backoff_wait(&backoff, now_ms), seconds[i] * 1000);
        ck_assert_int_eq(repair_backoff_wait(&backoff, now_ms + seconds[i] * 1000 - 1), 1);
        ck_assert_int_eq(repair_backoff_wait(&backoff, now_ms + seconds[i] * 1000), 0);
        ck_assert_int_eq(repair(1), 0); /* told once */
    }
}
END_TEST

START_TEST(quiet_forgets)
{
    (void)repair(REPAIR_FREE);
    ck_assert_int_eq(repair_backoff_quiet_at(&backoff), now_ms + REPAIR_QUIET_MS);
    now_ms = repair_backoff_quiet_at(&backoff) - 1;
    ck_assert(repair_backoff_is_contested(&backoff, now_ms));
    now_ms++;
    ck_assert(!repair_backoff_is_contested(&backoff, now_ms));
    ck_assert_int_eq(repair(REPAIR_FREE), 1);
}
END_TEST

/* However long the delay is: who undoes a repair right after it was made never profits from the wait itself. */
START_TEST(a_long_delay_is_not_quiet)
{
    (void)repair(REPAIR_FREE + 20);
    ck_assert_int_eq(backoff.delay_ms, REPAIR_DELAY_MAX_MS);
    now_ms += REPAIR_DELAY_MAX_MS;
    ck_assert(repair_backoff_is_contested(&backoff, now_ms));
    (void)repair_backoff_note(&backoff, now_ms);
    ck_assert_int_eq(backoff.delay_ms, REPAIR_DELAY_MAX_MS);
    ck_assert_int_eq(repair_backoff_quiet_at(&backoff), now_ms + 2 * (int64_t)REPAIR_DELAY_MAX_MS);
}
END_TEST

START_TEST(now_and_then_is_not_a_fight)
{
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(repair(1), 0);
        now_ms += REPAIR_QUIET_MS;
    }
    ck_assert_uint_eq(backoff.repairs, 1);
}
END_TEST

/* An hour of undoing at once: 10 repairs, then 6 of growing delays, then one a minute. */
START_TEST(an_hour_of_undoing)
{
    int repairs = 0;
    int64_t end_ms = now_ms + 3600000;
    while (now_ms < end_ms) {
        (void)repair(1);
        repairs++;
    }
    ck_assert_int_le(repairs, REPAIR_FREE + 6 + 60);
    ck_assert_int_ge(repairs, 60);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("repair_backoff");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, ten_are_free);
    tcase_add_test(tests, delays_double_up_to_a_minute);
    tcase_add_test(tests, quiet_forgets);
    tcase_add_test(tests, a_long_delay_is_not_quiet);
    tcase_add_test(tests, now_and_then_is_not_a_fight);
    tcase_add_test(tests, an_hour_of_undoing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
