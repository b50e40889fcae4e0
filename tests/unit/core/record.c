/* Records: what is written is what is read, and what a hostile sender can and cannot make of the bytes. */
#include "core/record.h"

#include "core/cleanup.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum colour { RED, GREEN, BLUE, COLOUR_COUNT };

struct part {
    char *id;
    uint16_t port;
    char tap[16];
};

struct whole {
    int64_t number;
    uint32_t address;
    uint8_t protocol;
    enum colour colour;
    bool on;
    char name[8];
    char *text;
    char *note;
    uint8_t *blob;
    size_t blob_len;
    struct part *parts;
    size_t part_count;
    uint8_t mac[6];
    struct part inner[2];
    size_t inner_count;
};

static bool is_lower(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static const struct record_field part_fields[] = {
    {.name = "id", .type = RECORD_TEXT, .offset = offsetof(struct part, id), .min = 1, .max = 10, .valid = is_lower},
    {.name = "port", .type = RECORD_UINT16, .offset = offsetof(struct part, port), .min = 1, .max = 65535},
    {.name = "tap", .type = RECORD_NAME, .offset = offsetof(struct part, tap), .size = 16, .min = 0, .max = 15},
};
static const struct record_table part_table = {"part", sizeof(struct part), part_fields, ARRAY_LEN(part_fields)};

static struct record_field whole_fields[] = {
    {.name = "number", .type = RECORD_INT, .offset = offsetof(struct whole, number), .min = -1, .max = INT64_MAX},
    {.name = "address", .type = RECORD_UINT32, .offset = offsetof(struct whole, address), .max = UINT32_MAX},
    {.name = "protocol", .type = RECORD_UINT8, .offset = offsetof(struct whole, protocol), .min = 6, .max = 17},
    {.name = "colour", .type = RECORD_ENUM, .offset = offsetof(struct whole, colour), .max = COLOUR_COUNT - 1},
    {.name = "on", .type = RECORD_BOOL, .offset = offsetof(struct whole, on), .max = 1},
    {.name = "name", .type = RECORD_NAME, .offset = offsetof(struct whole, name), .size = 8, .min = 1, .max = 7, .valid = is_lower},
    {.name = "text", .type = RECORD_TEXT, .offset = offsetof(struct whole, text), .max = 100},
    {.name = "note", .type = RECORD_TEXT, .offset = offsetof(struct whole, note), .max = 100, .optional = true},
    {.name = "blob",
     .type = RECORD_BLOB,
     .offset = offsetof(struct whole, blob),
     .count_offset = offsetof(struct whole, blob_len),
     .max = 100,
     .optional = true},
    {.name = "parts",
     .type = RECORD_LIST,
     .offset = offsetof(struct whole, parts),
     .size = sizeof(struct part),
     .count_offset = offsetof(struct whole, part_count),
     .max = 4,
     .of = &part_table},
    {.name = "mac", .type = RECORD_BYTES, .offset = offsetof(struct whole, mac), .size = 6},
    {.name = "inner",
     .type = RECORD_ARRAY,
     .offset = offsetof(struct whole, inner),
     .size = sizeof(struct part),
     .count_offset = offsetof(struct whole, inner_count),
     .max = 2,
     .of = &part_table},
};
enum { PARTS_FIELD = ARRAY_LEN(whole_fields) - 3 };
static const struct record_table whole_table = {"whole", sizeof(struct whole), whole_fields, ARRAY_LEN(whole_fields)};

static struct part parts[3];
static struct whole sample;
static uint8_t bytes_of_blob[] = {1, 0, 2};

static void setup(void)
{
    static char ids[3][8] = {"one", "two", "three"};
    for (size_t i = 0; i < 3; i++) {
        parts[i] = (struct part){.id = ids[i], .port = (uint16_t)(80 + i), .tap = "tap"};
    }
    sample = (struct whole){.number = -1,
                            .address = 0xfffffffe,
                            .protocol = 17,
                            .colour = BLUE,
                            .on = true,
                            .name = "abc-def",
                            .text = (char *)(uintptr_t) "",
                            .blob = bytes_of_blob,
                            .blob_len = sizeof bytes_of_blob,
                            .parts = parts,
                            .part_count = 3,
                            .mac = {2, 0, 0, 0, 0, 9},
                            .inner = {parts[0], parts[1]},
                            .inner_count = 2};
    whole_fields[PARTS_FIELD].spare = false;
}

static char spared_keys[64];
static void on_spared(void *ctx, const char *list, const char *key, const struct error *why)
{
    ck_assert_ptr_eq(ctx, &sample);
    ck_assert_str_eq(list, "parts");
    ck_assert_int_eq(why->code, ERR_ROW_DAMAGED);
    const size_t len = strlen(spared_keys);
    (void)snprintf(spared_keys + len, sizeof spared_keys - len, "%s;", key);
}

static int read_back(const struct record_bytes *bytes, struct whole *ret, struct error *err)
{
    spared_keys[0] = '\0';
    return record_read(&whole_table, bytes->data, bytes->len, ret, on_spared, &sample, err);
}

START_TEST(what_was_written_is_read)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct whole got;
    struct error err = {0};
    record_write(&whole_table, &sample, &bytes);
    ck_assert_msg(read_back(&bytes, &got, &err) == 0, "%s", err.message);
    ck_assert(got.number == -1 && got.address == 0xfffffffe && got.protocol == 17 && got.colour == BLUE && got.on);
    ck_assert_str_eq(got.name, "abc-def");
    ck_assert_str_eq(got.text, "");
    ck_assert_ptr_null(got.note);
    ck_assert(got.blob_len == 3 && memcmp(got.blob, bytes_of_blob, 3) == 0);
    ck_assert_uint_eq(got.part_count, 3);
    ck_assert_str_eq(got.parts[2].id, "three");
    ck_assert_uint_eq(got.parts[2].port, 82);
    ck_assert_uint_eq(got.mac[5], 9);
    ck_assert_uint_eq(got.inner_count, 2);
    ck_assert_str_eq(got.inner[1].id, "two");
    ck_assert_str_eq(spared_keys, "");
    record_free(&whole_table, &got);
    ck_assert_ptr_null(got.parts);
}
END_TEST

