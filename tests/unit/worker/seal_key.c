/* The key that secrets are sealed with on their way to the worker. */
#include "core/cleanup.h"
#include "core/wireguard_key.h"
#include "db/facts.h"
#include "tests/unit/worker/border/keeper_box.h"
#include "worker/seal_key.h"

#include <string.h>
#include <sys/stat.h>

static struct keeper_box box;
static char key_path[96];
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    keeper_box_open(&box);
    (void)snprintf(key_path, sizeof key_path, "%s/seal.key", box.dir);
}

static void teardown(void)
{
    (void)unlink(key_path);
    keeper_box_close(&box);
}

START_TEST(the_key_is_made_once)
{
    uint8_t first[SEAL_KEY_BYTES];
    uint8_t second[SEAL_KEY_BYTES];
    struct stat st;
    AUTO_FREE char *fact = NULL;
    must(seal_key_load(box.dir, box.border, first, &err));
    must(seal_key_load(box.dir, box.border, second, &err));
    ck_assert_mem_eq(first, second, sizeof first);
    ck_assert_int_eq(stat(key_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    must(facts_get(box.own, "seal_key", &fact, &err));
    ck_assert_uint_eq(strlen(fact), WIREGUARD_KEY_TEXT_MAX - 1 + 2);
}
END_TEST

START_TEST(a_key_that_others_may_read_is_refused)
{
    uint8_t key[SEAL_KEY_BYTES];
    must(seal_key_load(box.dir, box.border, key, &err));
    ck_assert_int_eq(chmod(key_path, 0640), 0);
    ck_assert_int_ne(seal_key_load(box.dir, box.border, key, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.message, "0600"));
    ck_assert_int_eq(chmod(key_path, 0600), 0);
    ck_assert_int_eq(truncate(key_path, 31), 0);
    ck_assert_int_ne(seal_key_load(box.dir, box.border, key, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.message, "damaged"));
    ck_assert_int_eq(unlink(key_path), 0);
    ck_assert_int_eq(symlink("/etc/hostname", key_path), 0);
    ck_assert_int_ne(seal_key_load(box.dir, box.border, key, &err), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("seal_key");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_key_is_made_once);
    tcase_add_test(tc, a_key_that_others_may_read_is_refused);
    Suite *suite = suite_create("seal_key");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
