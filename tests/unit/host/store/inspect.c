/* What the worker and the inspector say to each other; the worker believes none of it. What is found in files: kernel_image.c, store.c. */
#include "host/store/inspect.h"

#include "core/cleanup.h"
#include "core/record.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

START_TEST(a_word_comes_back)
{
    static const struct inspection all[] = {
        {STORE_KERNEL, UINT64_MAX, ""}, {STORE_ROOTFS, 0, "squashfs"}, {STORE_INITRD, 4096, ""}, {STORE_ANYTHING, 1, "123456789012345"}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char word[INSPECTION_WORD_MAX];
        struct inspection back;
        inspection_word(&all[i], word);
        ck_assert(inspection_parse(word, &back));
        ck_assert(back.use == all[i].use && back.max_bytes == all[i].max_bytes);
        ck_assert_str_eq(back.rootfs_type, all[i].rootfs_type);
    }
}
END_TEST

START_TEST(what_is_no_word_is_refused)
{
    static const char *const bad[] = {
        "", "kernel", "kernel:", "kernel::", "kernel:x:", "kern:1:", "kernel:1", ":1:", "kernel:18446744073709551616:", "rootfs:1:1234567890123456"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct inspection what;
        ck_assert_msg(!inspection_parse(bad[i], &what), "'%s'", bad[i]);
    }
}
END_TEST

static int round_trip(int result, bool unpacked, const struct error *found, bool *ret_unpacked, struct error *err)
{
    uint8_t bytes[INSPECTION_ANSWER_MAX];
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert(inspection_tell(ends[1], result, unpacked, found));
    ssize_t len = read(ends[0], bytes, sizeof bytes);
    ck_assert_int_gt(len, 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return inspection_hear(bytes, (size_t)len, ret_unpacked, err);
}

START_TEST(an_answer_comes_back)
{
    struct error err = {0};
    struct error found = {0};
    bool unpacked = false;
    ck_assert_int_eq(round_trip(0, true, &found, &unpacked, &err), 0);
    ck_assert(unpacked);
    (void)error_set(&found, ERR_PAYLOAD_TOO_LARGE, "is too large");
    ck_assert_int_eq(round_trip(-1, false, &found, &unpacked, &err), -1);
    ck_assert_int_eq(err.code, ERR_PAYLOAD_TOO_LARGE);
    ck_assert_str_eq(err.message, "is too large");
    ck_assert(!unpacked);
    memset(found.message, 'x', sizeof found.message - 1); /* the longest */
    ck_assert_int_eq(round_trip(-1, false, &found, &unpacked, &err), -1);
    ck_assert_uint_eq(strlen(err.message), ERROR_MESSAGE_MAX - 1);
}
END_TEST

START_TEST(no_other_codes_and_nothing_that_terminals_obey)
{
    struct error err = {0};
    struct error found = {0};
    bool unpacked = false;
    (void)error_set(&found, ERR_UNAVAILABLE, "a\nb\x1b[2Jc\xc3\xa9");
    ck_assert_int_eq(round_trip(-1, false, &found, &unpacked, &err), -1);
    ck_assert_int_eq(err.code, ERR_SYSTEM);
    ck_assert_str_eq(err.message, "a?b?[2Jc??");
}
END_TEST

START_TEST(what_is_no_answer_is_an_error)
{
    static const char *const bad[] = {"", "x", "yes, it is all right"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        bool unpacked = true;
        ck_assert_int_eq(inspection_hear((const uint8_t *)bad[i], strlen(bad[i]), &unpacked, &err), -1);
        ck_assert_int_eq(err.code, ERR_SYSTEM);
        ck_assert(!unpacked);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host/store/inspect");
    TCase *tcase = tcase_create("inspect");
    tcase_add_test(tcase, a_word_comes_back);
    tcase_add_test(tcase, what_is_no_word_is_refused);
    tcase_add_test(tcase, an_answer_comes_back);
    tcase_add_test(tcase, no_other_codes_and_nothing_that_terminals_obey);
    tcase_add_test(tcase, what_is_no_answer_is_an_error);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
