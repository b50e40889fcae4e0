/* Lists of names of interfaces. */
#include "core/interface_names.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct interface_names of(const char *text)
{
    struct interface_names names;
    interface_names_parse(text, &names);
    return names;
}

static void is(const struct interface_names *names, const char *text)
{
    char buf[INTERFACE_NAMES_TEXT_MAX];
    ck_assert_str_eq(interface_names_format(names, buf), text);
}

START_TEST(texts)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"eth0", "eth0"},
        {"eth0 wg0", "eth0 wg0"},
        {"  wg0   eth0 ", "wg0 eth0"},
        {"a a b a", "a b"},
        {"sixteen-letters0 fifteen-letters", "fifteen-letters"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct interface_names names = of(pairs[i][0]);
        is(&names, pairs[i][1]);
    }
}
END_TEST

START_TEST(as_sets)
{
    struct interface_names a = of("x y z");
    struct interface_names b = of("z x y");
    struct interface_names c = of("x z");
    ck_assert(interface_names_equal(&a, &b));
    ck_assert(!interface_names_equal(&a, &c));
    ck_assert(interface_names_within(&c, &a));
    ck_assert(!interface_names_within(&a, &c));
    interface_names_remove(&a, "y");
    is(&a, "x z");
    interface_names_remove(&a, "nobody");
    interface_names_remove(&a, "x");
    interface_names_remove(&a, "z");
    is(&a, "");
}
END_TEST

START_TEST(no_more_than_fit)
{
    struct interface_names names = {.count = 0};
    char buf[INTERFACE_NAMES_TEXT_MAX];
    for (int i = 0; i < INTERFACE_NAMES_MAX; i++) {
        char name[INTERFACE_NAME_MAX];
        (void)snprintf(name, sizeof name, "fifteen-lett-%02d", i);
        ck_assert(interface_names_add(&names, name));
    }
    ck_assert(!interface_names_add(&names, "one-more"));
    ck_assert(interface_names_add(&names, "fifteen-lett-03"));
    struct interface_names again = of(interface_names_format(&names, buf));
    ck_assert(interface_names_equal(&names, &again));
    ck_assert_uint_eq(again.count, INTERFACE_NAMES_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("interface_names");
    TCase *tcase = tcase_create("names");
    tcase_add_test(tcase, texts);
    tcase_add_test(tcase, as_sets);
    tcase_add_test(tcase, no_more_than_fit);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
