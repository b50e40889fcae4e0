/* What wireguard-go says: the line that tells most, without keys, out of memory that it cannot fill up. */
#include "core/cleanup.h"
#include "host/tunnel/wireguard.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOX "\xe2\x94\x82 Running wireguard-go is not required \xe2\x94\x82\n"
#define KEY "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
#define HEX "c809f3e5317e9575c9b5ed78b638b7ce530dabe85ddab6142202418018df0669"

static const struct {
    const char *said, *words;
} rows[] = {
    {"", ""},
    {BOX, ""},
    {"\n\n", ""},
    {BOX "ERROR: (svwg0) 2026/11/28 20:49:40 Failed to create TUN device: file name too long\n", "Failed to create TUN device: file name too long"},
    {"ERROR: (a) 2026/11/28 20:49:40 first\nERROR: (a) 2026/11/28 20:49:41 second", "second"},
    {"ERROR: (a) 2026/11/28 20:49:40 first\nsomething else\n", "first"},
    {"something\nelse\n\n", "else"},
    {"ERROR: (a) 2026/11/28 20:49:40 first\npanic: oh no\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:1 +0x1d\nexit status 2\n", "panic: oh no"},
    {"SIGABRT: abort\nPC=0x1 m=0 sigcode=0\n\ngoroutine 0 [idle]:\ngs     0x0\n", "SIGABRT: abort"},
    {"fatal error: out of memory\nruntime stack:\n", "fatal error: out of memory"},
    {"ERROR: (a) 2026/11/28", ""},
    {"ERROR: ", "ERROR: "},
    {"key " KEY " and " HEX ".", "key (hidden) and (hidden)."},
    {KEY KEY, "(hidden)"},
    {"tab\there \xff", "tab?here ?"},
};

START_TEST(the_line_that_tells_most)
{
    char words[WIREGUARD_WORDS_MAX];
    wireguard_words_pick(rows[_i].said, strlen(rows[_i].said), words, sizeof words);
    ck_assert_str_eq(words, rows[_i].words);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    char said[4096];
    char words[WIREGUARD_WORDS_MAX];
    for (size_t i = 0; i < sizeof said; i++) {
        said[i] = i % 10 == 9 ? ' ' : 'x';
    }
    wireguard_words_pick(said, sizeof said, words, sizeof words);
    ck_assert_uint_lt(strlen(words), sizeof words);
    ck_assert_uint_gt(strlen(words), sizeof words / 2);
    wireguard_words_pick(said, sizeof said, words, 16);
    ck_assert_uint_lt(strlen(words), 16);
}
END_TEST

static void say(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(memory_that_does_not_grow)
{
    AUTO_CLOSE int fd = -1;
    char words[WIREGUARD_WORDS_MAX] = "x";
    char block[4096];
    wireguard_words_last(-1, words, sizeof words);
    ck_assert_str_eq(words, "");
    ck_assert_int_eq(wireguard_words_make(&fd, NULL), 0);
    wireguard_words_last(fd, words, sizeof words);
    ck_assert_str_eq(words, "");
    say(fd, "one\ntwo\n");
    wireguard_words_make_room(fd);
    wireguard_words_last(fd, words, sizeof words);
    ck_assert_str_eq(words, "two");
    memset(block, 'y', sizeof block);
    block[sizeof block - 1] = '\n';
    size_t blocks = 0;
    while (write(fd, block, sizeof block) == (ssize_t)sizeof block) {
        blocks++;
    }
    ck_assert_uint_eq(blocks, 15); /* 64 KiB, less what stood there */
    ck_assert_int_ne(ftruncate(fd, 1 << 20), 0);
    wireguard_words_make_room(fd);
    say(fd, "again\n");
    wireguard_words_last(fd, words, sizeof words);
    ck_assert_str_eq(words, "again");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wireguard_words");
    TCase *tests = tcase_create("all");
    tcase_add_loop_test(tests, the_line_that_tells_most, 0, (int)ARRAY_LEN(rows));
    tcase_add_test(tests, a_long_line_is_cut);
    tcase_add_test(tests, memory_that_does_not_grow);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
