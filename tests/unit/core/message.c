/* The table of messages: each record can be written, read and freed, and no field of it is without a bound. */
#include "core/message.h"

#include "core/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static bool is_number(const struct record_field *field)
{
    switch (field->type) {
    case RECORD_INT:
    case RECORD_UINT32:
    case RECORD_UINT16:
    case RECORD_UINT8:
    case RECORD_ENUM:
    case RECORD_BOOL:
        return true;
    case RECORD_NAME:
    case RECORD_TEXT:
    case RECORD_BYTES:
    case RECORD_BLOB:
    case RECORD_LIST:
    case RECORD_ARRAY:
    case RECORD_TYPE_COUNT_:
        break;
    }
    return false;
}

/* What a member of this type takes in the struct. */
static size_t size_of(const struct record_field *field)
{
    switch (field->type) {
    case RECORD_INT:
        return sizeof(int64_t);
    case RECORD_UINT32:
    case RECORD_ENUM:
        return sizeof(uint32_t);
    case RECORD_UINT16:
        return sizeof(uint16_t);
    case RECORD_UINT8:
    case RECORD_BOOL:
        return 1;
    case RECORD_NAME:
    case RECORD_BYTES:
        return field->size;
    case RECORD_TEXT:
    case RECORD_BLOB:
    case RECORD_LIST:
        return sizeof(void *);
    case RECORD_ARRAY:
        return field->size * (size_t)field->max;
    case RECORD_TYPE_COUNT_:
        break;
    }
    return 0;
}

static void check_table(const struct record_table *table)
{
    ck_assert_ptr_nonnull(table);
    ck_assert_uint_gt(table->field_count, 0);
    for (size_t i = 0; i < table->field_count; i++) {
        const struct record_field *field = &table->fields[i];
        const char *name = field->name;
        ck_assert_msg(field->type > 0 && field->type < RECORD_TYPE_COUNT_, "%s.%s", table->name, name);
        ck_assert_msg(field->offset + size_of(field) <= table->size, "%s.%s lies outside", table->name, name);
        ck_assert_msg(field->type == RECORD_BYTES || field->type == RECORD_ENUM || field->max > 0, "%s.%s has no bound", table->name, name);
        ck_assert_msg(field->type != RECORD_ENUM || (field->max >= 0 && field->max < 256), "%s.%s has no bound", table->name, name); /* of one value: 0 */
        ck_assert_msg(field->min <= field->max || field->type == RECORD_BYTES, "%s.%s", table->name, name);
        ck_assert_msg(field->type != RECORD_NAME || (size_t)field->max < field->size, "%s.%s does not fit", table->name, name);
        ck_assert_msg(!is_number(field) || (field->of == NULL && field->valid == NULL), "%s.%s", table->name, name);
        if (field->type == RECORD_LIST || field->type == RECORD_ARRAY) {
            ck_assert_msg(field->of != NULL && field->of->size == field->size, "%s.%s: of what?", table->name, name);
            check_table(field->of);
        }
        for (size_t k = 0; k < i; k++) {
            ck_assert_msg(table->fields[k].offset != field->offset, "%s.%s stands twice", table->name, name);
        }
    }
}

START_TEST(every_message_has_records_with_bounds)
{
    for (size_t i = 0; i < MESSAGE_COUNT_; i++) {
        ck_assert_ptr_nonnull(message_types[i].name);
        check_table(message_types[i].question);
        check_table(message_types[i].answer);
    }
    check_table(&message_failure_record);
}
END_TEST

/* Rubbish of every length is refused, or read and freed, for each record. */
// NOLINTBEGIN(clang-analyzer-unix.Malloc): all of it is freed by its cleanup
START_TEST(no_bytes_break_a_record)
{
    const struct record_table *table = _i % 2 == 0 ? message_types[_i / 2].question : message_types[_i / 2].answer;
    AUTO_FREE void *zeroed = calloc(1, table->size);
    AUTO_FREE void *got = calloc(1, table->size);
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    record_write(table, zeroed, &bytes);
    for (size_t len = 0; len <= bytes.len; len++) {
        AUTO_FREE uint8_t *copy = malloc(len + 1);
        if (len > 0) {
            memcpy(copy, bytes.data, len);
        }
        for (size_t k = 0; k < len; k++) {
            const uint8_t before = copy[k];
            copy[k] = (uint8_t)(before ^ 0x81);
            if (record_read(table, copy, len, got, NULL, NULL, NULL) == 0) {
                record_free(table, got);
            }
            copy[k] = before;
        }
    }
}
END_TEST
// NOLINTEND(clang-analyzer-unix.Malloc)

START_TEST(facts_have_names)
{
    for (int i = 0; i < FACT_COUNT_; i++) {
        ck_assert_ptr_nonnull(message_fact_text((enum message_fact_name)i));
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("message");
    tcase_add_test(tc, every_message_has_records_with_bounds);
    tcase_add_loop_test(tc, no_bytes_break_a_record, 0, 2 * MESSAGE_COUNT_);
    tcase_add_test(tc, facts_have_names);
    Suite *suite = suite_create("message");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
