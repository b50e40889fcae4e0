/* Idempotency keys: they expire by age, whatever happens to the clocks of the host, and cost the same however many there are. */
#include "db/idempotency.h"

#include "core/cleanup.h"
#include "db/facts.h"
#include "tests/unit/db/ready.h"

#include <check.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOUR_MS = 3600 * 1000 };

static char dir[64];
static char path[128];
static struct db *db;
static struct error err;
static int64_t scanned; /* rows, by all statements so far */

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static int on_statement(unsigned what, void *ctx, void *stmt, void *time)
{
    (void)what;
    (void)ctx;
    (void)time;
    scanned += sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_FULLSCAN_STEP, 1);
    return 0;
}

static int on_open(sqlite3 *sqlite, const char **message, const void *api)
{
    (void)message;
    (void)api;
    return sqlite3_trace_v2(sqlite, SQLITE_TRACE_PROFILE, on_statement, NULL);
}

static void run(const char *sql)
{
    sqlite3 *sqlite = NULL;
    char *message = NULL;
    ck_assert_int_eq(sqlite3_open(path, &sqlite), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(sqlite, sql, NULL, NULL, &message) == SQLITE_OK, "%s", message);
    ck_assert_int_eq(sqlite3_close(sqlite), SQLITE_OK);
}

