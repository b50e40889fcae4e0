#include "host/nft/flow_limits.h"

#include "core/cleanup.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    uint32_t configured, table, max, rate;
} rows[] = {
    {4096, 262144, 4096, 546},     {4096, 65536, 4096, 136}, {4096, 0, 4096, 136}, /* not known */
    {1000000, 262144, 65536, 546},                                                 /* never more than a quarter of the table */
    {1000000, 0, 16384, 136},      {4096, 8192, 2048, 17},   {16, 262144, 16, 546}, {4096, 1, 16, 16}, {1000000, UINT32_MAX, 1000000, 8947848},
};

START_TEST(limits)
{
    const struct flow_limits found = flow_limits_of(rows[_i].configured, rows[_i].table);
    ck_assert_uint_eq(found.max, rows[_i].max);
    ck_assert_uint_eq(found.rate, rows[_i].rate);
}
END_TEST

/* What a guest can have in the table, with all that has ended: some room is left for the others. */
START_TEST(one_does_not_fill_the_table)
{
    for (uint64_t table = 16384; table <= UINT32_MAX; table *= 2) {
        for (uint32_t configured = 16; configured <= 1000000; configured *= 4) {
            const struct flow_limits found = flow_limits_of(configured, (uint32_t)table);
            const uint64_t most = 2 * (uint64_t)found.max + (uint64_t)found.rate * FLOW_ENDED_S;
            ck_assert_msg(most <= table - table / 8, "%llu of %llu", (unsigned long long)most, (unsigned long long)table);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flow limits");
    TCase *tc = tcase_create("flow_limits");
    tcase_add_loop_test(tc, limits, 0, (int)ARRAY_LEN(rows));
    tcase_add_test(tc, one_does_not_fill_the_table);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
