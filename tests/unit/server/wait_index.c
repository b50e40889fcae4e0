/* The index of what is held: by key and by deadline, against a plain list. */
#include "server/wait_index.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 500, KEYS = 7 };

static struct waiters waiters;
static struct waiter items[COUNT];
static char keys[KEYS][16];

static void set_up(void)
{
    memset(&waiters, 0, sizeof waiters);
    memset(items, 0, sizeof items);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "vm/%d", i);
    }
    srand(1);
}

static void tear_down(void)
{
    waiters_free(&waiters);
}

static void add(int i, const char *key, int64_t deadline_ms)
{
    items[i].key = key;
    items[i].deadline_ms = deadline_ms;
    ck_assert_int_eq(waiters_add(&waiters, &items[i]), 0);
}

static size_t length(const struct waiter *list)
{
    size_t count = 0;
    for (; list != NULL; list = list->next) {
        count++;
    }
    return count;
}

static int64_t earliest(void)
{
    int64_t earliest_ms = INT64_MAX;
    for (int i = 0; i < COUNT; i++) {
        if (items[i].is_in && items[i].deadline_ms < earliest_ms) {
            earliest_ms = items[i].deadline_ms;
        }
    }
    return earliest_ms;
}

START_TEST(test_empty)
{
    ck_assert(waiters_next_deadline(&waiters) == INT64_MAX);
    ck_assert_ptr_null(waiters_take_any(&waiters));
    ck_assert_ptr_null(waiters_take_due(&waiters, INT64_MAX - 1));
    ck_assert_ptr_null(waiters_take_key(&waiters, "", NULL));
    waiters_remove(&waiters, &items[0]);
}
END_TEST

START_TEST(test_deadlines_in_order)
{
    for (int i = 0; i < COUNT; i++) {
        add(i, i % 3 == 0 ? NULL : keys[i % KEYS], rand() % 100);
    }
    int64_t last = 0;
    ck_assert_ptr_null(waiters_take_due(&waiters, -1));
    for (int i = 0; i < COUNT; i++) {
        const struct waiter *waiter = waiters_take_due(&waiters, 100);
        ck_assert_ptr_nonnull(waiter);
        ck_assert_int_ge(waiter->deadline_ms, last);
        last = waiter->deadline_ms;
    }
    ck_assert_ptr_null(waiters_take_any(&waiters));
}
END_TEST

START_TEST(test_only_due_ones)
{
    add(0, keys[0], 10);
    add(1, keys[0], 20);
    ck_assert_ptr_null(waiters_take_due(&waiters, 9));
    ck_assert_ptr_eq(waiters_take_due(&waiters, 10), &items[0]);
    ck_assert_ptr_null(waiters_take_due(&waiters, 19));
}
END_TEST

START_TEST(test_random_removal_keeps_order)
{
    for (int i = 0; i < COUNT; i++) {
        add(i, keys[i % KEYS], rand() % 1000);
    }
    for (int round = 0; round < 3000; round++) {
        int i = rand() % COUNT;
        if (items[i].is_in) {
            waiters_remove(&waiters, &items[i]);
        } else {
            add(i, keys[rand() % KEYS], rand() % 1000);
        }
        ck_assert_int_eq(waiters_next_deadline(&waiters), earliest());
    }
}
END_TEST

START_TEST(test_take_by_key)
{
    for (int i = 0; i < COUNT; i++) {
        add(i, i % 10 == 0 ? NULL : keys[i % KEYS], i);
    }
    struct waiter *list = waiters_take_key(&waiters, "vm/3", NULL);
    size_t of_key = length(list);
    for (const struct waiter *w = list; w != NULL; w = w->next) {
        ck_assert_str_eq(w->key, "vm/3");
        ck_assert(!w->is_in);
    }
    ck_assert_ptr_eq(waiters_take_key(&waiters, "vm/3", list), list); /* nothing twice */
    ck_assert_ptr_null(waiters_take_key(&waiters, "vm/unknown", NULL));
    list = waiters_take_key(&waiters, "", list);
    ck_assert_uint_gt(of_key, 0);
    ck_assert_uint_eq(length(list), COUNT - COUNT / 10); /* all but those without a key */
    ck_assert_uint_eq(waiters.count, COUNT / 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("waiters");
    TCase *tc = tcase_create("waiters");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, test_empty);
    tcase_add_test(tc, test_deadlines_in_order);
    tcase_add_test(tc, test_only_due_ones);
    tcase_add_test(tc, test_random_removal_keeps_order);
    tcase_add_test(tc, test_take_by_key);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