/* A value beyond its bound: the field is named, its value never. */
static void expect_damaged(const char *field)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct whole got;
    struct error err = {0};
    record_write(&whole_table, &sample, &bytes);
    ck_assert_int_eq(read_back(&bytes, &got, &err), -1);
    ck_assert_msg(err.code == ERR_ROW_DAMAGED && strstr(err.message, field) != NULL, "%s: %s", field, err.message);
    ck_assert_int_eq(record_check(&whole_table, &sample, &err), -1);
    setup();
}

START_TEST(a_value_that_its_field_does_not_allow_is_damage)
{
    char long_text[102];
    memset(long_text, 'a', 101);
    long_text[101] = '\0';
    sample.number = -2;
    expect_damaged("whole.number");
    sample.protocol = 5;
    expect_damaged("whole.protocol");
    sample.colour = COLOUR_COUNT;
    expect_damaged("whole.colour");
    strcpy(sample.name, "UPPER");
    expect_damaged("whole.name");
    strcpy(sample.name, "");
    expect_damaged("whole.name");
    sample.text = long_text;
    expect_damaged("whole.text");
    sample.text = NULL;
    expect_damaged("whole.text");
    parts[1].port = 0;
    expect_damaged("part.port");
    parts[0].id = (char *)(uintptr_t) "../x";
    expect_damaged("part.id");
    sample.inner[1].port = 0;
    expect_damaged("part.port");
}
END_TEST

START_TEST(in_a_spare_list_only_the_damaged_element_is_left_out)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct whole got;
    whole_fields[PARTS_FIELD].spare = true;
    parts[0].port = 0;
    parts[2].id = NULL;
    record_write(&whole_table, &sample, &bytes);
    ck_assert_int_eq(read_back(&bytes, &got, NULL), 0);
    ck_assert_uint_eq(got.part_count, 1);
    ck_assert_str_eq(got.parts[0].id, "two");
    ck_assert_str_eq(spared_keys, "one;tap;");
    record_free(&whole_table, &got);
}
END_TEST

START_TEST(every_cut_and_every_changed_byte_is_refused_or_read)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct whole got;
    struct error err;
    record_write(&whole_table, &sample, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        AUTO_FREE uint8_t *copy = malloc(len > 0 ? len : 1); /* of just this size: reading beyond is seen */
        memcpy(copy, bytes.data, len);
        ck_assert_int_eq(record_read(&whole_table, copy, len, &got, NULL, NULL, &err), -1);
        ck_assert_int_eq(err.code, ERR_BAD_REQUEST);
    }
    for (size_t i = 0; i < bytes.len; i++) {
        for (unsigned value = 0; value < 256; value += 15) {
            uint8_t before = bytes.data[i];
            bytes.data[i] = (uint8_t)value;
            if (record_read(&whole_table, bytes.data, bytes.len, &got, NULL, NULL, &err) == 0) {
                record_free(&whole_table, &got);
            }
            bytes.data[i] = before;
        }
    }
    AUTO_RECORD_BYTES more = {.data = NULL};
    record_write(&whole_table, &sample, &more);
    record_write(&part_table, &parts[0], &more);
    ck_assert_int_eq(record_read(&whole_table, more.data, more.len, &got, NULL, NULL, &err), -1);
    ck_assert_int_eq(err.code, ERR_BAD_REQUEST);
}
END_TEST

/* An attacker's rows may be more than there can be; who tells of them is not broken. */
START_TEST(a_list_that_is_longer_than_allowed_is_damaged_or_cut)
{
    static struct part many[6];
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct whole got;
    struct error err;
    for (size_t i = 0; i < 6; i++) {
        many[i] = parts[0];
    }
    many[4].id = (char *)(uintptr_t) "five";
    sample.parts = many;
    sample.part_count = 6;
    record_write(&whole_table, &sample, &bytes);
    ck_assert_int_eq(read_back(&bytes, &got, &err), -1);
    ck_assert_int_eq(err.code, ERR_ROW_DAMAGED);
    whole_fields[PARTS_FIELD].spare = true;
    ck_assert_int_eq(read_back(&bytes, &got, &err), 0);
    ck_assert_uint_eq(got.part_count, 4);
    ck_assert_str_eq(got.inner[1].id, "two"); /* what stands behind them is found */
    ck_assert_str_eq(spared_keys, "five;");   /* the first one, and not each */
    record_free(&whole_table, &got);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("record");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, what_was_written_is_read);
    tcase_add_test(tc, a_value_that_its_field_does_not_allow_is_damage);
    tcase_add_test(tc, in_a_spare_list_only_the_damaged_element_is_left_out);
    tcase_add_test(tc, every_cut_and_every_changed_byte_is_refused_or_read);
    tcase_add_test(tc, a_list_that_is_longer_than_allowed_is_damaged_or_cut);
    Suite *suite = suite_create("record");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
