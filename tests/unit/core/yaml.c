#include "core/json.h"
#include "core/limits.h"
#include "core/strbuf.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *yaml;
    const char *json;
} read_rows[] = {
    {"a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}"},
    {"{a: {b: {}}, c: []}", "{\"a\":{\"b\":{}},\"c\":[]}"},
    {"- null\n- ~\n-\n- 'null'\n- ''\n", "[null,null,null,\"null\",\"\"]"},
    {"- true\n- false\n- 'true'\n- True\n- yes\n- on\n", "[true,false,\"true\",\"True\",\"yes\",\"on\"]"},
    {"- 0\n- -1\n- 9223372036854775807\n- '5'\n", "[0,-1,9223372036854775807,\"5\"]"},
    {"- 1.5\n- -2e3\n- 1E-2\n", "[1.5,-2000.0,0.01]"},
    {"- 010\n- 0x10\n- +5\n- 1_000\n- .5\n- 5.\n- 1e\n- .inf\n- 1.2.3.4\n- '-'\n",
     "[\"010\",\"0x10\",\"+5\",\"1_000\",\".5\",\"5.\",\"1e\",\".inf\",\"1.2.3.4\",\"-\"]"},
    {"- 10.0.0.0/8\n- 2026-11-23\n- 12:30\n- 99999999999999999999-a\n", "[\"10.0.0.0/8\",\"2026-11-23\",\"12:30\",\"99999999999999999999-a\"]"},
    {"a: |\n  one\n  two\nb: >\n  three\n  four\n", "{\"a\":\"one\\ntwo\\n\",\"b\":\"three four\\n\"}"},
    {"# only a remark\n---\nx\n...\n", "\"x\""},
    {"\"a\\u00e4\\x41\"", "\"a\xc3\xa4"
                          "A\""},
    {"'200': ok\nyes: 1\n", "{\"200\":\"ok\",\"yes\":1}"},
    {"\xef\xbb\xbf"
     "a: 1",
     "{\"a\":1}"},
    {"5", "5"},
};

START_TEST(values_are_read)
{
    struct error err = {0};
    AUTO_JSON *value = NULL;
    ck_assert_msg(yaml_parse(read_rows[_i].yaml, strlen(read_rows[_i].yaml), &value, &err) == 0, "%s", err.message);
    char *text = json_text(value);
    ck_assert_str_eq(text, read_rows[_i].json);
    free(text);
}
END_TEST

static void refuse(const char *text, size_t len, const char *words)
{
    struct error err = {0};
    json_t *untouched = NULL;
    ck_assert_msg(yaml_parse(text, len, &untouched, &err) == -1, "accepted: %s", text);
    ck_assert_ptr_null(untouched);
    ck_assert_int_eq(err.code, ERR_INVALID_CONFIG);
    ck_assert_msg(strstr(err.message, words) != NULL, "'%s' lacks '%s'", err.message, words);
}

static const struct {
    const char *yaml;
    const char *words;
} refused[] = {
    {"", "there is no document"},
    {"# nothing\n", "there is no document"},
    {"a: 1\n---\nb: 2\n", "more than one document"},
    {"a: 1\nb: 2\na: 3\n", "line 3, column 1: the key a is there twice"},
    {"{a: 1, \"a\": 2}", "twice"},
    {"{a: null, a: null}", "twice"},
    {"200: ok", "put it in quotes"},
    {"true: ok", "put it in quotes"},
    {"~: ok", "put it in quotes"},
    {"? [a]\n: b\n", "a key must be a string"},
    {"? {a: b}\n: b\n", "a key must be a string"},
    {"a: &x 1\nb: *x\n", "line 1, column 4: anchors"},
    {"a: *x\n", "anchors"},
    {"&x a: 1\n", "anchors"},
    {"a: &x [1]\n", "anchors"},
    {"a: &x {b: 1}\n", "anchors"},
    {"a: !!str 5\n", "tags"},
    {"a: ! 5\n", "tags"},
    {"!!str a: 5\n", "tags"},
    {"a: !x [1]\n", "tags"},
    {"a: !!binary aGk=\n", "tags"},
    {"a: [1\n", "line 2"},
    {"a: b: c\n", "line 1"},
    {"a:\n\t- b\n", "line 2"},
    {"\"a\\0b\"", "\\0"},
    {"{\"a\\0b\": 1}", "\\0"},
    {"9223372036854775808", "too large"},
    {"- 1e999", "too large"},
    {"a: \xff", "UTF-8"},
    {"\xff\xfe"
     "a\0",
     "UTF-8"},
    {"\"\\ud800\"", "line 1"},
    {"a: \x01", "control"},
};

START_TEST(what_is_not_plain_yaml_is_refused)
{
    refuse(refused[_i].yaml, strlen(refused[_i].yaml), refused[_i].words);
}
END_TEST

START_TEST(nesting_has_a_limit)
{
    char text[2 * LIMIT_JSON_DEPTH + 3];
    struct error err = {0};
    for (size_t depth = LIMIT_JSON_DEPTH; depth <= LIMIT_JSON_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        json_t *value = NULL;
        ck_assert_int_eq(yaml_parse(text, strlen(text), &value, &err), depth <= LIMIT_JSON_DEPTH ? 0 : -1);
        json_decref(value);
    }
    ck_assert_ptr_nonnull(strstr(err.message, "nested deeper than 32"));
}
END_TEST

START_TEST(many_brackets_are_harmless)
{
    static const char *const openers[] = {"[", "{", "- ", "{a: ", "? "};
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++) {
        AUTO_STRBUF text = STRBUF_INIT;
        for (int k = 0; k < 20000; k++) {
            strbuf_add(&text, openers[i]);
        }
        refuse(text.data, text.len, "");
    }
}
END_TEST

START_TEST(a_long_key_that_is_there_twice_is_not_quoted)
{
    AUTO_STRBUF text = STRBUF_INIT;
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 500; k++) {
            strbuf_add(&text, "\xc3\xa4");
        }
        strbuf_add(&text, ": 1\n");
    }
    refuse(text.data, text.len, "line 2, column 1: the key is there twice");
}
END_TEST

START_TEST(failures_in_the_middle_leak_nothing)
{
    static const char text[] = "{a: [1, {b: c}, \"d\", [[e]]], f: {g: [h, i]}}";
    for (size_t len = 0; len < strlen(text); len++) {
        refuse(text, len, "");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("yaml");
    TCase *tests = tcase_create("yaml");
    tcase_add_loop_test(tests, values_are_read, 0, (int)(sizeof read_rows / sizeof *read_rows));
    tcase_add_loop_test(tests, what_is_not_plain_yaml_is_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(tests, nesting_has_a_limit);
    tcase_add_test(tests, many_brackets_are_harmless);
    tcase_add_test(tests, a_long_key_that_is_there_twice_is_not_quoted);
    tcase_add_test(tests, failures_in_the_middle_leak_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
