/* The host's resolvers, of files as they are found. */
#include "host/link/resolver.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char files[2][40];
static const char *const paths[] = {files[0], files[1]};

static size_t read_both(const char *first, const char *second, uint32_t ret[RESOLVERS_MAX])
{
    const char *const texts[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(files[i], sizeof files[i], "/tmp/resolver-%d-%zu", (int)getpid(), i);
        (void)unlink(files[i]);
        FILE *file = texts[i] != NULL ? fopen(files[i], "w") : NULL;
        if (file != NULL) {
            (void)fputs(texts[i], file);
            (void)fclose(file);
        }
    }
    size_t count = resolvers_read(paths, 2, ret);
    (void)unlink(files[0]);
    (void)unlink(files[1]);
    return count;
}

START_TEST(each_form)
{
    uint32_t found[RESOLVERS_MAX];
    ck_assert_uint_eq(read_both(NULL, NULL, found), 0);
    ck_assert_uint_eq(read_both("# nothing\nsearch example.org\n", NULL, found), 0);
    ck_assert_uint_eq(read_both("search a\nnameserver 192.0.2.1\n nameserver\t198.51.100.2 \nnameserver 192.0.2.3", NULL, found), 2);
    ck_assert_uint_eq(found[0], 0xc0000201);
    ck_assert_uint_eq(found[1], 0xc6336402);
    /* IPv6 has no room in ip=; loopback, link-local, multicast are of nobody else. */
    ck_assert_uint_eq(read_both("nameserver 2001:db8::1\nnameserver 127.0.0.1\nnameserver 169.254.1.1\nnameserver 0.0.0.0\nnameserver 224.0.0.1\n"
                                "nameserver 1.2.3\nnameserver x\n",
                                NULL, found),
                      0);
    /* A stub: the other file has whom it asks. */
    ck_assert_uint_eq(read_both("nameserver 127.0.0.53\n", "nameserver 192.0.2.9\n", found), 1);
    ck_assert_uint_eq(found[0], 0xc0000209);
    ck_assert_uint_eq(read_both("nameserver 192.0.2.1\n", "nameserver 192.0.2.9\n", found), 1);
    ck_assert_uint_eq(found[0], 0xc0000201);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resolver");
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, each_form);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
