/* Constraints of the schema: each has words for a client, and their text is never an answer. */
#include "db/allocate.h"
#include "db/constraint.h"
#include "db/db.h"
#include "db/images.h"
#include "db/leases.h"
#include "tests/unit/db/ready.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static char path[128];
static struct db *db;
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/db-constraints-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    must(open_ready(path, &db, &err));
}

static void teardown(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    db_close(db);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char file[160];
        (void)snprintf(file, sizeof file, "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(dir);
}

static bool has_row(const char *columns)
{
    for (size_t i = 0; i < constraint_count; i++) {
        if (strcmp(constraints[i].columns, columns) == 0) {
            return true;
        }
    }
    return false;
}

/* "table.a, table.b" of each unique constraint: those with an index, and primary keys that are the row's number. */
static const char all_unique[] =
    "WITH tables (name) AS (SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%')"
    " SELECT group_concat(columns.name, ', ') FROM (SELECT t.name AS t, i.name AS i, t.name || '.' || c.name AS name FROM tables t,"
    "   pragma_index_list(t.name) i, pragma_index_info(i.name) c WHERE i.\"unique\" ORDER BY t.name, i.name, c.seqno) columns GROUP BY t, i"
    " UNION SELECT t.name || '.' || c.name FROM tables t, pragma_table_info(t.name) c WHERE c.pk = 1 AND c.type = 'INTEGER'"
    "   AND (SELECT count(*) FROM pragma_table_info(t.name) k WHERE k.pk > 0) = 1";

START_TEST(each_unique_constraint_has_words)
{
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *stmt = NULL;
    size_t count = 0;
    ck_assert_int_eq(sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    ck_assert_msg(sqlite3_prepare_v2(sqlite, all_unique, -1, &stmt, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(sqlite));
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *columns = (const char *)sqlite3_column_text(stmt, 0);
        ck_assert_msg(has_row(columns), "db/constraint.c has no row for %s", columns);
        count++;
    }
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(sqlite);
    ck_assert_uint_eq(count, constraint_count); /* and none too many */
}
END_TEST

static bool says_constraint(const char *text)
{
    return strstr(text, "constraint") != NULL || strstr(text, "UNIQUE") != NULL || strstr(text, "CHECK") != NULL || strstr(text, "interfaces.") != NULL;
}

START_TEST(no_text_gets_through)
{
    static const struct {
        int code;
        const char *text;
        enum error_code wanted;
    } cases[] = {
        {SQLITE_CONSTRAINT_UNIQUE, "UNIQUE constraint failed: interfaces.tap", ERR_CONFLICT},
        {SQLITE_CONSTRAINT_PRIMARYKEY, "UNIQUE constraint failed: vms.id", ERR_ALREADY_EXISTS},
        {SQLITE_CONSTRAINT_PRIMARYKEY, "UNIQUE constraint failed: later.column", ERR_INTERNAL},
        {SQLITE_CONSTRAINT_FOREIGNKEY, "FOREIGN KEY constraint failed", ERR_CONFLICT},
        {SQLITE_CONSTRAINT_CHECK, "CHECK constraint failed: vmm IN ('auto')", ERR_INTERNAL},
        {SQLITE_CONSTRAINT_NOTNULL, "NOT NULL constraint failed: vms.image", ERR_INTERNAL},
        {SQLITE_CONSTRAINT_DATATYPE, "cannot store TEXT value in INTEGER column vms.uid", ERR_INTERNAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(constraint_refuse(cases[i].code, cases[i].text, &err), -1);
        ck_assert_int_eq(err.code, cases[i].wanted);
        ck_assert_msg(!says_constraint(err.message), "%s", err.message);
    }
    for (size_t i = 0; i < constraint_count; i++) {
        ck_assert_msg(!says_constraint(constraints[i].words), "%s", constraints[i].words);
        ck_assert_int_ne(constraints[i].code, ERR_DATABASE);
    }
}
END_TEST

static struct vm_interface nics[2];

static void fill(struct vm_row *row, const char *id, uint32_t address, const char *tap, uint8_t mac)
{
    static char image[] = "img";
    static char empty[] = "";
    static char iface[] = "eth0";
    static char ids[64];
    (void)snprintf(ids, sizeof ids, "%s", id);
    free(row->config_text);
    memset(row, 0, sizeof *row);
    *row = (struct vm_row){
        .id = ids, .config = {.image = image, .boot_args = empty, .machine = {1, 64}, .interface_count = 1, .limits = {.cpu_weight = VM_CPU_WEIGHT_DEFAULT}}};
    nics[0] = (struct vm_interface){.iface_id = iface, .address = address, .mac = {.bytes = {2, 0, 0, 0, 0, mac}}};
    (void)snprintf(nics[0].tap, sizeof nics[0].tap, "%s", tap);
    row->interfaces = nics;
    row->interface_count = 1;
}

static void add_image(void)
{
    sqlite3 *sqlite = NULL;
    ck_assert_int_eq(sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(sqlite, "INSERT INTO images (id, manifest, state, created_ms, updated_ms) VALUES ('img', '{}', 'ready', 0, 0)", NULL, NULL, NULL),
        SQLITE_OK);
    (void)sqlite3_close(sqlite);
}

/* What was answered before: 503 DATABASE with SQLite's words. */
START_TEST(real_violations)
{
    struct vm_row row = {.uid = 0};
    static const struct {
        const char *id;
        uint32_t address;
        const char *tap;
        uint8_t mac;
        enum error_code wanted;
    } cases[] = {
        {"a", 9, "t9", 9, ERR_ALREADY_EXISTS},
        {"b", 9, "t2", 9, ERR_CONFLICT},
        {"b", 9, "t9", 2, ERR_CONFLICT},
        {"b", 2, "t9", 9, ERR_CONFLICT},
    };
    fill(&row, "a", 2, "t2", 2);
    must(db_begin(db, &err));
    ck_assert_int_eq(vms_insert(db, &row, &err), -1); /* of no image */
    ck_assert_int_eq(err.code, ERR_CONFLICT);
    ck_assert_msg(!says_constraint(err.message), "%s", err.message);
    db_rollback(db);
    add_image();
    must(db_begin(db, &err));
    must(vms_insert(db, &row, &err));
    must(db_commit(db, &err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        must(db_begin(db, &err));
        fill(&row, cases[i].id, cases[i].address, cases[i].tap, cases[i].mac);
        ck_assert_int_eq(vms_insert(db, &row, &err), -1);
        db_rollback(db);
        ck_assert_int_eq(err.code, cases[i].wanted);
        ck_assert_msg(!says_constraint(err.message), "%s", err.message);
    }
    free(row.config_text);
}
END_TEST

static void insert(struct vm_row *row)
{
    must(db_begin(db, &err));
    must(vms_insert(db, row, &err));
    must(db_commit(db, &err));
}

START_TEST(names_of_taps_are_unique_whatever_the_subnet)
{
    struct network_settings settings = {.tap_prefix = "svbr0t", .subnet = {.address = 0x0a000000, .prefix = 24}};
    struct vm_row row = {.uid = 0};
    add_image();
    fill(&row, "a", 0x0a000002, "svbr0t2", 2);
    insert(&row);
    fill(&row, "b", 0x0a000003, "svbr0t3", 3);
    insert(&row);
    settings.subnet.address = 0x0b000000;
    fill(&row, "c", 0x0b000002, "", 4);
    must(allocate_tap(db, &settings, &row, 0, &err));
    ck_assert_str_eq(nics[0].tap, "svbr0t4");
    /* In one VM, too: its first interface is not stored yet. */
    nics[1] = nics[0];
    nics[1].address = 0x0b000003;
    row.interface_count = 2;
    must(allocate_tap(db, &settings, &row, 1, &err));
    ck_assert_str_eq(nics[1].tap, "svbr0t5");
    /* A number beyond five digits, and the last name that there is. */
    settings.subnet = (struct ipv4_net){.address = 0x0c000000, .prefix = 8};
    fill(&row, "d", 0x0c0f4240, "", 5);
    must(allocate_tap(db, &settings, &row, 0, &err));
    ck_assert_str_eq(nics[0].tap, "svbr0t4");
    fill(&row, "e", 0x0d000009, "svbr0t99999", 6);
    insert(&row);
    fill(&row, "f", 0x0c000000 + TAP_NUMBER_MAX, "", 7);
    must(allocate_tap(db, &settings, &row, 0, &err));
    ck_assert_str_eq(nics[0].tap, "svbr0t4");
    /* Another bridge's names are others. */
    (void)snprintf(settings.tap_prefix, sizeof settings.tap_prefix, "br7t");
    fill(&row, "g", 0x0c000002, "", 8);
    must(allocate_tap(db, &settings, &row, 0, &err));
    ck_assert_str_eq(nics[0].tap, "br7t2");
    free(row.config_text);
}
END_TEST

START_TEST(another_address)
{
    struct network_settings settings = {.tap_prefix = "svbr0t", .subnet = {.address = 0x0b000000, .prefix = 29}};
    struct vm_row row = {.uid = 0};
    struct vm_row stored = {.uid = 0};
    bool found = false;
    int64_t used = 0;
    int64_t quarantined = 0;
    add_image();
    fill(&row, "a", 0x0a000002, "svbr0t2", 2);
    insert(&row);
    must(db_begin(db, &err));
    must(allocate_address(db, &settings, &row, 0, &nics[0].address, &err));
    must(vms_readdress(db, &row, 0, 0x0a000002, &err));
    must(db_commit(db, &err));
    must(vms_get(db, "a", &stored, &found, &err));
    ck_assert_uint_eq(stored.interfaces[0].address, 0x0b000002);
    ck_assert_str_eq(stored.interfaces[0].tap, "svbr0t2");
    ck_assert_int_eq(stored.revision, 2);
    vm_row_free(&stored);
    must(leases_count(db, 3600000, &used, &quarantined, &err));
    ck_assert_int_eq(used, 1);
    ck_assert_int_eq(quarantined, 1);
    free(row.config_text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("db_constraints");
    TCase *tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, each_unique_constraint_has_words);
    tcase_add_test(tcase, no_text_gets_through);
    tcase_add_test(tcase, real_violations);
    tcase_add_test(tcase, names_of_taps_are_unique_whatever_the_subnet);
    tcase_add_test(tcase, another_address);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