static int64_t number(const char *sql)
{
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *stmt = NULL;
    ck_assert_int_eq(sqlite3_open(path, &sqlite), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(sqlite, sql, -1, &stmt, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    int64_t result = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(sqlite);
    return result;
}

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/db-idempotency-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    must(open_ready(path, &db, &err));
}

static void teardown(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    db_close(db);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char file[160];
        (void)snprintf(file, sizeof file, "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(dir);
}

static void put(const char *key, const char *fingerprint, const char *body)
{
    char texts[2][64];
    (void)snprintf(texts[0], sizeof texts[0], "%s", fingerprint);
    (void)snprintf(texts[1], sizeof texts[1], "%s", body);
    const struct idempotency_row row = {.fingerprint = texts[0], .status = 201, .body = texts[1]};
    must(idempotency_put(db, key, &row, &err));
}

/* "" when it is not found. */
static const char *body_of(const char *key)
{
    static char body[64];
    struct idempotency_row row = {.status = 0};
    bool found = false;
    must(idempotency_get(db, key, &row, &found, &err));
    (void)snprintf(body, sizeof body, "%s", found ? row.body : "");
    idempotency_row_free(&row);
    return body;
}

/* As if so much time had gone by since all that there is. */
static void wait_ms(int64_t ms)
{
    char *text = NULL;
    char boot_id[64];
    char moved[128];
    int64_t offset = 0;
    must(facts_get(db, "idempotency_clock", &text, &err));
    ck_assert_int_eq(sscanf(text, "%63s %" SCNd64, boot_id, &offset), 2); // NOLINT(cert-err34-c)
    (void)snprintf(moved, sizeof moved, "%s %" PRId64, boot_id, offset + ms);
    must(facts_set(db, "idempotency_clock", moved, NULL, &err));
    free(text);
}

START_TEST(a_key_is_kept_for_a_day)
{
    put("k", "f", "first");
    wait_ms((int64_t)24 * HOUR_MS - 60000);
    ck_assert_str_eq(body_of("k"), "first");
    put("k", "f", "last"); /* the answer of who waited makes it no younger */
    wait_ms(60001);
    ck_assert_str_eq(body_of("k"), "");
}
END_TEST

START_TEST(an_expired_key_is_as_new)
{
    put("k", "f", "first");
    wait_ms((int64_t)25 * HOUR_MS);
    put("k", "g", "second");
    ck_assert_str_eq(body_of("k"), "second");
    put("k", "f", "of one that waited all day"); /* must not answer the other request */
    ck_assert_str_eq(body_of("k"), "second");
    wait_ms((int64_t)23 * HOUR_MS);
    ck_assert_str_eq(body_of("k"), "second");
}
END_TEST

START_TEST(expired_keys_go)
{
    run("WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 1000)"
        " INSERT INTO idempotency (key, fingerprint, status, body, created_ms) SELECT 'old' || x, '', 201, '', 0 FROM c");
    put("k", "f", "first");
    ck_assert_int_eq(number("SELECT count(*) FROM idempotency"), 1001); /* of before the upgrade: they are new now */
    wait_ms((int64_t)23 * HOUR_MS);
    put("young", "f", "young");
    ck_assert_int_eq(number("SELECT count(*) FROM idempotency"), 1002);
    wait_ms((int64_t)2 * HOUR_MS);
    for (int i = 0; i < 11; i++) {
        put("later", "f", "");
    }
    ck_assert_int_eq(number("SELECT count(*) FROM idempotency"), 2);
    ck_assert_str_eq(body_of("young"), "young");
}
END_TEST

/* Whether somebody set it back or forward, before or after: it means nothing. */
START_TEST(the_wall_clock_means_nothing)
{
    put("k", "f", "first");
    run("UPDATE idempotency SET created_ms = 0");
    ck_assert_str_eq(body_of("k"), "first");
    run("UPDATE idempotency SET created_ms = 9000000000000000");
    ck_assert_str_eq(body_of("k"), "first");
    wait_ms((int64_t)25 * HOUR_MS);
    ck_assert_str_eq(body_of("k"), "");
}
END_TEST

START_TEST(a_reboot_makes_no_key_older)
{
    put("k", "f", "first");
    wait_ms((int64_t)20 * HOUR_MS);
    put("l", "f", "second");
    must(facts_set(db, "idempotency_clock", "00000000-0000-0000-0000-000000000000 999999999999999", NULL, &err));
    ck_assert_str_eq(body_of("k"), "first");
    put("m", "f", "third"); /* notes the new boot */
    wait_ms((int64_t)3 * HOUR_MS);
    ck_assert_str_eq(body_of("k"), "first");
    wait_ms((int64_t)2 * HOUR_MS);
    ck_assert_str_eq(body_of("k"), "");
    ck_assert_str_eq(body_of("l"), "second");
    wait_ms((int64_t)20 * HOUR_MS);
    ck_assert_str_eq(body_of("m"), "");
}
END_TEST

static const char *const nonsense[] = {"", " ", "x", "00000000-0000-0000-0000-000000000000", "'", "-1 -1"};

START_TEST(a_clock_that_cannot_be_read_is_begun_anew)
{
    put("k", "f", "first");
    must(facts_set(db, "idempotency_clock", nonsense[_i], NULL, &err));
    ck_assert_str_eq(body_of("k"), "first");
    put("l", "f", "second");
    wait_ms((int64_t)25 * HOUR_MS);
    ck_assert_str_eq(body_of("k"), "");
}
END_TEST

/* A clock that goes back within one boot, as in a time namespace. */
START_TEST(the_clock_set_back_within_a_boot)
{
    put("k", "f", "first");
    wait_ms(-(int64_t)1000 * HOUR_MS);
    ck_assert_str_eq(body_of("k"), "first");
    put("l", "f", "second");
    wait_ms((int64_t)25 * HOUR_MS);
    ck_assert_str_eq(body_of("k"), "");
    ck_assert_str_eq(body_of("l"), "");
}
END_TEST

START_TEST(no_request_looks_at_all_keys)
{
    run("WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 5000)"
        " INSERT INTO idempotency (key, fingerprint, status, body, created_ms) SELECT 'old' || x, '', 201, '', 0 FROM c");
    put("k", "f", "first");
    scanned = 0;
    ck_assert_int_eq(number("SELECT count(status) FROM idempotency"), 5001);
    ck_assert_int_ge(scanned, 5000); /* it would be seen */
    scanned = 0;
    for (int i = 0; i < 10; i++) {
        put("l", "f", "second");
        ck_assert_str_eq(body_of("l"), "second");
        ck_assert_str_eq(body_of("none"), "");
    }
    ck_assert_int_eq(scanned, 0);
}
END_TEST

int main(void)
{
    (void)sqlite3_auto_extension((void (*)(void))on_open);
    Suite *suite = suite_create("idempotency keys");
    TCase *tcase = tcase_create("idempotency");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_key_is_kept_for_a_day);
    tcase_add_test(tcase, an_expired_key_is_as_new);
    tcase_add_test(tcase, expired_keys_go);
    tcase_add_test(tcase, the_wall_clock_means_nothing);
    tcase_add_test(tcase, a_reboot_makes_no_key_older);
    tcase_add_loop_test(tcase, a_clock_that_cannot_be_read_is_begun_anew, 0, (int)ARRAY_LEN(nonsense));
    tcase_add_test(tcase, the_clock_set_back_within_a_boot);
    tcase_add_test(tcase, no_request_looks_at_all_keys);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
