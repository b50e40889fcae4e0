#include "core/json.h"
#include "core/limits.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *value = NULL;
    ck_assert_msg(json_parse(text, strlen(text), &value, &err) == 0, "%s: %s", text, err.message);
    return value;
}

static void refuse(const char *text, size_t len, const char *words)
{
    struct error err = {0};
    json_t *untouched = NULL;
    ck_assert_msg(json_parse(text, len, &untouched, &err) == -1, "accepted: %s", text);
    ck_assert_ptr_null(untouched);
    ck_assert_int_eq(err.code, ERR_INVALID_JSON);
    ck_assert_msg(strstr(err.message, "line ") == err.message, "no place: %s", err.message);
    ck_assert_msg(strstr(err.message, words) != NULL, "'%s' lacks '%s'", err.message, words);
}

START_TEST(any_value_stands_at_the_top)
{
    static const char *const texts[] = {"null", "true", "false", "0", "-1", "1.5", "\"a\"", "[]", "{}", " [1] \n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_decref(parse(texts[i]));
    }
}
END_TEST

START_TEST(integers_and_reals_keep_their_kind)
{
    AUTO_JSON *value = parse("[9223372036854775807, -9223372036854775808, 1.0, 1e2]");
    ck_assert_int_eq(json_integer_value(json_array_get(value, 0)), INT64_MAX);
    ck_assert_int_eq(json_integer_value(json_array_get(value, 1)), INT64_MIN);
    ck_assert(json_is_real(json_array_get(value, 2)));
    ck_assert(json_is_real(json_array_get(value, 3)));
}
END_TEST

static const struct {
    const char *text;
    const char *words;
} refused[] = {
    {"", ""},
    {"{", ""},
    {"[1,]", ""},
    {"{'a': 1}", ""},
    {"{\"a\": 1} x", "end of file expected"},
    {"{} {}", "end of file expected"},
    {"01", ""},
    {"+1", ""},
    {"NaN", ""},
    {"[1] // no", ""},
    {"{\"a\": 1, \"a\": 2}", "duplicate"},
    {"{\"a\": {\"b\": 1, \"\\u0062\": 2}}", "duplicate"},
    {"\"\\u0000\"", "\\u0000"},
    {"{\"\\u0000\": 1}", "\\u0000"},
    {"\"\\ud800\"", ""},
    {"\"\xff\"", ""},
    {"\"\xc0\x80\"", ""},
    {"\"\xed\xa0\x80\"", ""},
    {"9223372036854775808", "too big"},
    {"-9223372036854775809", "too big"},
    {"1e999", "overflow"},
    {"\"a\nb\"", ""},
};

START_TEST(what_is_not_strict_json_is_refused)
{
    refuse(refused[_i].text, strlen(refused[_i].text), refused[_i].words);
}
END_TEST

START_TEST(a_nul_byte_is_refused)
{
    refuse("\"a\0b\"", 5, "");
    refuse("[1]\0", 4, "");
}
END_TEST

START_TEST(the_place_is_told)
{
    struct error err = {0};
    json_t *value = NULL;
    static const char text[] = "{\n  \"a\": nope\n}";
    ck_assert_int_eq(json_parse(text, strlen(text), &value, &err), -1);
    ck_assert_msg(strncmp(err.message, "line 2, column ", 15) == 0, "%s", err.message);
}
END_TEST

START_TEST(messages_are_ascii_whatever_the_text)
{
    struct error err = {0};
    json_t *value = NULL;
    static const char text[] = "[\"\xc3\xa4\" \xc3\xa4\x01\xff]";
    ck_assert_int_eq(json_parse(text, strlen(text), &value, &err), -1);
    for (const char *p = err.message; *p != '\0'; p++) {
        ck_assert_msg(*p >= ' ' && (unsigned char)*p < 0x7f, "%s", err.message);
    }
}
END_TEST

static void nest(char *text, size_t depth, char open, char close)
{
    memset(text, open, depth);
    memset(text + depth, close, depth);
    text[2 * depth] = '\0';
}

START_TEST(nesting_has_a_limit)
{
    char text[2 * LIMIT_JSON_DEPTH + 3];
    nest(text, LIMIT_JSON_DEPTH, '[', ']');
    json_decref(parse(text));
    nest(text, LIMIT_JSON_DEPTH + 1, '[', ']');
    refuse(text, strlen(text), "nested deeper than 32");
}
END_TEST

