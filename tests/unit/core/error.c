/* The small parts of core/: errors, text buffers, clocks, and the lines of the log. */
#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/strbuf.h"

#include <check.h>
#include <jansson.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(an_error_holds_what_is_known)
{
    struct error err = {.code = ERR_TIMEOUT, .sys_errno = 5};
    ck_assert_int_eq(error_set(&err, ERR_NOT_FOUND, "no VM '%s'", "a"), -1);
    ck_assert_int_eq(err.code, ERR_NOT_FOUND);
    ck_assert_int_eq(err.sys_errno, 0);
    ck_assert_str_eq(err.message, "no VM 'a'");
    ck_assert_int_eq(error_sys(&err, ERR_SYSTEM, ENOENT, "open %s", "/x"), -1);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_str_eq(err.message, "open /x: No such file or directory");
    ck_assert_int_eq(error_prefix(&err, "VM %d", 7), -1);
    ck_assert_int_eq(err.code, ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_str_eq(err.message, "VM 7: open /x: No such file or directory");
    ck_assert_int_eq(error_sys(&err, ERR_SYSTEM, 99999, "x"), -1);
    ck_assert_str_eq(err.message, "x: unknown error");
    ck_assert_int_eq(error_oom(&err), -1);
    ck_assert_int_eq(err.code, ERR_OUT_OF_MEMORY);
}
END_TEST

START_TEST(nobody_needs_to_care_for_an_error)
{
    ck_assert_int_eq(error_set(NULL, ERR_INTERNAL, "x"), -1);
    ck_assert_int_eq(error_sys(NULL, ERR_INTERNAL, EIO, "x"), -1);
    ck_assert_int_eq(error_prefix(NULL, "x"), -1);
    ck_assert_int_eq(error_oom(NULL), -1);
}
END_TEST

START_TEST(a_message_may_quote_the_one_before)
{
    struct error err;
    (void)error_set(&err, ERR_INTERNAL, "first");
    (void)error_set(&err, ERR_INTERNAL, "second after %s", err.message);
    ck_assert_str_eq(err.message, "second after first");
}
END_TEST

START_TEST(long_messages_end_in_dots)
{
    struct error err;
    char text[2 * ERROR_MESSAGE_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)error_set(&err, ERR_INTERNAL, "%s", text);
    ck_assert_uint_eq(strlen(err.message), ERROR_MESSAGE_MAX - 1);
    ck_assert_str_eq(err.message + ERROR_MESSAGE_MAX - 4, "...");
    (void)error_prefix(&err, "before");
    ck_assert_uint_eq(strlen(err.message), ERROR_MESSAGE_MAX - 1);
    ck_assert_int_eq(strncmp(err.message, "before: xxx", 11), 0);
    ck_assert_str_eq(err.message + ERROR_MESSAGE_MAX - 4, "...");
    (void)error_sys(&err, ERR_SYSTEM, EIO, "%s", text);
    ck_assert_ptr_nonnull(strstr(err.message, "...: Input/output error"));
    text[ERROR_MESSAGE_MAX - 1] = '\0';
    (void)error_set(&err, ERR_INTERNAL, "%s", text);
    ck_assert_str_eq(err.message, text);
}
END_TEST

/* The codes are API: each has a name in capitals, a title and a status that says error. */
/* They become JSON: what is no UTF-8 in a name, and what is left of a character that was cut, must not make it fail. */
START_TEST(messages_are_utf8)
{
    static const struct {
        const char *given, *told;
    } texts[] = {{"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
                 {"a\xc3", "a?"},
                 {"\xa9z", "?z"},
                 {"\xc0\xafx", "??x"},
                 {"\xed\xa0\x80", "???"},
                 {"\xf4\x90\x80\x80", "????"},
                 {"\xe2\x82", "??"},
                 {"\xff\xfe", "??"}};
    struct error err = {0};
    char name[ERROR_MESSAGE_MAX + 2];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        (void)error_set(&err, ERR_SYSTEM, "%s", texts[i].given);
        ck_assert_str_eq(err.message, texts[i].told);
    }
    for (size_t odd = 0; odd < 2; odd++) { /* cut within a character, whichever half comes first */
        memset(name, 'x', sizeof name);
        for (size_t i = odd; i + 2 < sizeof name; i += 2) {
            memcpy(name + i, "\xc3\xa9", 2);
        }
        name[sizeof name - 1] = '\0';
        (void)error_sys(&err, ERR_SYSTEM, ENOENT, "%s", name);
        json_t *text = json_string(err.message);
        ck_assert_msg(text != NULL, "%s", err.message);
        json_decref(text);
    }
}
END_TEST

START_TEST(each_code_has_a_name_a_title_and_a_status)
{
    enum error_code code = (enum error_code)_i;
    const char *name = error_code_name(code);
    enum error_code found = ERR_COUNT_;
    ck_assert_int_ge(error_code_status(code), 400);
    ck_assert_int_le(error_code_status(code), 599);
    ck_assert(isupper((unsigned char)*error_code_title(code)));
    ck_assert_uint_eq(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), strlen(name));
    ck_assert(error_code_from_name(name, &found));
    ck_assert_int_eq(found, code);
}
END_TEST

