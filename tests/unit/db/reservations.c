/* What is reserved: of each VM and in all, whoever takes the rows away; and of VMs that were there before there were reservations. */
#include "db/reservations.h"

#include "core/cleanup.h"
#include "db/db.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static char path[96];
static struct db *db;
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

/* By hand, as who has the database might. */
static void run(const char *sql)
{
    sqlite3 *sqlite = NULL;
    char *message = NULL;
    ck_assert_int_eq(sqlite3_open(path, &sqlite), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(sqlite, sql, NULL, NULL, &message) == SQLITE_OK, "%s", message);
    ck_assert_int_eq(sqlite3_close(sqlite), SQLITE_OK);
}

static void reopen(void)
{
    struct db_mended mended;
    db_close(db);
    must(db_make_ready(path, true, &mended, &err));
    ck_assert(!mended.is_new);
    must(db_open(path, DB_KEEPER, &db, &err));
}

static void add_vm(int uid, const char *config, const char *boot_config, const char *observed)
{
    char sql[1024];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO vms (uid, id, image, desired_state, config, boot_config, observed, created_ms, updated_ms)"
                   " VALUES (%d, 'vm-%d', 'img', 'running', '%s', '%s', '%s', 0, 0)",
                   uid, uid, config, boot_config, observed);
    run(sql);
}

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/db-reservations-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    db = NULL;
    reopen();
    run("INSERT INTO images (id, manifest, state, observed, created_ms, updated_ms) VALUES ('img', '{}', 'ready', '{\"rootfs\":{\"size_bytes\":1048577}}', 0, "
        "0)");
}