START_TEST(only_real_brackets_are_nesting)
{
    char text[400] = "[\"\\\"";
    memset(text + 4, '[', 300);
    memcpy(text + 304, "\\\\\", []]", sizeof "\\\\\", []]");
    json_decref(parse(text));
    json_decref(parse("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],["
                      "],[],[],[],[],[]]"));
}
END_TEST

START_TEST(a_hundred_thousand_brackets_are_harmless)
{
    enum { SIZE = 100000 };
    char *text = malloc(SIZE);
    ck_assert_ptr_nonnull(text);
    memset(text, '[', SIZE);
    refuse(text, SIZE, "nested deeper");
    free(text);
}
END_TEST

START_TEST(text_is_compact_and_keeps_the_order)
{
    AUTO_JSON *value = parse("{ \"z\": 1, \"a\": [ true, null ], \"m\": \"\\u00e4\\n\" }");
    char *text = json_text(value);
    ck_assert_str_eq(text, "{\"z\":1,\"a\":[true,null],\"m\":\"\xc3\xa4\\n\"}");
    free(text);
    AUTO_JSON *scalar = json_integer(5);
    text = json_text(scalar);
    ck_assert_str_eq(text, "5");
    free(text);
    ck_assert_ptr_null(json_text(NULL));
}
END_TEST

START_TEST(members_are_read_without_failing)
{
    AUTO_JSON *value = parse("{\"s\": \"x\", \"i\": 7, \"r\": 7.0, \"f\": 7.5, \"t\": true, \"n\": null}");
    ck_assert_str_eq(json_get_string(value, "s"), "x");
    ck_assert_ptr_null(json_get_string(value, "i"));
    ck_assert_ptr_null(json_get_string(value, "none"));
    ck_assert_ptr_null(json_get_string(NULL, "s"));
    ck_assert_int_eq(json_get_int(value, "i", -1), 7);
    ck_assert_int_eq(json_get_int(value, "r", -1), 7);
    ck_assert_int_eq(json_get_int(value, "f", -1), -1);
    ck_assert_int_eq(json_get_int(value, "s", -1), -1);
    ck_assert_int_eq(json_get_int(value, "none", 3), 3);
    ck_assert(json_get_bool(value, "t", false));
    ck_assert(json_get_bool(value, "n", true));
    ck_assert(!json_get_bool(value, "i", false));
    ck_assert(json_get_bool(NULL, "t", true));
}
END_TEST

START_TEST(integral_ends_at_64_bits)
{
    AUTO_JSON *value = parse("[9223372036854774784.0, 9223372036854775808.0, -9223372036854775808.0, 1e300, -0.0]");
    int64_t integer = 1;
    ck_assert(json_integral(json_array_get(value, 0), &integer));
    ck_assert_int_eq(integer, INT64_C(9223372036854774784));
    ck_assert(!json_integral(json_array_get(value, 1), &integer));
    ck_assert(json_integral(json_array_get(value, 2), &integer));
    ck_assert_int_eq(integer, INT64_MIN);
    ck_assert(!json_integral(json_array_get(value, 3), &integer));
    ck_assert(json_integral(json_array_get(value, 4), &integer));
    ck_assert_int_eq(integer, 0);
    ck_assert(!json_integral(NULL, &integer));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *tests = tcase_create("json");
    tcase_add_test(tests, any_value_stands_at_the_top);
    tcase_add_test(tests, integers_and_reals_keep_their_kind);
    tcase_add_loop_test(tests, what_is_not_strict_json_is_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(tests, a_nul_byte_is_refused);
    tcase_add_test(tests, the_place_is_told);
    tcase_add_test(tests, messages_are_ascii_whatever_the_text);
    tcase_add_test(tests, nesting_has_a_limit);
    tcase_add_test(tests, only_real_brackets_are_nesting);
    tcase_add_test(tests, a_hundred_thousand_brackets_are_harmless);
    tcase_add_test(tests, text_is_compact_and_keeps_the_order);
    tcase_add_test(tests, members_are_read_without_failing);
    tcase_add_test(tests, integral_ends_at_64_bits);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
