/* Names and texts that come over the border. */
#include "core/names.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    const char *text;
    bool valid;
} texts[] = {
    {"", true},
    {"plain ~", true},
    {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", true},
    {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", true},
    {"a\nb", false},
    {"\x7f", false},
    {"\xff", false},
    {"\x80", false},
    {"\xc3", false},
    {"\xe2\x82", false},
    {"\xf0\x9f\x98", false},
    {"\xc0\xaf", false}, /* a slash in more bytes than it needs */
    {"\xe0\x80\xaf", false},
    {"\xed\xa0\x80", false},     /* half of a pair */
    {"\xf4\x90\x80\x80", false}, /* beyond Unicode */
};

START_TEST(text_is_utf8_without_control_characters)
{
    ck_assert_msg(name_is_text(texts[_i].text) == texts[_i].valid, "text %d", _i);
}
END_TEST

START_TEST(names_are_no_paths)
{
    static const char *const paths[] = {"", ".", "..", "../x", "/x", "a/b", "-a", "a\nb", "A"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        ck_assert_msg(!name_is_vm_id(paths[i]), "%s", paths[i]);
        ck_assert_msg(!name_is_sha256(paths[i]), "%s", paths[i]);
    }
    ck_assert(name_is_vm_id("0-a") && name_is_image_id("A.b_c-1") && !name_is_image_id(".a") && !name_is_image_id("a/b"));
    ck_assert(name_is_uuid_or_none("") && !name_is_uuid_or_none("?"));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("names");
    tcase_add_loop_test(tc, text_is_utf8_without_control_characters, 0, (int)(sizeof texts / sizeof *texts));
    tcase_add_test(tc, names_are_no_paths);
    Suite *suite = suite_create("names");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