START_TEST(other_names_are_no_codes)
{
    enum error_code code = ERR_TIMEOUT;
    ck_assert(!error_code_from_name("", &code));
    ck_assert(!error_code_from_name("not_found", &code));
    ck_assert(!error_code_from_name("NOT_FOUND ", &code));
    ck_assert_int_eq(code, ERR_TIMEOUT);
}
END_TEST

START_TEST(a_buffer_grows)
{
    struct strbuf b = STRBUF_INIT;
    ck_assert_ptr_null(b.data);
    for (int i = 0; i < 1000; i++) {
        strbuf_addf(&b, "%03d", i);
        strbuf_add(&b, ",");
        strbuf_add_char(&b, ' ');
    }
    ck_assert_uint_eq(b.len, 5000);
    ck_assert_uint_eq(strlen(b.data), 5000);
    ck_assert_int_eq(strncmp(b.data + 4995, "999, ", 5), 0);
    strbuf_reset(&b);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_str_eq(b.data, "");
    strbuf_add_bytes(&b, "a\0b", 3);
    strbuf_add_bytes(&b, NULL, 0);
    ck_assert_uint_eq(b.len, 3);
    ck_assert_mem_eq(b.data, "a\0b", 4);
    strbuf_free(&b);
    ck_assert_ptr_null(b.data);
    strbuf_free(&b);
}
END_TEST

START_TEST(lengths_around_the_size_of_a_buffer_are_terminated)
{
    for (size_t len = 60; len < 70; len++) {
        AUTO_STRBUF b = STRBUF_INIT;
        for (size_t i = 0; i < len; i++) {
            strbuf_add_char(&b, 'x');
        }
        ck_assert_uint_eq(strlen(b.data), len);
        AUTO_STRBUF once = STRBUF_INIT;
        strbuf_addf(&once, "%*s", (int)len, "");
        ck_assert_uint_eq(strlen(once.data), len);
    }
}
END_TEST

START_TEST(text_is_handed_over)
{
    struct strbuf b = STRBUF_INIT;
    char *text = strbuf_take(&b);
    ck_assert_str_eq(text, "");
    free(text);
    strbuf_add(&b, "x");
    text = strbuf_take(&b);
    ck_assert_str_eq(text, "x");
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(b.len, 0);
    free(text);
}
END_TEST

START_TEST(a_failed_buffer_stays_failed)
{
    struct strbuf b = STRBUF_INIT;
    strbuf_add(&b, "kept");
    b.failed = true;
    strbuf_add(&b, "more");
    strbuf_addf(&b, "%d", 5);
    ck_assert_str_eq(b.data, "kept");
    ck_assert_ptr_null(strbuf_take(&b));
    ck_assert_ptr_null(b.data);
}
END_TEST

