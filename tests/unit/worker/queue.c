/* The work queue: folding, one thread per key, delays, back-off. */
#include "worker/queue.h"

#include "core/clock.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct queue *queue;
static char key[QUEUE_KEY_MAX];

static void setup(void)
{
    ck_assert_int_eq(queue_new(&queue, NULL), 0);
}

static void teardown(void)
{
    queue_stop(queue);
    queue_free(queue);
}

/* Nothing is ready or worked on: a mark has nothing to wait for. */
static bool is_idle(void)
{
    queue_mark(queue);
    return queue_is_past_mark(queue);
}

START_TEST(duplicates_are_folded)
{
    ck_assert(queue_add(queue, "vm/a"));
    ck_assert(queue_add(queue, "vm/b"));
    ck_assert(queue_add(queue, "vm/a"));
    ck_assert(queue_take(queue, key));
    ck_assert_str_eq(key, "vm/a");
    queue_done(queue, key, false);
    ck_assert(queue_take(queue, key));
    ck_assert_str_eq(key, "vm/b");
    queue_done(queue, key, false);
    ck_assert(is_idle());
}
END_TEST

START_TEST(added_while_worked_on_comes_once_more)
{
    (void)queue_add(queue, "vm/a");
    (void)queue_take(queue, key);
    (void)queue_add(queue, "vm/a");
    (void)queue_add(queue, "vm/a");
    (void)queue_add(queue, "vm/b");
    char other[QUEUE_KEY_MAX];
    (void)queue_take(queue, other);
    ck_assert_str_eq(other, "vm/b"); /* not a second time at once */
    queue_done(queue, "vm/a", false);
    (void)queue_take(queue, key);
    ck_assert_str_eq(key, "vm/a");
    queue_done(queue, "vm/a", false);
    queue_done(queue, "vm/b", false);
    ck_assert(is_idle());
}
END_TEST

START_TEST(what_comes_after_the_mark_is_not_waited_for)
{
    ck_assert(queue_is_past_mark(queue));
    (void)queue_add(queue, "vm/a");
    (void)queue_add(queue, "vm/b");
    (void)queue_take(queue, key);
    (void)queue_add(queue, "vm/a");
    queue_mark(queue);
    queue_mark(queue);
    (void)queue_add(queue, "vm/c");
    queue_done(queue, "vm/a", false);
    (void)queue_take(queue, key);
    queue_done(queue, key, true); /* failed, and so delayed: it was looked at */
    ck_assert(!queue_is_past_mark(queue));
    while (!queue_is_past_mark(queue)) { /* vm/c, and vm/a, which was queued again before the mark */
        (void)queue_take(queue, key);
        (void)queue_add(queue, key);
        queue_done(queue, key, false);
    }
    ck_assert(!is_idle());
}
END_TEST

START_TEST(the_earlier_time_counts)
{
    int64_t begin = clock_monotonic_ms();
    (void)queue_add_after(queue, "vm/a", 60000);
    (void)queue_add_after(queue, "vm/a", 30);
    (void)queue_add_after(queue, "vm/a", 60000);
    (void)queue_take(queue, key);
    int64_t took = clock_monotonic_ms() - begin;
    ck_assert_int_ge(took, 29);
    ck_assert_int_lt(took, 5000);
    queue_done(queue, key, false);
}
END_TEST

START_TEST(failures_back_off)
{
    ck_assert_int_eq(queue_backoff_ms(1), 50);
    ck_assert_int_eq(queue_backoff_ms(2), 100);
    ck_assert_int_eq(queue_backoff_ms(100), 30000);
    (void)queue_add(queue, "vm/a");
    (void)queue_take(queue, key);
    int64_t begin = clock_monotonic_ms();
    queue_done(queue, key, true);
    (void)queue_take(queue, key);
    ck_assert_int_ge(clock_monotonic_ms() - begin, 49);
    queue_done(queue, key, false);
    ck_assert(is_idle());
}
END_TEST

START_TEST(a_key_that_is_too_long_is_refused)
{
    char longest[QUEUE_KEY_MAX + 1];
    memset(longest, 'a', sizeof longest);
    longest[QUEUE_KEY_MAX] = '\0';
    for (int i = 0; i < 2; i++) { /* nothing gets lost: everything is looked at instead */
        ck_assert(!queue_add(queue, longest));
        (void)queue_take(queue, key);
        ck_assert_str_eq(key, QUEUE_EVERYTHING);
        queue_done(queue, key, false);
    }
    ck_assert(is_idle());
    longest[QUEUE_KEY_MAX - 1] = '\0';
    ck_assert(queue_add(queue, longest));
}
END_TEST

