/* The WireGuard egress in the database. */
#include "core/cleanup.h"
#include "db/wireguard.h"
#include "tests/unit/db/ready.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static struct db *db;
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    char path[80];
    (void)snprintf(dir, sizeof dir, "/tmp/db-wireguard-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    must(open_ready(path, &db, &err));
}

static void teardown(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
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

int main(void)
{
    TCase *tc = tcase_create("db_wireguard");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, generations_only_grow);
    Suite *suite = suite_create("db_wireguard");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
