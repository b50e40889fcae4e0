/* Firewall policies and address sets in the database: generations, confirmation, roll-back. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "db/firewall.h"
#include "tests/unit/db/ready.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static struct db *db;
static struct error err;
static int64_t generation;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    char path[80];
    (void)snprintf(dir, sizeof dir, "/tmp/db-firewall-XXXXXX");
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

static void put_host(const char *text, int64_t confirm_until_ms)
{
    must(db_begin(db, &err));
    must(firewall_policy_put(db, FIREWALL_HOST, text, confirm_until_ms, &generation, &err));
    must(db_commit(db, &err));
}

static void put_set(const char *name, const char *text, int64_t confirm_until_ms)
{
    must(db_begin(db, &err));
    must(firewall_set_put(db, name, text, confirm_until_ms, &generation, &err));
    must(db_commit(db, &err));
}

/* The host-wide policy's text, "" for none. */
static const char *host_text(void)
{
    static char text[100];
    AUTO_FIREWALL_ROW row = {.text = NULL};
    bool found = false;
    must(firewall_policy_get(db, FIREWALL_HOST, &row, &found, &err));
    (void)snprintf(text, sizeof text, "%s", found ? row.text : "");
    return text;
}

static size_t roll_back(int64_t now_ms)
{
    size_t count = 0;
    must(firewall_roll_back(db, now_ms, &count, &err));
    return count;
}

START_TEST(each_change_has_the_next_generation)
{
    put_host("{\"a\":1}", 0);
    int64_t first = generation;
    put_set("a", "[]", 0);
    ck_assert_int_eq(generation, first + 1);
    AUTO_FIREWALL_ROWS rows = {.generation = 0};
    must(firewall_load(db, &rows, &err));
    ck_assert_int_eq(rows.generation, first + 1);
    ck_assert_uint_eq(rows.policy_count, 1);
    ck_assert_uint_eq(rows.set_count, 1);
    ck_assert_int_eq(rows.policies[0].vm_uid, FIREWALL_HOST);
    ck_assert_int_eq(rows.policies[0].generation, first);
    ck_assert_str_eq(rows.sets[0].name, "a");
}
END_TEST

START_TEST(an_unconfirmed_change_goes_back_to_what_was_before_the_first)
{
    put_host("{\"old\":1}", 0);
    put_host("{\"new\":1}", 5000);
    put_host("{\"newer\":1}", 6000);
    ck_assert_uint_eq(roll_back(5999), 0);
    ck_assert_str_eq(host_text(), "{\"newer\":1}");
    int64_t before = generation;
    ck_assert_uint_eq(roll_back(6000), 1);
    ck_assert_str_eq(host_text(), "{\"old\":1}");
    AUTO_FIREWALL_ROWS rows = {.generation = 0};
    must(firewall_load(db, &rows, &err));
    ck_assert_int_gt(rows.generation, before);
    ck_assert_uint_eq(roll_back(INT64_MAX), 0);
}
END_TEST

START_TEST(what_was_not_there_before_goes_away)
{
    put_host("{}", 10);
    put_set("a", "[\"10.0.0.0/8\"]", 20);
    int64_t deadline_ms = 0;
    must(firewall_next_deadline(db, &deadline_ms, &err));
    ck_assert_int_eq(deadline_ms, 10);
    ck_assert_uint_eq(roll_back(10), 1);
    ck_assert_str_eq(host_text(), "");
    must(firewall_next_deadline(db, &deadline_ms, &err));
    ck_assert_int_eq(deadline_ms, 20);
    ck_assert_uint_eq(roll_back(20), 1);
    AUTO_FIREWALL_ROWS rows = {.generation = 0};
    must(firewall_load(db, &rows, &err));
    ck_assert_uint_eq(rows.policy_count, 0);
    ck_assert_uint_eq(rows.set_count, 1); /* empty: a policy may name it by now */
    ck_assert_str_eq(rows.sets[0].text, "[]");
}
END_TEST

START_TEST(confirmed_is_for_good)
{
    size_t count = 0;
    const int64_t soon_ms = clock_wall_ms() + 60000;
    put_host("{\"new\":1}", soon_ms);
    put_set("a", "[]", soon_ms);
    must(db_begin(db, &err));
    must(firewall_confirm(db, &count, &err));
    must(db_commit(db, &err));
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(roll_back(INT64_MAX), 0);
    ck_assert_str_eq(host_text(), "{\"new\":1}");
    put_host("{\"too late\":1}", clock_wall_ms() - 1);
    must(db_begin(db, &err));
    must(firewall_confirm(db, &count, &err));
    must(db_commit(db, &err));
    ck_assert_uint_eq(count, 0);
    put_host("{\"for good\":1}", 0);
    ck_assert_uint_eq(roll_back(INT64_MAX), 0);
    ck_assert_str_eq(host_text(), "{\"for good\":1}");
}
END_TEST

START_TEST(a_clock_that_was_set_back_gives_no_more_time)
{
    put_host("{\"old\":1}", 0);
    put_host("{\"new\":1}", 1000 + 2 * (int64_t)FIREWALL_CONFIRM_MAX_MS);
    ck_assert_uint_eq(roll_back(1000), 1);
    ck_assert_str_eq(host_text(), "{\"old\":1}");
}
END_TEST

START_TEST(a_set_is_used_by_what_may_come_back_too)
{
    bool used = true;
    put_set("a", "[]", 0);
    put_host("{\"to\":\"@ab\"}", 0);
    must(firewall_set_is_used(db, "a", &used, &err));
    ck_assert(!used);
    put_host("{\"to\":\"@a\"}", 0);
    put_host("{}", 1000);
    must(firewall_set_is_used(db, "a", &used, &err));
    ck_assert(used);
}
END_TEST

