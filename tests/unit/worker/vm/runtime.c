/* What is remembered of VMs: an entry is of one id and one number, whatever the rows say. */
#include "worker/vm/runtime.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct runtimes *runtimes;
static struct error err;
static char other[64];

static void setup(void)
{
    ck_assert_int_eq(runtimes_new(&runtimes, &err), 0);
}

static void teardown(void)
{
    runtimes_free(runtimes);
}

START_TEST(the_same_row_has_the_same_entry)
{
    struct runtime *a = runtimes_get(runtimes, 1, "a", other, &err);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_eq(runtimes_get(runtimes, 1, "a", other, &err), a);
    ck_assert_ptr_eq(runtimes_of_id(runtimes, "a"), a);
    ck_assert_ptr_null(runtimes_of_id(runtimes, "b"));
    char id[64];
    ck_assert(runtimes_id(runtimes, 1, id) && strcmp(id, "a") == 0);
    runtimes_remove(runtimes, 1);
    ck_assert_ptr_null(runtimes_of_id(runtimes, "a"));
    ck_assert(!runtimes_id(runtimes, 1, id));
}
END_TEST

/* Two threads work on "vm/a" and "vm/b": with one entry, one of them would use what the other has freed. */
START_TEST(two_rows_with_one_number_do_not_share)
{
    ck_assert_ptr_nonnull(runtimes_get(runtimes, 1, "a", other, &err));
    ck_assert_ptr_null(runtimes_get(runtimes, 1, "b", other, &err));
    ck_assert_int_eq(err.code, ERR_ROW_DAMAGED);
    ck_assert_str_eq(other, "a");
    ck_assert_ptr_nonnull(runtimes_get(runtimes, 1025, "b", other, &err)); /* of the same bucket */
    ck_assert_ptr_null(runtimes_get(runtimes, 1025, "a", other, &err));
    ck_assert_str_eq(other, "b");
    runtimes_remove(runtimes, 1);
    ck_assert_ptr_null(runtimes_get(runtimes, 1025, "a", other, &err));
    ck_assert_ptr_nonnull(runtimes_get(runtimes, 1, "a", other, &err));
}
END_TEST

/* Or a keeper that changes the number each time would make the worker keep descriptors and memory without bound. */
START_TEST(one_id_has_one_number)
{
    struct runtime *a = runtimes_get(runtimes, 1, "a", other, &err);
    ck_assert_ptr_null(runtimes_get(runtimes, 2, "a", other, &err));
    ck_assert_int_eq(err.code, ERR_ROW_DAMAGED);
    ck_assert_str_eq(other, "a"); /* who works on the key may forget it */
    ck_assert_ptr_eq(runtimes_of_id(runtimes, "a"), a);
    runtimes_remove(runtimes, a->uid);
    ck_assert_ptr_nonnull(runtimes_get(runtimes, 2, "a", other, &err));
}
END_TEST

static void count(const char *id, void *ctx)
{
    ck_assert_uint_gt(strlen(id), 0);
    ++*(unsigned *)ctx;
}

START_TEST(all_of_them_are_named)
{
    unsigned seen = 0;
    for (int i = 1; i <= 3000; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "v%d", i);
        ck_assert_ptr_nonnull(runtimes_get(runtimes, i, id, other, &err));
    }
    for (int i = 1; i <= 3000; i += 2) {
        runtimes_remove(runtimes, i);
    }
    runtimes_each_id(runtimes, count, &seen);
    ck_assert_uint_eq(seen, 1500);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("runtime");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_same_row_has_the_same_entry);
    tcase_add_test(tc, two_rows_with_one_number_do_not_share);
    tcase_add_test(tc, one_id_has_one_number);
    tcase_add_test(tc, all_of_them_are_named);
    Suite *suite = suite_create("runtime");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