static void teardown(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    db_close(db);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char file[128];
        (void)snprintf(file, sizeof file, "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(dir);
}

static void sum_is(int64_t memory_mib, int64_t drive_mib, int64_t vcpus, int64_t interfaces)
{
    struct reservation sum;
    must(reservations_sum(db, &sum, &err));
    ck_assert_int_eq(sum.memory_mib, memory_mib);
    ck_assert_int_eq(sum.drive_mib, drive_mib);
    ck_assert_int_eq(sum.vcpus, vcpus);
    ck_assert_int_eq(sum.interfaces, interfaces);
}

START_TEST(the_sum_follows)
{
    const struct reservation small = {100, 10, 1, 2};
    const struct reservation large = {200, 10, 4, 2};
    struct reservation whole;
    struct reservation wanted;
    add_vm(1, "{}", "", "{}");
    add_vm(2, "{}", "", "{}");
    must(reservations_set(db, 1, &large, &err));
    must(reservations_set(db, 2, &small, &err));
    sum_is(300, 20, 5, 4);
    must(reservations_set(db, 1, &small, &err));
    sum_is(300, 20, 5, 4);
    must(reservations_get(db, 1, &whole, &wanted, &err));
    ck_assert(whole.memory_mib == 200 && whole.vcpus == 4 && wanted.memory_mib == 100 && wanted.vcpus == 1);
    must(reservations_set(db, 2, &large, &err));
    sum_is(400, 20, 8, 4);
    must(reservations_get(db, 3, &whole, NULL, &err));
    ck_assert(whole.memory_mib == 0 && whole.interfaces == 0);
    run("PRAGMA foreign_keys=ON; DELETE FROM vms WHERE uid = 1"); /* whoever does it: nobody has to think of it */
    sum_is(200, 10, 4, 2);
    run("PRAGMA foreign_keys=ON; DELETE FROM vms");
    sum_is(0, 0, 0, 0);
    ck_assert_int_eq(reservations_set(db, 1, &small, &err), -1); /* of no VM */
    sum_is(0, 0, 0, 0);
}
END_TEST

#define MACHINE(mib, vcpus) "{\"machine_config\":{\"mem_size_mib\":" #mib ",\"vcpu_count\":" #vcpus "},\"vmm\":\"firecracker\",\"labels\":{}}"

static const struct {
    const char *config, *boot_config, *changes;
    bool frees;
} settled[] = {
    {MACHINE(1, 1), "", "observed_generation = generation", true},
    {MACHINE(1, 1), "", "observed_generation = generation - 1", false},
    {MACHINE(1, 1), MACHINE(2, 1), "observed_generation = generation", false},
    {MACHINE(1, 1), "{\"machine_config\":{\"mem_size_mib\":1,\"vcpu_count\":1},\"vmm\":\"firecracker\",\"labels\":{\"a\":\"b\"}}",
     "observed_generation = generation", true},
    {MACHINE(1, 1), "{\"machine_config\":{\"mem_size_mib\":1,\"vcpu_count\":1},\"vmm\":\"qemu\"}", "observed_generation = generation", false},
    {MACHINE(1, 1), "no JSON", "observed_generation = generation", false},
};

START_TEST(when_a_process_is_gone)
{
    const struct reservation small = {100, 0, 1, 0};
    const struct reservation large = {200, 0, 4, 0};
    char sql[128];
    add_vm(1, settled[_i].config, settled[_i].boot_config, "{}");
    must(reservations_set(db, 1, &large, &err));
    must(reservations_set(db, 1, &small, &err));
    (void)snprintf(sql, sizeof sql, "UPDATE vms SET %s", settled[_i].changes);
    run(sql);
    must(reservations_settle(db, 1, &err));
    sum_is(settled[_i].frees ? 100 : 200, 0, settled[_i].frees ? 1 : 4, 0);
}
END_TEST

/* Before an upgrade, or out of a damaged database. */
static const struct {
    const char *config, *boot_config, *observed;
    int64_t memory_mib, vcpus;
} found[] = {
    {MACHINE(128, 2), "", "{}", 128 + 2 + 64, 2},
    {MACHINE(128, 2), MACHINE(640, 4), "{}", 640 + 10 + 64, 4},
    {MACHINE(640, 4), MACHINE(128, 2), "{}", 640 + 10 + 64, 4},
    {"{\"machine_config\":{\"mem_size_mib\":64,\"vcpu_count\":1},\"vmm\":\"qemu\"}", "", "{}", 64 + 1 + 1280, 1},
    {"{\"machine_config\":{\"mem_size_mib\":64,\"vcpu_count\":1},\"vmm\":\"auto\"}", "", "{\"vmm\":{\"driver\":\"qemu\",\"accelerator\":\"kvm\"}}",
     64 + 1 + 256, 1},
    {"{\"machine_config\":{\"mem_size_mib\":64,\"vcpu_count\":1},\"vmm\":\"auto\"}", "", "{\"vmm\":{\"driver\":\"firecracker\",\"accelerator\":\"kvm\"}}",
     64 + 1 + 64, 1},
    {"no JSON", "no JSON", "no JSON", 64, 0},
    {"[]", "7", "\"x\"", 64, 0},
    {"{\"machine_config\":{\"mem_size_mib\":99999999999999999999,\"vcpu_count\":\"x\"}}", "", "{}", 1048576 + 16384 + 64, 0},
    {"{\"machine_config\":{\"mem_size_mib\":-5,\"vcpu_count\":{\"a\":1}}}", "", "{}", 64, 0},
};

START_TEST(vms_that_were_there)
{
    add_vm(1, found[_i].config, found[_i].boot_config, found[_i].observed);
    run("INSERT INTO interfaces VALUES (1, 0, 'eth0', 't0', '02:00:00:00:00:01', 1), (1, 1, 'eth1', 't1', '02:00:00:00:00:02', 2)");
    sum_is(0, 0, 0, 0);
    reopen();
    sum_is(found[_i].memory_mib, 2, found[_i].vcpus, 2);
    reopen();
    sum_is(found[_i].memory_mib, 2, found[_i].vcpus, 2);
}
END_TEST

START_TEST(a_drive_that_is_read_only_takes_nothing)
{
    run("UPDATE images SET manifest = '{\"rootfs_is_read_only\":true}'");
    add_vm(1, MACHINE(128, 2), "", "{}");
    reopen();
    sum_is(128 + 2 + 64, 0, 2, 0);
}
END_TEST

START_TEST(a_wrong_sum_is_made_right)
{
    add_vm(1, MACHINE(128, 2), "", "{}");
    reopen();
    run("UPDATE reserved SET memory_mib = 9223372036854775807, vcpus = -7");
    reopen();
    sum_is(128 + 2 + 64, 2, 2, 0);
    run("DELETE FROM reserved; INSERT INTO reservations (vm_uid, memory_mib, drive_mib, vcpus, interfaces) VALUES (99, 1, 1, 1, 1)"); /* of no VM */
    reopen();
    sum_is(128 + 2 + 64, 2, 2, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reservations");
    TCase *tcase = tcase_create("reservations");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_sum_follows);
    tcase_add_loop_test(tcase, when_a_process_is_gone, 0, (int)ARRAY_LEN(settled));
    tcase_add_loop_test(tcase, vms_that_were_there, 0, (int)ARRAY_LEN(found));
    tcase_add_test(tcase, a_drive_that_is_read_only_takes_nothing);
    tcase_add_test(tcase, a_wrong_sum_is_made_right);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
