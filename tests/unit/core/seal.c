/* Sealed boxes. */
#include "core/cleanup.h"
#include "core/seal.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static uint8_t private_key[SEAL_KEY_BYTES];
static uint8_t public_key[SEAL_KEY_BYTES];
static struct error err;

static void setup(void)
{
    ck_assert_int_eq(seal_make_private_key(private_key, &err), 0);
    ck_assert_int_eq(seal_public_key(private_key, public_key, &err), 0);
}

/* RFC 7748, 6.1: Alice's pair. */
START_TEST(public_keys)
{
    static const uint8_t alice[SEAL_KEY_BYTES] = {0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
                                                  0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a};
    static const uint8_t begins[] = {0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54};
    uint8_t found[SEAL_KEY_BYTES];
    ck_assert_int_eq(seal_public_key(alice, found, &err), 0);
    ck_assert_mem_eq(found, begins, sizeof begins);
}
END_TEST

START_TEST(there_and_back)
{
    static const char text[] = "a secret";
    AUTO_FREE uint8_t *box = NULL;
    AUTO_FREE uint8_t *other = NULL;
    AUTO_FREE char *opened = NULL;
    size_t len = 0;
    size_t opened_len = 0;
    ck_assert_int_eq(seal(public_key, text, strlen(text), &box, &len, &err), 0);
    ck_assert_uint_eq(len, strlen(text) + SEAL_OVERHEAD_BYTES);
    ck_assert_ptr_null(memmem(box, len, text, strlen(text)));
    ck_assert_int_eq(seal_open(private_key, box, len, &opened, &opened_len, &err), 0);
    ck_assert_str_eq(opened, text);
    ck_assert_uint_eq(opened_len, strlen(text));
    ck_assert_int_eq(seal(public_key, text, strlen(text), &other, &len, &err), 0);
    ck_assert_mem_ne(box, other, len);
}
END_TEST

START_TEST(every_byte_counts)
{
    AUTO_FREE uint8_t *box = NULL;
    char *opened = NULL;
    size_t len = 0;
    size_t opened_len = 0;
    ck_assert_int_eq(seal(public_key, "abc", 3, &box, &len, &err), 0);
    for (size_t i = 0; i < len; i++) {
        box[i] ^= 1;
        ck_assert_int_eq(seal_open(private_key, box, len, &opened, &opened_len, &err), -1);
        box[i] ^= 1;
    }
    ck_assert_int_eq(err.code, ERR_INVALID_STATE);
    ck_assert_int_eq(seal_open(private_key, box, len - 1, &opened, &opened_len, &err), -1);
    ck_assert_int_eq(seal_open(private_key, box, SEAL_OVERHEAD_BYTES - 1, &opened, &opened_len, &err), -1);
    private_key[5] ^= 1;
    ck_assert_int_eq(seal_open(private_key, box, len, &opened, &opened_len, &err), -1);
}
END_TEST

START_TEST(sizes)
{
    static char text[SEAL_TEXT_MAX + 1];
    AUTO_FREE uint8_t *box = NULL;
    AUTO_FREE char *opened = NULL;
    size_t len = 0;
    size_t opened_len = 0;
    ck_assert_int_eq(seal(public_key, text, SEAL_TEXT_MAX + 1, &box, &len, &err), -1);
    ck_assert_int_eq(err.code, ERR_PAYLOAD_TOO_LARGE);
    ck_assert_int_eq(seal(public_key, text, SEAL_TEXT_MAX, &box, &len, &err), 0);
    ck_assert_int_eq(seal_open(private_key, box, len, &opened, &opened_len, &err), 0);
    free(TAKE_PTR(box));
    free(TAKE_PTR(opened));
    ck_assert_int_eq(seal(public_key, "", 0, &box, &len, &err), 0);
    ck_assert_int_eq(seal_open(private_key, box, len, &opened, &opened_len, &err), 0);
    ck_assert_uint_eq(opened_len, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("seal");
    TCase *tests = tcase_create("seal");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, public_keys);
    tcase_add_test(tests, there_and_back);
    tcase_add_test(tests, every_byte_counts);
    tcase_add_test(tests, sizes);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
