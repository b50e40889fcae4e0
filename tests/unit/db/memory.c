/*
 * Reading while memory is short. SQLite's allocations fail one after another, once and from then on: what is read is whole, or an error. A column
 * whose text could not be had must never be taken for NULL, or for an empty text.
 */
#include "core/cleanup.h"
#include "db/facts.h"
#include "db/firewall.h"
#include "db/images.h"
#include "db/interfaces.h"
#include "db/network.h"
#include "db/statement.h"
#include "db/vms.h"
#include "db/wireguard.h"
#include "tests/unit/db/ready.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static char path[96];
static struct db *db;
static struct error err;

static sqlite3_mem_methods real;
static long left = -1; /* allocations until one fails; -1: none does */
static bool for_ever;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static bool fails(void)
{
    if (left < 0) {
        return false;
    }
    if (left > 0) {
        left--;
        return false;
    }
    left = for_ever ? 0 : -1;
    return true;
}

static void *failing_malloc(int size)
{
    return fails() ? NULL : real.xMalloc(size);
}

static void *failing_realloc(void *old, int size)
{
    return fails() ? NULL : real.xRealloc(old, size);
}

static void add_vm(void)
{
    struct image_row image = {.id = strdup("image"), .manifest = strdup("{\"arch\":\"x86_64\"}")};
    struct vm_row row = {.id = strdup("web"), .observed = strdup("{}"), .desired = VM_WANT_PAUSED};
    row.config = (struct vm_config){.image = strdup("image"),
                                    .machine = {2, 64},
                                    .boot_args = strdup("quiet"),
                                    .labels = json_pack("{s:s}", "a", "b"),
                                    .interfaces = {{"eth0"}},
                                    .interface_count = 1,
                                    .limits = {.cpu_weight = VM_CPU_WEIGHT_DEFAULT}};
    row.interfaces = calloc(1, sizeof *row.interfaces);
    row.interface_count = 1;
    row.interfaces[0].iface_id = strdup("eth0");
    row.interfaces[0].address = 0x0a000002;
    memcpy(row.interfaces[0].tap, "svbr0t2", 8);
    ck_assert(mac_parse("02:00:00:00:00:01", &row.interfaces[0].mac));
    must(db_begin(db, &err));
    must(images_insert(db, &image, &err));
    must(vms_insert(db, &row, &err));
    must(db_commit(db, &err));
    struct vm_observation observation = {.state = VM_FAILED, .observed = "{\"error\":null}", .boot_id = "0123", .observed_generation = 1, .boot_config = ""};
    bool changed = false;
    must(vms_set_observed(db, row.uid, &observation, &changed, &err));
    image_row_free(&image);
    vm_row_free(&row);
}

static void setup(void)
{
    const sqlite3_mem_methods *methods = NULL;
    struct network_overrides overrides = {.has_uplink = true, .uplink = "wan0"};
    left = -1;
    ck_assert_int_eq(SQLITE_OK, sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real));
    static sqlite3_mem_methods failing;
    failing = real;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    methods = &failing;
    ck_assert_int_eq(SQLITE_OK, sqlite3_config(SQLITE_CONFIG_MALLOC, methods));
    ck_assert_int_eq(SQLITE_OK, sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0)); /* each allocation is one that can fail */
    (void)snprintf(dir, sizeof dir, "/tmp/db-memory-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/db", dir);
    must(open_ready(path, &db, &err));
    add_vm();
    ck_assert(network_subnet_parse("10.9.0.0/24", &overrides.subnet, NULL) == 0);
    overrides.has_subnet = true;
    must(network_overrides_set(db, &overrides, &err));
}