/* Who names keys may be hostile: an API process that was taken over. */
START_TEST(more_keys_than_there_can_be_are_everything)
{
    char name[32];
    for (int i = 0; i < QUEUE_KEYS_MAX - 1; i++) { /* QUEUE_EVERYTHING has its place already */
        (void)snprintf(name, sizeof name, "vm/%d", i);
        ck_assert(queue_add(queue, name));
    }
    ck_assert(!queue_add(queue, "vm/more"));
    ck_assert(queue_add(queue, "vm/7")); /* it waits already */
    bool everything = false;
    for (int i = 0; i < QUEUE_KEYS_MAX; i++) {
        ck_assert(queue_take(queue, key));
        ck_assert_str_ne(key, "vm/more");
        everything = everything || strcmp(key, QUEUE_EVERYTHING) == 0;
        queue_done(queue, key, false);
    }
    ck_assert(everything && is_idle());
    ck_assert(queue_add(queue, "vm/more"));
}
END_TEST

enum { KEYS = 20, ROUNDS = 2000 };
static atomic_int busy[KEYS];
static atomic_int overlaps;
static atomic_int worked;

static void *work(void *arg)
{
    char mine[QUEUE_KEY_MAX];
    (void)arg;
    while (queue_take(queue, mine)) {
        int index = atoi(mine + 3);
        atomic_fetch_add(&overlaps, atomic_fetch_add(&busy[index], 1) != 0);
        atomic_fetch_add(&worked, 1);
        (void)sched_yield();
        atomic_fetch_sub(&busy[index], 1);
        queue_done(queue, mine, false);
    }
    return NULL;
}

START_TEST(no_key_is_worked_on_twice_at_once)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, NULL), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "vm/%d", i % KEYS);
        ck_assert(queue_add(queue, name));
    }
    for (int i = 0; i < 5000 && !is_idle(); i++) {
        (void)usleep(1000);
    }
    queue_stop(queue);
    for (size_t i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(atomic_load(&overlaps), 0);
    ck_assert_int_ge(atomic_load(&worked), KEYS);
}
END_TEST

START_TEST(a_claimed_key_is_worked_on_afterwards)
{
    ck_assert(queue_claim(queue, "vm/a", 0));
    (void)queue_add(queue, "vm/a");
    (void)queue_add(queue, "vm/b");
    ck_assert(queue_take(queue, key));
    ck_assert_str_eq(key, "vm/b");
    queue_done(queue, key, false);
    ck_assert(!queue_claim(queue, "vm/a", 10)); /* it is somebody's already */
    queue_release(queue, "vm/a");
    ck_assert(queue_take(queue, key));
    ck_assert_str_eq(key, "vm/a");
    queue_done(queue, key, false);
    ck_assert(is_idle());
}
END_TEST

START_TEST(who_works_comes_before_who_claims)
{
    char long_key[QUEUE_KEY_MAX + 1];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    (void)queue_add(queue, "vm/a");
    ck_assert(!queue_claim(queue, "vm/a", 10)); /* it is about to be worked on */
    (void)queue_take(queue, key);
    ck_assert(!queue_claim(queue, "vm/a", 10));
    queue_done(queue, "vm/a", false);
    (void)queue_add_after(queue, "vm/a", 60000); /* what is due later is no reason to wait */
    ck_assert(queue_claim(queue, "vm/a", 0));
    queue_release(queue, "vm/a");
    ck_assert(!queue_claim(queue, long_key, 10));
    ck_assert(is_idle());
}
END_TEST

static void *end_soon(void *arg)
{
    (void)usleep(50000);
    queue_done(queue, arg, false);
    return NULL;
}

START_TEST(a_claim_waits_for_the_end_of_the_work)
{
    pthread_t thread;
    char taken[] = "vm/a";
    (void)queue_add(queue, taken);
    (void)queue_take(queue, key);
    int64_t begin_ms = clock_monotonic_ms();
    ck_assert_int_eq(pthread_create(&thread, NULL, end_soon, taken), 0);
    ck_assert(queue_claim(queue, taken, 5000));
    ck_assert_int_lt(clock_monotonic_ms() - begin_ms, 4000);
    queue_release(queue, taken);
    (void)pthread_join(thread, NULL);
    queue_stop(queue);
    (void)queue_add(queue, taken);
    ck_assert(!queue_claim(queue, taken, 5000)); /* and does not wait for who has stopped */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *tcase = tcase_create("queue");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, a_claimed_key_is_worked_on_afterwards);
    tcase_add_test(tcase, who_works_comes_before_who_claims);
    tcase_add_test(tcase, a_claim_waits_for_the_end_of_the_work);
    tcase_add_test(tcase, duplicates_are_folded);
    tcase_add_test(tcase, added_while_worked_on_comes_once_more);
    tcase_add_test(tcase, what_comes_after_the_mark_is_not_waited_for);
    tcase_add_test(tcase, the_earlier_time_counts);
    tcase_add_test(tcase, failures_back_off);
    tcase_add_test(tcase, a_key_that_is_too_long_is_refused);
    tcase_add_test(tcase, more_keys_than_there_can_be_are_everything);
    tcase_add_test(tcase, no_key_is_worked_on_twice_at_once);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
