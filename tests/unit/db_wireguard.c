/* The WireGuard egress in the database, and the key that its secrets are sealed with. */
#include "core/cleanup.h"
#include "core/wireguard_key.h"
#include "db/facts.h"
#include "db/wireguard.h"
#include "worker/seal_key.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char key_path[96];
static struct db *db;
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    char path[80];
    (void)snprintf(dir, sizeof dir, "/tmp/db-wireguard-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    (void)snprintf(key_path, sizeof key_path, "%s/seal.key", dir);
    must(db_open(path, DB_WORKER, &db, &err));
}

static void teardown(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm", "seal.key", "seal.key.new"};
    db_close(db);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[80];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

START_TEST(generations_only_grow)
{
    AUTO_WIREGUARD_ROW row = {0};
    uint8_t box[] = {1, 0, 2};
    char document[] = "{\"a\":1}";
    char key[] = "KEY";
    struct wireguard_row put = {.document = document, .public_key = key, .warnings = 5, .sealed = box, .sealed_bytes = sizeof box};
    must(wireguard_row_get(db, &row, &err));
    ck_assert_int_eq(row.generation, 0);
    ck_assert(!row.wanted);
    must(wireguard_row_put(db, &put, &err));
    ck_assert_int_eq(put.generation, 1);
    must(wireguard_row_get(db, &row, &err));
    ck_assert(row.wanted);
    ck_assert_str_eq(row.document, document);
    ck_assert_str_eq(row.public_key, "KEY");
    ck_assert_uint_eq(row.warnings, 5);
    ck_assert_uint_eq(row.sealed_bytes, sizeof box);
    ck_assert_mem_eq(row.sealed, box, sizeof box);
    must(wireguard_row_remove(db, &err));
    wireguard_row_free(&row);
    must(wireguard_row_get(db, &row, &err));
    ck_assert_int_eq(row.generation, 2);
    ck_assert(!row.wanted);
    ck_assert_ptr_null(row.sealed); /* the secrets are gone at once */
    put.sealed = NULL;
    put.public_key = NULL;
    must(wireguard_row_put(db, &put, &err));
    ck_assert_int_eq(put.generation, 3);
    wireguard_row_free(&row);
    must(wireguard_row_get(db, &row, &err));
    ck_assert_ptr_null(row.public_key);
}
END_TEST

START_TEST(the_key_is_made_once)
{
    uint8_t first[SEAL_KEY_BYTES];
    uint8_t second[SEAL_KEY_BYTES];
    struct stat st;
    AUTO_FREE char *fact = NULL;
    must(seal_key_load(dir, db, first, &err));
    must(seal_key_load(dir, db, second, &err));
    ck_assert_mem_eq(first, second, sizeof first);
    ck_assert_int_eq(stat(key_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    must(facts_get(db, "seal_key", &fact, &err));
    ck_assert_uint_eq(strlen(fact), WIREGUARD_KEY_TEXT_MAX - 1 + 2);
}
END_TEST

START_TEST(a_key_that_others_may_read_is_refused)
{
    uint8_t key[SEAL_KEY_BYTES];
    must(seal_key_load(dir, db, key, &err));
    ck_assert_int_eq(chmod(key_path, 0640), 0);
    ck_assert_int_ne(seal_key_load(dir, db, key, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.message, "0600"));
    ck_assert_int_eq(chmod(key_path, 0600), 0);
    ck_assert_int_eq(truncate(key_path, 31), 0);
    ck_assert_int_ne(seal_key_load(dir, db, key, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.message, "damaged"));
    ck_assert_int_eq(unlink(key_path), 0);
    ck_assert_int_eq(symlink("/etc/hostname", key_path), 0);
    ck_assert_int_ne(seal_key_load(dir, db, key, &err), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("db_wireguard");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, generations_only_grow);
    tcase_add_test(tc, the_key_is_made_once);
    tcase_add_test(tc, a_key_that_others_may_read_is_refused);
    Suite *suite = suite_create("db_wireguard");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