static void teardown(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    left = -1;
    db_close(db);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char file[120];
        (void)snprintf(file, sizeof file, "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(dir);
}

/* Each reads something, and says whether it could; what it read must be whole then. */
static bool read_vm(void)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    if (vms_get(db, "web", &row, &found, &err) != 0) {
        return false;
    }
    ck_assert(found);
    ck_assert_str_eq("image", row.image);
    ck_assert_str_eq("{\"image\":\"image\",\"machine_config\":{\"vcpu_count\":2,\"mem_size_mib\":64},\"boot_args\":\"quiet\",\"vmm\":\"auto\","
                     "\"network_interfaces\":[{\"iface_id\":\"eth0\"}],\"ports\":[],\"autostart\":false,\"restart_policy\":\"never\","
                     "\"labels\":{\"a\":\"b\"},\"limits\":{\"cpu_percent\":0,\"cpu_weight\":100,\"io\":{\"read_bytes_per_s\":0,\"write_bytes_per_s\":0,"
                     "\"read_ops_per_s\":0,\"write_ops_per_s\":0}}}",
                     row.config_text);
    ck_assert_str_eq("", row.boot_config);
    ck_assert_str_eq("{\"error\":null}", row.observed);
    ck_assert_str_eq("0123", row.boot_id);
    ck_assert_int_eq(VM_WANT_PAUSED, row.desired);
    ck_assert_int_eq(VM_FAILED, row.state);
    ck_assert_uint_eq(1, row.interface_count);
    ck_assert_str_eq("eth0", row.interfaces[0].iface_id);
    return true;
}

static bool read_image(void)
{
    AUTO_IMAGE_ROW row = {0};
    bool found = false;
    if (images_get(db, "image", &row, &found, &err) != 0) {
        return false;
    }
    ck_assert_str_eq("{\"arch\":\"x86_64\"}", row.manifest);
    ck_assert_str_eq("{}", row.observed);
    return true;
}

/* An override that is not read would be taken for one that is not there, and the network be made as configured. */
static bool read_network(void)
{
    struct network_overrides overrides;
    if (network_overrides_get(db, &overrides, &err) != 0) {
        return false;
    }
    ck_assert(overrides.has_subnet && overrides.has_uplink);
    ck_assert_str_eq("wan0", overrides.uplink);
    return true;
}

static void count_id(const char *id, void *ctx)
{
    ck_assert_ptr_nonnull(id);
    ck_assert_str_eq("web", id);
    (*(int *)ctx)++;
}

static bool read_ids(void)
{
    int count = 0;
    return vms_each_id(db, count_id, &count, &err) == 0 && count == 1;
}

static bool read_tap(void)
{
    AUTO_FREE char *id = NULL;
    if (interfaces_vm_of_tap(db, "svbr0t2", &id, &err) != 0) {
        return false;
    }
    ck_assert_ptr_nonnull(id);
    return true;
}

static bool read_firewall(void)
{
    struct firewall_observed observed;
    return firewall_observed_get(db, &observed, &err) == 0;
}

static bool (*const reads[])(void) = {read_vm, read_image, read_network, read_ids, read_tap, read_firewall};

/* With statements that are new, and that were used before. */
START_TEST(what_is_read_is_whole_or_an_error)
{
    enum { ENOUGH = 3000 };
    bool (*const read)(void) = reads[_i / 2];
    long n = 0;
    int failed = 0;
    for_ever = _i % 2 == 1;
    for (bool done = false; !done; n++) {
        ck_assert_int_lt(n, ENOUGH);
        if (n % 2 == 0) { /* as after a start */
            db_close(db);
            must(open_ready(path, &db, &err));
        }
        left = n / 2;
        bool ok = read();
        done = left > 0; /* it needs no more than that */
        left = -1;
        failed += !ok;
        ck_assert(ok || err.code == ERR_OUT_OF_MEMORY || err.code == ERR_DATABASE);
        ck_assert(read());
    }
    ck_assert_int_gt(failed, 0);
}
END_TEST

START_TEST(null_is_no_failure_nor_is_what_is_too_long)
{
    bool failed = false;
    char buf[4];
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT NULL, 'text', '', 'abc'", &err);
    ck_assert_int_eq(STATEMENT_ROW, statement_step(db, stmt, &err));
    ck_assert_ptr_null(statement_peek(stmt, 0, &failed));
    ck_assert_str_eq("text", statement_peek(stmt, 1, &failed));
    ck_assert_str_eq("", statement_peek(stmt, 2, &failed));
    ck_assert(!failed);
    for (int column = 0; column < 2; column++) { /* who looks at the row finds it damaged, and the others are read */
        buf[0] = 'x';
        must(statement_copy(stmt, column, buf, sizeof buf, &err));
        ck_assert_str_eq("", buf);
    }
    must(statement_copy(stmt, 3, buf, sizeof buf, &err));
    ck_assert_str_eq("abc", buf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("db_memory");
    TCase *tcase = tcase_create("db_memory");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_is_read_is_whole_or_an_error, 0, 2 * (int)ARRAY_LEN(reads));
    tcase_add_test(tcase, null_is_no_failure_nor_is_what_is_too_long);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