START_TEST(a_policy_of_no_vm_is_refused)
{
    must(db_begin(db, &err));
    ck_assert_int_eq(firewall_policy_put(db, 4711, "{}", 0, &generation, &err), -1);
    db_rollback(db);
}
END_TEST

static int observe(int64_t in_force, const char *error, bool *ret_changed, struct error *ret_err)
{
    struct firewall_observed observed = {.generation = in_force, .attempted = generation};
    (void)snprintf(observed.error, sizeof observed.error, "%s", error);
    return firewall_observed_set(db, &observed, ret_changed, ret_err);
}

START_TEST(what_is_in_force)
{
    struct firewall_observed observed;
    bool changed = false;
    put_host("{}", 0);
    const struct firewall_observed done = {.generation = generation, .attempted = generation};
    const struct firewall_observed failed = {.generation = generation, .attempted = generation + 1, .error = "no", .error_code = "FIREWALL_SETUP_FAILED"};
    must(firewall_observed_set(db, &done, &changed, &err));
    ck_assert(changed);
    must(firewall_observed_set(db, &done, &changed, &err));
    ck_assert(!changed);
    must(firewall_observed_set(db, &failed, &changed, &err));
    ck_assert(changed);
    must(firewall_observed_get(db, &observed, &err));
    ck_assert_int_eq(observed.generation, observed.wanted);
    ck_assert_str_eq(observed.error, "no");
    ck_assert_str_eq(observed.error_code, "FIREWALL_SETUP_FAILED");
    ck_assert_int_eq(observed.attempted, generation + 1);
    ck_assert_int_gt(observed.since_ms, 0);
}
END_TEST

static int64_t applied_ms(void)
{
    AUTO_FIREWALL_ROW row = {.text = NULL};
    bool found = false;
    must(firewall_policy_get(db, FIREWALL_HOST, &row, &found, &err));
    ck_assert(found);
    return row.applied_ms;
}

static int64_t since_ms(void)
{
    struct firewall_observed observed;
    must(firewall_observed_get(db, &observed, &err));
    return observed.since_ms;
}

static void pass_a_moment(void)
{
    (void)usleep(3000); /* the times are in milliseconds */
}

START_TEST(since_when_it_is_in_force)
{
    bool changed = false;
    int64_t before = since_ms();
    ck_assert_int_gt(before, 0);
    pass_a_moment();
    put_host("{}", 0);
    ck_assert_int_eq(applied_ms(), 0);
    int64_t pending = since_ms();
    ck_assert_int_gt(pending, before);
    pass_a_moment();
    must(observe(generation - 1, "no", &changed, &err));
    int64_t failed = since_ms();
    ck_assert_int_gt(failed, pending);
    pass_a_moment();
    must(observe(generation - 1, "no, again", &changed, &err)); /* the same outcome in other words */
    ck_assert_int_eq(since_ms(), failed);
    must(observe(generation, "", &changed, &err));
    int64_t applied = applied_ms();
    ck_assert_int_gt(applied, failed);
    ck_assert_int_ge(since_ms(), applied);
    pass_a_moment();
    put_set("a", "[]", 0); /* another's change is none of this one's */
    must(observe(generation, "", &changed, &err));
    ck_assert_int_eq(applied_ms(), applied);
    put_host("{}", 0);
    ck_assert_int_eq(applied_ms(), 0);
}
END_TEST

static bool set_is_there(struct db *by)
{
    AUTO_FIREWALL_ROW row = {.text = NULL};
    bool found = false;
    must(firewall_set_get(by, "a", &row, &found, &err));
    return found;
}

START_TEST(reads_are_of_one_moment)
{
    struct db *other = NULL;
    char path[80];
    (void)snprintf(path, sizeof path, "%s/db", dir);
    must(db_open(path, DB_API, &other, &err));
    must(db_read_begin(other, &err));
    ck_assert(!set_is_there(other));
    must(db_read_begin(other, &err)); /* a part of the first */
    put_set("a", "[]", 0);
    ck_assert(!set_is_there(other));
    db_read_end(other);
    ck_assert(!set_is_there(other));
    db_read_end(other);
    ck_assert(set_is_there(other));
    db_close(other);
}
END_TEST

START_TEST(reads_inside_a_transaction_are_of_it)
{
    must(db_begin(db, &err));
    must(firewall_set_put(db, "a", "[]", 0, &generation, &err));
    must(db_read_begin(db, &err));
    ck_assert(set_is_there(db));
    db_read_end(db);
    ck_assert(set_is_there(db)); /* it has not ended the transaction */
    db_rollback(db);
    ck_assert(!set_is_there(db));
    must(db_read_begin(db, &err));
    ck_assert_int_eq(db_begin(db, &err), -1);
    db_read_end(db);
    must(db_begin(db, &err));
    must(db_commit(db, &err));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("db_firewall");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, each_change_has_the_next_generation);
    tcase_add_test(tc, an_unconfirmed_change_goes_back_to_what_was_before_the_first);
    tcase_add_test(tc, what_was_not_there_before_goes_away);
    tcase_add_test(tc, confirmed_is_for_good);
    tcase_add_test(tc, a_clock_that_was_set_back_gives_no_more_time);
    tcase_add_test(tc, a_set_is_used_by_what_may_come_back_too);
    tcase_add_test(tc, a_policy_of_no_vm_is_refused);
    tcase_add_test(tc, what_is_in_force);
    tcase_add_test(tc, since_when_it_is_in_force);
    tcase_add_test(tc, reads_are_of_one_moment);
    tcase_add_test(tc, reads_inside_a_transaction_are_of_it);
    Suite *suite = suite_create("db_firewall");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