static const struct {
    int64_t ms;
    const char *text;
} times[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {1, "1970-01-01T00:00:00.001Z"},
    {INT64_C(1795470780000), "2026-11-23T21:53:00.000Z"},
    {INT64_C(951782399999), "2000-02-28T23:59:59.999Z"},
    {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
};

START_TEST(times_are_written_in_utc)
{
    char text[CLOCK_TEXT_MAX];
    setenv("TZ", "Asia/Kolkata", 1);
    ck_assert_ptr_eq(clock_format(times[_i].ms, text), text);
    ck_assert_str_eq(text, times[_i].text);
}
END_TEST

START_TEST(clocks_run)
{
    int64_t us = clock_monotonic_us();
    int64_t ms = clock_monotonic_ms();
    ck_assert_int_ge(ms, us / 1000);
    ck_assert_int_le(ms - us / 1000, 10000);
    ck_assert_int_ge(clock_monotonic_us(), us);
    ck_assert_int_gt(clock_wall_ms(), INT64_C(1700000000000));
}
END_TEST

/* What log_event() writes to standard error, without the time. */
static char *logged(char *buf, size_t size, const char *value)
{
    int pipe_fds[2];
    int saved = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    ck_assert_int_ge(dup2(pipe_fds[1], STDERR_FILENO), 0);
    log_event(LOG_WARN, "test.done", "a", value, "last", "z", NULL);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(pipe_fds[1]);
    ssize_t len = read(pipe_fds[0], buf, size - 1);
    buf[len > 0 ? len : 0] = '\0';
    close(pipe_fds[0]);
    close(saved);
    return buf;
}

static const struct {
    const char *value;
    const char *text;
} values[] = {
    {"plain", "plain"},
    {"/a/b-c.d:5", "/a/b-c.d:5"},
    {NULL, "-"},
    {"", "\"\""},
    {"two words", "\"two words\""},
    {"a=b", "\"a=b\""},
    {"say \"hi\"", "\"say \\\"hi\\\"\""},
    {"back\\slash", "\"back\\\\slash\""},
    {"line\nevent=forged", "\"line\\x0aevent=forged\""},
    {"\x1b[31m\x7f\t\r", "\"\\x1b[31m\\x7f\\x09\\x0d\""},
};

START_TEST(values_are_quoted_when_they_must_be)
{
    char line[512];
    char wanted[512];
    log_set_role("api");
    (void)snprintf(wanted, sizeof wanted, " level=warn role=api event=test.done a=%s last=z\n", values[_i].text);
    (void)logged(line, sizeof line, values[_i].value);
    ck_assert_int_eq(strncmp(line, "time=20", 7), 0);
    ck_assert_str_eq(strchr(line, ' '), wanted);
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}
END_TEST

/* Of a write that was accepted: 409 or of the 500 family, and its own where it is one of those. */
START_TEST(each_code_has_a_status_for_an_end_in_failure)
{
    enum error_code code = (enum error_code)_i;
    int own = error_code_status(code);
    int status = error_code_status_of_end(code);
    ck_assert(status == 409 || (status >= 500 && status < 600));
    ck_assert(own < 500 || status == own);
}
END_TEST

START_TEST(levels_below_are_silent)
{
    char line[512];
    log_set_level(LOG_ERROR);
    ck_assert_str_eq(logged(line, sizeof line, "x"), "");
    log_set_level(LOG_WARN);
    ck_assert_str_ne(logged(line, sizeof line, "x"), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");
    TCase *tests = tcase_create("error");
    tcase_add_test(tests, an_error_holds_what_is_known);
    tcase_add_test(tests, nobody_needs_to_care_for_an_error);
    tcase_add_test(tests, a_message_may_quote_the_one_before);
    tcase_add_test(tests, long_messages_end_in_dots);
    tcase_add_test(tests, messages_are_utf8);
    tcase_add_loop_test(tests, each_code_has_a_name_a_title_and_a_status, 0, ERR_COUNT_);
    tcase_add_loop_test(tests, each_code_has_a_status_for_an_end_in_failure, 0, ERR_COUNT_);
    tcase_add_test(tests, other_names_are_no_codes);
    suite_add_tcase(suite, tests);
    TCase *text = tcase_create("strbuf");
    tcase_add_test(text, a_buffer_grows);
    tcase_add_test(text, lengths_around_the_size_of_a_buffer_are_terminated);
    tcase_add_test(text, text_is_handed_over);
    tcase_add_test(text, a_failed_buffer_stays_failed);
    suite_add_tcase(suite, text);
    TCase *edge = tcase_create("clock and log");
    tcase_add_loop_test(edge, times_are_written_in_utc, 0, (int)(sizeof times / sizeof *times));
    tcase_add_test(edge, clocks_run);
    tcase_add_loop_test(edge, values_are_quoted_when_they_must_be, 0, (int)(sizeof values / sizeof *values));
    tcase_add_test(edge, levels_below_are_silent);
    suite_add_tcase(suite, edge);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
