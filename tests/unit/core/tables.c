/* The tables of error codes, event types, conditions and their reasons: each row is whole, and openapi.yaml has the same rows in the same order. */
#include "core/cleanup.h"
#include "core/condition.h"
#include "core/event_type.h"
#include "core/json.h"
#include "server/openapi_data.h"

#include <check.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789_"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

struct row {
    const char *name, *sentence;
};

static const struct row codes[] = {
#define X(name, status, title, sentence) {#name, sentence},
#include "core/error.def"
#undef X
};
static const struct row events[] = {
#define X(name, text, resource, data, sentence) {text, sentence},
#include "core/event_type.def"
#undef X
};
static const struct row types[] = {
#define X(name, text, resource, sentence) {text, sentence},
#include "core/condition_type.def"
#undef X
};
/* Behind the reasons of the table come the codes. */
static const struct row reasons[] = {
#define X(name, text, types, sentence) {text, sentence},
#include "core/condition_reason.def"
#undef X
#define X(name, status, title, sentence) {#name, sentence},
#include "core/error.def"
#undef X
};

static const char *event_name(int i)
{
    return event_type_name((enum event_type)i);
}
static const char *code_name(int i)
{
    return error_code_name((enum error_code)i);
}
static const char *type_name(int i)
{
    return condition_type_name((enum condition_type)i);
}
static const char *reason_name(int i)
{
    return condition_reason_name(i < REASON_COUNT_ ? (enum condition_reason)i : condition_reason_of((enum error_code)(i - REASON_COUNT_)));
}

static const struct {
    const char *schema; /* of openapi.yaml */
    const struct row *rows;
    size_t count;
    const char *(*name)(int i);
    const char *letters;
} tables[] = {
    {"ErrorCode", codes, ARRAY_LEN(codes), code_name, UPPER},
    {"EventType", events, ARRAY_LEN(events), event_name, LOWER "."},
    {"ConditionType", types, ARRAY_LEN(types), type_name, LOWER},
    {"ConditionReason", reasons, ARRAY_LEN(reasons), reason_name, LOWER UPPER},
};

START_TEST(each_row_has_a_name_of_its_own_and_a_sentence)
{
    for (size_t i = 0; i < tables[_i].count; i++) {
        const char *name = tables[_i].rows[i].name;
        const char *sentence = tables[_i].rows[i].sentence;
        const size_t len = strlen(sentence);
        ck_assert_str_eq(name, tables[_i].name((int)i));
        ck_assert_msg(name[0] != '\0' && strspn(name, tables[_i].letters) == strlen(name), "%s", name);
        ck_assert_msg(len > 10 && isupper((unsigned char)sentence[0]) && strchr(".?", sentence[len - 1]) != NULL, "%s: %s", name, sentence);
        /* Some generators make the names of their constants in capitals. */
        for (size_t k = 0; k < i; k++) {
            ck_assert_msg(strcasecmp(name, tables[_i].rows[k].name) != 0, "%s is there twice", name);
        }
    }
}
END_TEST

START_TEST(openapi_has_the_same_rows)
{
    struct error err;
    AUTO_JSON *document = NULL;
    ck_assert_msg(yaml_parse(openapi_yaml_begin, openapi_yaml_len, &document, &err) == 0, "%s", err.message);
    const json_t *schema = json_object_get(json_object_get(json_object_get(document, "components"), "schemas"), tables[_i].schema);
    const json_t *values = json_object_get(schema, "enum");
    const json_t *sentences = json_object_get(schema, "x-enum-descriptions");
    ck_assert_uint_eq(json_array_size(values), tables[_i].count);
    ck_assert_uint_eq(json_array_size(sentences), tables[_i].count);
    for (size_t i = 0; i < tables[_i].count; i++) {
        ck_assert_str_eq(json_string_value(json_array_get(values, i)), tables[_i].rows[i].name);
        ck_assert_ptr_nonnull(strstr(json_string_value(json_array_get(sentences, i)), tables[_i].rows[i].sentence));
    }
}
END_TEST

START_TEST(the_tables_are_whole)
{
    ck_assert_uint_eq(ARRAY_LEN(codes), ERR_COUNT_);
    ck_assert_uint_eq(ARRAY_LEN(events), EVENT_TYPE_COUNT_);
    ck_assert_uint_eq(ARRAY_LEN(types), CONDITION_TYPE_COUNT_);
    ck_assert_uint_eq(ARRAY_LEN(reasons), REASON_COUNT_ + ERR_COUNT_);
}
END_TEST

START_TEST(the_reason_of_an_error_is_its_code)
{
    for (int i = 0; i < ERR_COUNT_; i++) {
        ck_assert_str_eq(condition_reason_name(condition_reason_of((enum error_code)i)), code_name(i));
    }
}
END_TEST

START_TEST(a_condition_is_found_by_its_type)
{
    AUTO_JSON *list = json_pack("[{s:s, s:s, s:s}, {s:s}, {s:i}]", "type", "ready", "status", "false", "reason", "DATABASE", "type", "contested", "type", 1);
    const json_t *ready = condition_find(list, CONDITION_READY);
    ck_assert_ptr_nonnull(ready);
    ck_assert(condition_has_status(ready, CONDITION_FALSE) && !condition_has_status(ready, CONDITION_TRUE) && !condition_has_status(ready, CONDITION_UNKNOWN));
    ck_assert(condition_has_reason(ready, condition_reason_of(ERR_DATABASE)) && !condition_has_reason(ready, REASON_SET_UP));
    ck_assert(!condition_has_status(condition_find(list, CONDITION_CONTESTED), CONDITION_FALSE));
    ck_assert_ptr_null(condition_find(list, CONDITION_GUEST));
    ck_assert_ptr_null(condition_find(NULL, CONDITION_READY));
    ck_assert(!condition_has_status(NULL, CONDITION_FALSE) && !condition_has_reason(NULL, REASON_SET_UP));
}
END_TEST

int main(void)
{
    const int count = (int)ARRAY_LEN(tables);
    Suite *suite = suite_create("tables");
    TCase *tc = tcase_create("tables");
    tcase_add_loop_test(tc, each_row_has_a_name_of_its_own_and_a_sentence, 0, count);
    tcase_add_loop_test(tc, openapi_has_the_same_rows, 0, count);
    tcase_add_test(tc, the_tables_are_whole);
    tcase_add_test(tc, the_reason_of_an_error_is_its_code);
    tcase_add_test(tc, a_condition_is_found_by_its_type);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
