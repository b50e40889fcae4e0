/* What a guest's console tells (worker/vm/guest_sign.h), and that it outlives the daemon. */
#include "worker/vm/guest_sign.h"

#include "core/cleanup.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(the_first_byte_is_a_sign_of_life)
{
    struct guest_scan scan = {.sign = GUEST_BOOTING};
    ck_assert(!guest_scan_add(&scan, "", 0));
    ck_assert_int_eq(GUEST_BOOTING, scan.sign);
    ck_assert(guest_scan_add(&scan, "\n", 1));
    ck_assert_int_eq(GUEST_UP, scan.sign);
    ck_assert(!guest_scan_add(&scan, "more", 4));
}
END_TEST

static size_t word_count(void)
{
    size_t count = 0;
    while (guest_words[count].words != NULL) {
        count++;
    }
    return count;
}

/* Each of the table, cut into reads of every size. */
START_TEST(words_come_in_any_number_of_reads)
{
    const struct guest_words *entry = &guest_words[_i];
    char text[256];
    ck_assert_uint_lt(strlen(entry->words), GUEST_TAIL_BYTES);
    const int len = snprintf(text, sizeof text, "[    0.412345] some words before %s and some behind\r\n", entry->words);
    for (size_t size = 1; size <= (size_t)len; size++) {
        struct guest_scan scan = {.sign = GUEST_BOOTING};
        for (size_t at = 0; at < (size_t)len; at += size) {
            (void)guest_scan_add(&scan, text + at, (size_t)len - at < size ? (size_t)len - at : size);
        }
        ck_assert_int_eq(entry->sign, scan.sign);
        ck_assert_ptr_nonnull(scan.words);
    }
}
END_TEST

START_TEST(almost_the_words_are_none)
{
    struct guest_scan scan = {.sign = GUEST_BOOTING};
    static const char text[] = "Kernel panic - not\nsyncing: Unable to mount the root fs; cannot open root device; Warning: Could not boo";
    (void)guest_scan_add(&scan, text, strlen(text));
    ck_assert_int_eq(GUEST_UP, scan.sign);
    ck_assert_ptr_null(scan.words);
}
END_TEST

/* "Kernel panic - not syncing: VFS: Unable to mount root fs": which comes first is chance, byte by byte. */
START_TEST(signs_only_get_worse)
{
    static const char line[] = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)";
    struct guest_scan scan = {.sign = GUEST_BOOTING};
    for (size_t i = 0; i < strlen(line); i++) {
        (void)guest_scan_add(&scan, line + i, 1);
    }
    ck_assert_int_eq(GUEST_NO_ROOT, scan.sign);
    ck_assert(!guest_scan_add(&scan, "Kernel panic - not syncing", 26));
    ck_assert_int_eq(GUEST_NO_ROOT, scan.sign);
}
END_TEST

START_TEST(the_file_keeps_each_sign)
{
    char dir[] = "/tmp/guest-sign-XXXXXX";
    char path[64];
    const char *words = NULL;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(GUEST_BOOTING, guest_sign_read(dir, &words));
    for (int i = 0; i < GUEST_SIGN_COUNT_; i++) {
        ck_assert_int_eq(0, guest_sign_write(dir, (enum guest_sign)i, i > GUEST_UP ? guest_words[0].words : NULL, NULL));
        ck_assert_int_eq(i, guest_sign_read(dir, &words));
        ck_assert_ptr_eq(i > GUEST_UP ? guest_words[0].words : NULL, words);
    }
    (void)snprintf(path, sizeof path, "%s/guest", dir);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    (void)fputs("nonsense and more\n", file);
    (void)fclose(file);
    ck_assert_int_eq(GUEST_BOOTING, guest_sign_read(dir, &words));
    ck_assert_int_eq(0, unlink(path));
    ck_assert_int_eq(0, rmdir(dir));
    ck_assert_int_eq(-1, guest_sign_write(dir, GUEST_UP, NULL, NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_sign");
    TCase *tcase = tcase_create("guest_sign");
    tcase_add_test(tcase, the_first_byte_is_a_sign_of_life);
    tcase_add_loop_test(tcase, words_come_in_any_number_of_reads, 0, (int)word_count());
    tcase_add_test(tcase, almost_the_words_are_none);
    tcase_add_test(tcase, signs_only_get_worse);
    tcase_add_test(tcase, the_file_keeps_each_sign);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
