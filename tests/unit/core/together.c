#include "core/together.h"

#include <check.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 8 };

struct request {
    struct together_request together;
    int served; /* rounds that it was in */
};

static atomic_int rounds;
static atomic_int fails; /* rounds from the next one on */
static sem_t begun;
static sem_t go_on;

static int serve(struct together_request *round, struct error *err)
{
    if (atomic_fetch_add(&rounds, 1) == 0) {
        (void)sem_post(&begun);
        (void)sem_wait(&go_on);
    }
    for (struct together_request *q = round; q != NULL; q = q->next) {
        ((struct request *)(void *)q)->served++;
    }
    return atomic_load(&fails) != 0 ? error_set(err, ERR_SYSTEM, "round %d", atomic_load(&rounds)) : 0;
}

static struct together together = TOGETHER_INIT(serve);

static void *ask(void *ctx)
{
    struct request request = {.served = 0};
    struct error err = {0};
    int result = together_do(&together, &request.together, &err);
    *(int *)ctx = result == 0 && request.served == 1;
    return NULL;
}

static bool all_wait(void)
{
    size_t count = 0;
    (void)pthread_mutex_lock(&together.lock);
    for (const struct together_request *q = together.waiting; q != NULL; q = q->next) {
        count++;
    }
    (void)pthread_mutex_unlock(&together.lock);
    return count == THREADS - 1;
}

static void set_up(void)
{
    atomic_store(&rounds, 0);
    atomic_store(&fails, 0);
    ck_assert_int_eq(sem_init(&begun, 0, 0), 0);
    ck_assert_int_eq(sem_init(&go_on, 0, 0), 0);
}

START_TEST(who_comes_during_a_round_is_served_by_the_next)
{
    pthread_t threads[THREADS];
    int right[THREADS] = {0};
    ck_assert_int_eq(pthread_create(&threads[0], NULL, ask, &right[0]), 0);
    ck_assert_int_eq(sem_wait(&begun), 0);
    for (int i = 1; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, &right[i]), 0);
    }
    while (!all_wait()) {
        (void)sched_yield();
    }
    (void)sem_post(&go_on);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(right[i], 1);
    }
    ck_assert_int_eq(atomic_load(&rounds), 2);
}
END_TEST

START_TEST(an_error_is_told_and_not_kept)
{
    struct request request = {.served = 0};
    struct error err = {0};
    (void)sem_post(&go_on);
    atomic_store(&fails, 1);
    ck_assert_int_eq(together_do(&together, &request.together, &err), -1);
    ck_assert_str_eq(err.message, "round 1");
    ck_assert_int_eq(together_do(&together, &request.together, NULL), -1);
    atomic_store(&fails, 0);
    ck_assert_int_eq(together_do(&together, &request.together, &err), 0);
    ck_assert_int_eq(request.served, 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core/together");
    TCase *tcase = tcase_create("together");
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, who_comes_during_a_round_is_served_by_the_next);
    tcase_add_test(tcase, an_error_is_told_and_not_kept);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
