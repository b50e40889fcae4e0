/* Old databases, as they were stored by the daemons of then: everything in them is carried over, whatever stands beside it. */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/strbuf.h"
#include "db/db.h"
#include "db/idempotency.h"
#include "db/reservations.h"
#include "db/tasks.h"
#include "db/vms.h"
#include "tests/unit/db/old_10.h"

#include <check.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static char path[96];
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void run(const char *sql)
{
    sqlite3 *sqlite = NULL;
    char *message = NULL;
    ck_assert_int_eq(sqlite3_open(path, &sqlite), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(sqlite, sql, NULL, NULL, &message) == SQLITE_OK, "%s", message);
    ck_assert_int_eq(sqlite3_close(sqlite), SQLITE_OK);
}

static void setup(void)
{
    struct strbuf text = STRBUF_INIT;
    (void)snprintf(dir, sizeof dir, "/tmp/db-migrations-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    for (size_t i = 0; i < ARRAY_LEN(old_10); i++) {
        strbuf_add(&text, old_10[i]);
    }
    run(text.data);
    strbuf_free(&text);
}

static void teardown(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm", "db.damaged", "db.damaged-wal", "db.damaged-shm"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char file[120];
        (void)snprintf(file, sizeof file, "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(dir);
}

static struct db *open_mended(struct db_mended *mended)
{
    struct db *db = NULL;
    must(db_make_ready(path, true, mended, &err));
    must(db_open(path, DB_KEEPER, &db, &err));
    return db;
}

static void get(struct db *db, const char *id, struct vm_row *row)
{
    bool found = false;
    must(vms_get(db, id, row, &found, &err));
    ck_assert_msg(found, "%s", id);
}

static void check_web(struct db *db)
{
    AUTO_VM_ROW row = {0};
    get(db, "web", &row);
    must(vm_row_read_config(&row, &err));
    const struct vm_config *config = &row.config;
    ck_assert_str_eq(config->image, "tiny");
    ck_assert(config->machine.vcpu_count == 2 && config->machine.mem_size_mib == 512 && config->vmm == VM_VMM_FIRECRACKER);
    ck_assert_str_eq(config->boot_args, "quiet \"x y\" a='b'");
    ck_assert(config->autostart && config->restart_policy == VM_RESTART_ON_FAILURE);
    ck_assert_uint_eq(json_object_size(config->labels), 2);
    ck_assert_str_eq(json_get_string(config->labels, "env"), "prod");
    ck_assert_str_eq(json_get_string(config->labels, "a/b"), "\xc3\xa4\"\\");
    ck_assert_uint_eq(config->interface_count, 2);
    ck_assert_str_eq(config->interfaces[0].iface_id, "eth0");
    ck_assert_str_eq(config->interfaces[1].iface_id, "eth1");
    ck_assert_uint_eq(config->port_count, 3);
    ck_assert(config->ports[0].protocol == IPPROTO_TCP && config->ports[0].host_port == 8080 && config->ports[0].guest_port == 80 &&
              config->ports[0].count == 3 && vm_port_is_everywhere(&config->ports[0]));
    ck_assert(config->ports[1].protocol == IPPROTO_UDP && config->ports[1].host.bytes[0] == 127);
    ck_assert(config->ports[2].host.version == IP_V6);
    ck_assert(row.uid == 3 && row.desired == VM_WANT_RUNNING && row.boot_wanted == 4 && row.generation == 7 && row.pid == 4321 && row.restart_count == 2 &&
              row.restart_keeps_drives && row.revision == 21);
    ck_assert_str_eq(row.boot_config, row.config_text);                                         /* what runs was started by it */
    ck_assert_ptr_nonnull(strstr(row.observed, "\"limits\":null,\"jailed\":false,\"uid\":0}")); /* and without a jail */
}

static void check_others(struct db *db)
{
    AUTO_VM_ROW idle = {0};
    AUTO_VM_ROW odd = {0};
    get(db, "idle", &idle);
    must(vm_row_read_config(&idle, &err));
    ck_assert(idle.config.port_count == 0 && json_object_size(idle.config.labels) == 0 && !idle.config.autostart && idle.config.vmm == VM_VMM_AUTO);
    ck_assert_str_eq(idle.boot_config, "");
    get(db, "odd", &odd); /* no daemon stored that: it is no document, and the row is there to be deleted */
    ck_assert_int_eq(vm_row_read_config(&odd, &err), -1);
    ck_assert_int_eq(err.code, ERR_ROW_DAMAGED);
    ck_assert(odd.deleting && odd.uid == 6);
}

/* What is there already is reserved: the guest's memory and a 64th of it, and what its VMM needs; the host had 1024 MiB. */
static void check_reservations(struct db *db)
{
    struct reservation one;
    struct reservation sum;
    must(reservations_get(db, 3, &one, NULL, &err));
    ck_assert(one.memory_mib == 512 + 8 + 64 && one.vcpus == 2 && one.interfaces == 2 && one.drive_mib == 0);
    must(reservations_get(db, 5, &one, NULL, &err));
    ck_assert(one.memory_mib == 128 + 2 + 64 && one.vcpus == 1 && one.interfaces == 1);
    must(reservations_sum(db, &sum, &err));
    ck_assert(sum.memory_mib == 584 + 194 + (64 + 1 + 256 + 1024 / 8) && sum.interfaces == 3);
}

/* A repair of before is a task of today, of the same number. */
static void check_repair(struct db *db)
{
    AUTO_TASK_ROW task = {0};
    bool found = false;
    must(tasks_get(db, 1, &task, &found, &err));
    ck_assert(found && task.kind == TASK_REPAIR && task.created_ms == 1764370001000 && task.ended_ms == 1764370002000);
    ck_assert_str_eq(task.subject, "");
    ck_assert_str_eq(task.outcome, "{}");
}

/* A key of before is as one of today: nobody knows how old it is. */
static void check_key(struct db *db)
{
    struct idempotency_row row = {.status = 0};
    bool found = false;
    must(idempotency_get(db, "k", &row, &found, &err));
    ck_assert(found && row.status == 201);
    ck_assert_str_eq(row.etag, "\"3-1\"");
    idempotency_row_free(&row);
}

START_TEST(version_10)
{
    struct db_mended mended;
    struct db *db = open_mended(&mended);
    ck_assert(!mended.is_new && mended.foreign_objects == 0 && mended.lost == 0); /* its schema is that of a new one, to the letter */
    check_web(db);
    check_others(db);
    check_repair(db);
    check_key(db);
    check_reservations(db);
    db_close(db);
    db = open_mended(&mended); /* and once more, as nothing is left to do */
    ck_assert(!mended.is_new);
    check_web(db);
    db_close(db);
}
END_TEST

/* Of somebody who had the database before the upgrade. */
static const struct {
    const char *sql;
    unsigned foreign_objects;
    bool is_new;
} plants[] = {
    {"CREATE TRIGGER endless AFTER UPDATE ON vms BEGIN INSERT INTO facts WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c)"
     " SELECT 'a', x FROM c WHERE x < 0; END",
     1, false},
    {"CREATE TABLE mine (a); CREATE VIEW yours AS SELECT 1", 2, false},
    {"ALTER TABLE ports ADD COLUMN mine TEXT", 0, true},
    {"ALTER TABLE vms ADD COLUMN config TEXT", 0, true},
};

START_TEST(what_was_planted_before_is_not_run)
{
    struct db_mended mended;
    run(plants[_i].sql);
    struct db *db = open_mended(&mended);
    ck_assert_uint_eq(mended.foreign_objects, plants[_i].foreign_objects);
    ck_assert(mended.is_new == plants[_i].is_new && mended.lost == 0);
    check_web(db);
    check_others(db);
    check_reservations(db);
    db_close(db);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("migrations");
    TCase *tcase = tcase_create("migrations");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, version_10);
    tcase_add_loop_test(tcase, what_was_planted_before_is_not_run, 0, (int)ARRAY_LEN(plants));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
