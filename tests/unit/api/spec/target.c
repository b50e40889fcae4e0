/* Request targets: what an authority may be (api/spec/target.h). */
#include "api/spec/target.h"
#include "core/cleanup.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *text;
    bool ok;
} authorities[] = {
    {"x", true},
    {"x:", true},
    {"x:80", true},
    {"x:65535", true},
    {"[::1]", true},
    {"[::1]:80", true},
    {"[::ffff:10.0.0.1]:80", true},
    {"10.0.0.1:8080", true},
    {"a%20b", true},
    {"x:65536", false},
    {"x:99999", false},
    {"x:123456", false},
    {"x:8x", false},
    {"x:+8", false},
    {"x:80:80", false},
    {":80", false},
    {"[::1", false},
    {"::1]", false},
    {"::1", false},
    {"[]", false},
    {"[::1]x", false},
    {"[::1]80", false},
    {"[x]", false},
    {"user@x", false},
    {"a b", false},
    {"a[b", false},
};

START_TEST(an_authority)
{
    char target[64];
    struct target parsed = {.memory = NULL};
    const char *text = authorities[_i].text;
    ck_assert_msg(target_is_authority(text, strlen(text)) == authorities[_i].ok, "%s", text);
    (void)snprintf(target, sizeof target, "http://%s/vms?wait=1", text);
    ck_assert_msg((target_parse(target, &parsed, NULL) == 0) == authorities[_i].ok, "%s", target);
    target_free(&parsed);
}
END_TEST

START_TEST(an_absolute_form_needs_one)
{
    struct target parsed = {.memory = NULL};
    ck_assert(target_is_authority("", 0));
    ck_assert_int_ne(0, target_parse("http:///vms", &parsed, NULL));
    ck_assert_int_ne(0, target_parse("ftp://x/vms", &parsed, NULL));
    ck_assert_int_eq(0, target_parse("HTTPS://x/vms", &parsed, NULL));
    target_free(&parsed);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("target");
    tcase_add_loop_test(tc, an_authority, 0, ARRAY_LEN(authorities));
    tcase_add_test(tc, an_absolute_form_needs_one);
    Suite *suite = suite_create("target");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
