/* The table of known faults, and the order of versions that it is read by. */
#include "host/vmm/known_faults.h"

#include "core/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *a, *b;
    int result;
} orders[] = {
    {"1.12.1", "1.12.1", 0},     {"1.9", "1.10", -1}, {"1.13.1", "1.13", 1},    {"1.13.0", "1.13", 0}, {"2", "1.99.99", 1},
    {"1.13.1-dev", "1.13.1", 0}, {"", "0", 0},        {"1.12.1", "1.14.0", -1}, {"x", "1", -1},
};

START_TEST(versions_have_an_order)
{
    ck_assert_msg(version_compare(orders[_i].a, orders[_i].b) == orders[_i].result, "%s %s", orders[_i].a, orders[_i].b);
    ck_assert_int_eq(version_compare(orders[_i].b, orders[_i].a), -orders[_i].result);
}
END_TEST

static const struct {
    const char *program, *version;
    const char *name; /* NULL: none is known */
} cases[] = {
    {"jailer", "1.12.1", "CVE-2026-1386"},
    {"jailer", "1.13.1", "CVE-2026-1386"},
    {"jailer", "1.13.2", NULL},
    {"jailer", "1.14.0", "CVE-2026-1386"},
    {"jailer", "1.14.1", NULL},
    {"jailer", "1.16.1", NULL},
    {"qemu", "1.0", NULL},
};

START_TEST(faults_are_found_by_version)
{
    const struct known_fault *fault = known_fault_find(cases[_i].program, cases[_i].version);
    ck_assert_msg((fault != NULL) == (cases[_i].name != NULL), "%s", cases[_i].version);
    ck_assert(fault == NULL || strcmp(fault->name, cases[_i].name) == 0);
}
END_TEST

START_TEST(each_row_is_whole)
{
    for (const struct known_fault *fault = known_faults; fault->program != NULL; fault++) {
        ck_assert(fault->name[0] != '\0' && fault->words[0] != '\0' && version_compare(fault->first, fault->last) <= 0);
        ck_assert_ptr_eq(known_fault_find(fault->program, fault->first), fault);
        ck_assert_ptr_eq(known_fault_find(fault->program, fault->last), fault);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("known faults");
    TCase *tc = tcase_create("known faults");
    tcase_add_loop_test(tc, versions_have_an_order, 0, ARRAY_LEN(orders));
    tcase_add_loop_test(tc, faults_are_found_by_version, 0, ARRAY_LEN(cases));
    tcase_add_test(tc, each_row_is_whole);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
