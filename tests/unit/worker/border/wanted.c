/* The border, from one end to the other: what the worker asks is what is stored, and what is damaged is never taken for something else. */
#include "core/cleanup.h"
#include "db/events.h"
#include "db/firewall.h"
#include "db/images.h"
#include "db/vms.h"
#include "tests/unit/worker/border/keeper_box.h"
#include "worker/border/known_vms.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static struct keeper_box box;
static struct error err;

#define must(result)  ck_assert_msg((result) == 0, "%s: %s", #result, err.message)
#define TEXT(literal) ((char *)(uintptr_t)(literal))

static void add_vm(const char *id, uint32_t address, const char *tap)
{
    struct vm_interface interface = {.iface_id = TEXT("eth0"), .mac = {{2, 0, 0, 0, (uint8_t)(address >> 8), (uint8_t)address}}, .address = address};
    struct vm_row row = {.id = TEXT(id),
                         .config = {.image = TEXT("i"),
                                    .machine = {2, 64},
                                    .boot_args = TEXT("quiet"),
                                    .interfaces = {{"eth0"}},
                                    .interface_count = 1,
                                    .limits = {.cpu_weight = VM_CPU_WEIGHT_DEFAULT}},
                         .interfaces = &interface,
                         .interface_count = 1};
    (void)snprintf(interface.tap, sizeof interface.tap, "%s", tap);
    must(db_begin(box.own, &err));
    must(vms_insert(box.own, &row, &err));
    must(db_commit(box.own, &err));
    free(row.config_text);
}

static void setup(void)
{
    struct image_row image = {.id = TEXT("i"), .manifest = TEXT("{}"), .observed = TEXT("{}")};
    box = (struct keeper_box){.socket = -1};
    keeper_box_open(&box);
    must(db_begin(box.own, &err));
    must(images_insert(box.own, &image, &err));
    must(db_commit(box.own, &err));
    add_vm("a", 100, "t100");
    add_vm("b", 101, "t101");
}

static void teardown(void)
{
    keeper_box_close(&box);
}

/* By hand, past every check of ours. */
static void change(const char *sql)
{
    sqlite3 *sqlite = NULL;
    char *message = NULL;
    ck_assert_int_eq(sqlite3_open(box.path, &sqlite), SQLITE_OK);
    (void)sqlite3_busy_timeout(sqlite, 5000);
    ck_assert_msg(sqlite3_exec(sqlite, sql, NULL, NULL, &message) == SQLITE_OK, "%s: %s", sql, message);
    (void)sqlite3_close(sqlite);
}

START_TEST(a_vm_is_read_and_reported)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    bool changed = false;
    must(border_vm_get(box.border, "a", &row, &found, &err));
    ck_assert(found && row.config.machine.vcpu_count == 2 && row.interface_count == 1 && row.interfaces[0].address == 100);
    ck_assert_str_eq(row.interfaces[0].tap, "t100");
    struct message_vm_report report = {
        .uid = row.uid, .id = "a", .state = VM_RUNNING, .observed = TEXT("{\"x\":1}"), .pid = 7, .boot_config = TEXT("{\"image\":\"i\"}"), .event = TEXT("{}")};
    must(border_vm_report(box.border, &report, &changed, &err));
    ck_assert(changed);
    AUTO_VM_ROW again = {0};
    must(vms_get(box.own, "a", &again, &found, &err));
    ck_assert(again.state == VM_RUNNING && again.pid == 7);
    ck_assert_str_eq(again.boot_config, "{\"image\":\"i\"}");
    must(border_vm_get(box.border, "nobody", &row, &found, &err));
    ck_assert(!found);
}
END_TEST

START_TEST(all_vms_come_in_pages)
{
    struct vm_row *rows = NULL;
    size_t count = 0;
    for (uint32_t i = 0; i < LIMIT_VM_PAGE + 5; i++) {
        char id[16];
        char tap[16];
        (void)snprintf(id, sizeof id, "v%05u", i);
        (void)snprintf(tap, sizeof tap, "x%u", i);
        add_vm(id, 1000 + i, tap);
    }
    must(border_vm_list(box.border, NULL, &rows, &count, &err));
    ck_assert_uint_eq(count, LIMIT_VM_PAGE + 7);
    vm_rows_free(rows, count);
    struct message_keys keys;
    must(border_keys(box.border, &keys, &err));
    ck_assert_uint_eq(keys.vm_count, LIMIT_VM_PAGE + 7);
    ck_assert_uint_eq(keys.image_count, 1);
    border_keys_free(&keys);
}
END_TEST

START_TEST(ids_that_are_known)
{
    struct known_vms known;
    bool is = false;
    must(known_vms_load(box.border, &known, &err));
    add_vm("c", 102, "t102"); /* since */
    static const char *const there[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(there); i++) {
        must(known_vms_have(&known, there[i], &is, &err));
        ck_assert_msg(is, "%s", there[i]);
    }
    must(known_vms_have(&known, "d", &is, &err));
    ck_assert(!is);
    border_connect(box.border, -1);
    must(known_vms_have(&known, "a", &is, &err));
    ck_assert_int_eq(known_vms_have(&known, "d", &is, &err), -1); /* nobody can tell */
    known_vms_free(&known);
}
END_TEST

static const struct {
    const char *sql, *field;
} damages[] = {
    {"UPDATE vms SET config = json_set(config, '$.machine_config.vcpu_count', 0) WHERE id = 'a'", "config: /machine_config/vcpu_count must be at least 1"},
    {"UPDATE vms SET config = json_set(config, '$.machine_config.mem_size_mib', 99999999) WHERE id = 'a'", "/machine_config/mem_size_mib"},
    {"UPDATE vms SET config = json_set(config, '$.machine_config', 7) WHERE id = 'a'", "/machine_config"},
    {"UPDATE vms SET config = json_set(config, '$.boot_args', 'a' || char(10) || 'b') WHERE id = 'a'", "/boot_args"},
    {"UPDATE vms SET config = json_set(config, '$.colour', 1) WHERE id = 'a'", "/colour is not a known field"},
    {"UPDATE vms SET config = json_set(config, '$.' || char(34) || char(10) || 'x' || char(34), 1) WHERE id = 'a'", "config: /?x is not a known field"},
    {"UPDATE vms SET config = json_set(config, '$.image', 'other') WHERE id = 'a'", "another image"},
    {"UPDATE vms SET config = json_set(config, '$.network_interfaces', json('[]')) WHERE id = 'a'", "other network interfaces"},
    {"UPDATE vms SET config = json_set(config, '$.ports', json('[{\"host_port\":0,\"guest_port\":80}]')) WHERE id = 'a'", "/ports/0/host_port"},
    {"UPDATE vms SET config = 'no JSON' WHERE id = 'a'", "config: the document is not JSON"},
    {"UPDATE vms SET config = '' WHERE id = 'a'", "config"},
    {"UPDATE vms SET config = replace(hex(zeroblob(5242880)), '0', ' ') WHERE id = 'a'", "config"},
    {"UPDATE vms SET boot_config = replace(hex(zeroblob(5242880)), '0', ' ') WHERE id = 'a'", "boot_config"},
    {"UPDATE vms SET boot_wanted = -1 WHERE id = 'a'", "boot_wanted"},
    {"UPDATE vms SET pid = -1 WHERE id = 'a'", "pid"},
    {"UPDATE vms SET boot_id = '../../etc/passwd' WHERE id = 'a'", "boot_id"},
    {"UPDATE interfaces SET tap = 'all' WHERE address = 100", "tap"},
    {"UPDATE interfaces SET tap = 'a/b' WHERE address = 100", "tap"},
    {"UPDATE interfaces SET iface_id = 'E' WHERE address = 100", "iface_id"},
    {"UPDATE interfaces SET mac = 'x' WHERE address = 100", "tap"},
    {"UPDATE interfaces SET tap = hex(zeroblob(40)) WHERE address = 100", "tap"},
    {"UPDATE vms SET boot_id = hex(zeroblob(40)) WHERE id = 'a'", "boot_id"},
    {"UPDATE vms SET config = CAST(x'7b22ff223a317d' AS TEXT) WHERE id = 'a'", "config"},
    {"PRAGMA ignore_check_constraints=ON; UPDATE vms SET desired_state = 'x' WHERE id = 'a'", "desired"},
    {"PRAGMA ignore_check_constraints=ON; UPDATE vms SET state = 'x' WHERE id = 'a'", "state"},
    {"UPDATE vms SET config = json_set(config, '$.restart_policy', '') WHERE id = 'a'", "/restart_policy"},
    {"WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 9) INSERT INTO interfaces"
     " SELECT uid, x, 'e' || x, 'y' || x, '02:00:00:00:01:0' || x, 7000 + x FROM vms, c WHERE id = 'a'",
     "tap"},
    {"UPDATE vms SET observed = hex(zeroblob(35000000)) WHERE id = 'a'", "observed"},
};

START_TEST(a_damaged_row_is_no_row)
{
    AUTO_VM_ROW row = {0};
    bool found = true;
    struct vm_row *rows = NULL;
    size_t count = 0;
    change(damages[_i].sql);
    ck_assert_int_eq(border_vm_get(box.border, "a", &row, &found, &err), -1);
    ck_assert_msg(err.code == ERR_ROW_DAMAGED && strstr(err.message, damages[_i].field) != NULL, "%s: %s", damages[_i].sql, err.message);
    ck_assert_ptr_null(row.id);
    must(border_vm_get(box.border, "b", &row, &found, &err));
    ck_assert(found);
    must(border_vm_list(box.border, NULL, &rows, &count, &err));
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(rows[0].id, "b");
    ck_assert_uint_eq(box.spared, 1);
    ck_assert_str_eq(box.spared_key, "a");
    vm_rows_free(rows, count);
    ck_assert_uint_eq(box.given_up, 0);
}
END_TEST

START_TEST(the_network_and_its_rows)
{
    AUTO_FREE struct interface_row *interfaces = NULL;
    size_t count = 0;
    bool changes = false;
    bool found = false;
    char vm[LIMIT_VM_ID_BYTES + 1];
    must(border_interface_list(box.border, &interfaces, &count, &err));
    ck_assert_uint_eq(count, 2);
    must(border_address_changes(box.border, 100, &changes, &err));
    ck_assert(changes);
    must(border_tap_owner(box.border, "t101", vm, &found, &err));
    ck_assert(found);
    ck_assert_str_eq(vm, "b");
    must(border_tap_owner(box.border, "nobody", vm, &found, &err));
    ck_assert(!found);
    change("UPDATE interfaces SET tap = 'default' WHERE address = 100");
    free(interfaces);
    must(border_interface_list(box.border, &interfaces, &count, &err));
    ck_assert_uint_eq(count, 1);
}
END_TEST

START_TEST(settings_that_cannot_be_count_as_not_set)
{
    static char bridge[] = "br0";
    struct config config = {.network = {.bridge = bridge, .subnet = {0x0a000000, 24}, .masquerade = true, .lease_quarantine_s = 9}};
    struct network_settings settings;
    change("INSERT INTO network (id, subnet, uplink, masquerade, lease_quarantine_s, generation, updated_ms) VALUES (1, '0.0.0.0/0', 'all', 0, -1, 5, 0)");
    must(border_network_settings(box.border, &config, &settings, &err));
    ck_assert(settings.subnet.address == 0x0a000000 && settings.uplink[0] == '\0' && settings.lease_quarantine_s == 9 && !settings.masquerade);
    change("UPDATE network SET uplink = 'br0', subnet = '10.1.0.0/16'");
    must(border_network_settings(box.border, &config, &settings, &err));
    ck_assert(settings.subnet.address == 0x0a010000 && settings.uplink[0] == '\0');
}
END_TEST

START_TEST(a_keeper_that_is_gone_is_noticed)
{
    struct message_keys keys;
    border_connect(box.border, -1);
    ck_assert_int_eq(border_keys(box.border, &keys, &err), -1);
    ck_assert_int_eq(err.code, ERR_UNAVAILABLE);
    ck_assert_uint_eq(box.given_up, 0);
    int pair[2];
    must(frame_pair(pair, &err));
    (void)close(pair[1]);
    border_connect(box.border, pair[0]);
    ck_assert_int_eq(border_keys(box.border, &keys, &err), -1);
    ck_assert_int_eq(err.code, ERR_UNAVAILABLE);
    ck_assert_uint_eq(box.given_up, 1);
}
END_TEST

/* What a keeper that was taken over may send instead of an answer. */
static void *answer_nonsense(void *arg)
{
    const int *socket = arg;
    AUTO_FRAME frame = {.data = NULL};
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct message_flag flag = {.value = true};
    if (frame_receive(*socket, &frame, -1, NULL) == 0) {
        record_write(message_types[MESSAGE_FACT_SET].answer, &flag, &bytes);
        (void)frame_send(*socket, frame.kind, MESSAGE_OK, &bytes, -1, NULL);
    }
    return NULL;
}

START_TEST(an_answer_that_is_none_ends_the_keeper)
{
    struct message_keys keys;
    pthread_t thread;
    int pair[2];
    must(frame_pair(pair, &err));
    border_connect(box.border, pair[0]);
    ck_assert_int_eq(pthread_create(&thread, NULL, answer_nonsense, &pair[1]), 0);
    ck_assert_int_eq(border_keys(box.border, &keys, &err), -1);
    ck_assert_int_eq(err.code, ERR_BAD_REQUEST);
    ck_assert_uint_eq(box.given_up, 1);
    (void)pthread_join(thread, NULL);
    (void)close(pair[1]);
}
END_TEST

START_TEST(a_lost_row_is_put_back)
{
    AUTO_VM_ROW row = {0};
    AUTO_IMAGE_ROW image = {0};
    bool found = false;
    must(border_vm_get(box.border, "a", &row, &found, &err));
    must(border_image_get(box.border, "i", &image, &found, &err));
    struct message_vm_restore vm = {.items = &row, .count = 1, .images = &image, .image_count = 1};
    change("DELETE FROM vms WHERE id = 'a'");
    ck_assert_int_eq(border_vm_restore(box.border, &vm, &err), -1); /* it was deleted, as far as the database knows */
    ck_assert_int_eq(err.code, ERR_NOT_FOUND);
    vm.force = true;
    must(border_vm_restore(box.border, &vm, &err));
    AUTO_VM_ROW again = {0};
    must(border_vm_get(box.border, "a", &again, &found, &err));
    ck_assert(found && again.uid == row.uid && again.interface_count == 1 && again.interfaces[0].address == 100);
    change("UPDATE vms SET id = '../../../x' WHERE id = 'a'");
    vm.force = false;
    must(border_vm_restore(box.border, &vm, &err));
    vm_row_free(&again);
    must(vms_get(box.own, "a", &again, &found, &err));
    ck_assert(found);
}
END_TEST

/* What stands in one row is no matter of the network's others. */
static const struct {
    const char *sql;
    size_t interfaces, ports;
} lists[] = {
    {"UPDATE interfaces SET mac = 'x' WHERE address = 100", 1, 0},
    {"UPDATE interfaces SET tap = hex(zeroblob(40)) WHERE address = 100", 1, 0},
    {"UPDATE vms SET id = hex(zeroblob(40)) WHERE id = 'a'", 1, 0},
    {"INSERT INTO ports SELECT uid, 0, 6, iif(id = 'a', 'here', '0.0.0.0'), 80, 80, 1 FROM vms", 2, 1},
    {"PRAGMA ignore_check_constraints=ON; INSERT INTO ports SELECT uid, 0, 6, '0.0.0.0', 80, 80, iif(id = 'a', 0, 1) FROM vms", 2, 1},
};

START_TEST(a_damaged_row_is_left_out_of_lists)
{
    AUTO_FREE struct interface_row *interfaces = NULL;
    AUTO_FREE struct port_row *ports = NULL;
    size_t count = 0;
    change(lists[_i].sql);
    must(border_interface_list(box.border, &interfaces, &count, &err));
    ck_assert_uint_eq(count, lists[_i].interfaces);
    must(border_port_list(box.border, &ports, &count, &err));
    ck_assert_uint_eq(count, lists[_i].ports);
    ck_assert_uint_ge(box.spared, 1);
    ck_assert_uint_eq(box.given_up, 0);
}
END_TEST

START_TEST(more_rows_than_there_can_be_are_cut)
{
    struct message_keys keys;
    change("WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 1500)"
           " INSERT INTO images (id, manifest, state, created_ms, updated_ms) SELECT 'z' || x, '{}', 'failed', 0, 0 FROM c;"
           "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 1500) INSERT INTO tasks (kind, created_ms) SELECT 'repair', 0 FROM c;"
           "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 12000)"
           " INSERT INTO vms (id, image, config, desired_state, created_ms, updated_ms)"
           " SELECT 'z' || x, 'i', '{\"image\":\"i\"}', 'stopped', 0, 0 FROM c");
    must(border_keys(box.border, &keys, &err));
    ck_assert(keys.vm_count == LIMIT_VMS && keys.image_count == LIMIT_IMAGES && keys.task_count == LIMIT_TASKS);
    ck_assert_str_eq(keys.vms[0].id, "a");
    border_keys_free(&keys);
    ck_assert_uint_eq(box.given_up, 0);
}
END_TEST

START_TEST(a_vm_has_no_more_ports_in_the_list_than_it_may_have)
{
    AUTO_FREE struct port_row *ports = NULL;
    size_t count = 0;
    change("WITH RECURSIVE c(x) AS (VALUES (-5) UNION ALL SELECT x + 1 FROM c WHERE x < 5000) INSERT INTO ports"
           " SELECT uid, x, 6, '0.0.0.0', 1000, 80, 1000 FROM vms, c WHERE id = 'a'");
    must(border_port_list(box.border, &ports, &count, &err));
    ck_assert_uint_eq(count, LIMIT_PORTS);
}
END_TEST

START_TEST(more_bytes_than_an_answer_may_have_are_told)
{
    AUTO_FIREWALL_ROWS rows = {.policy_count = 0};
    change("WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 20)"
           " INSERT INTO firewall_sets (name, addresses, generation, confirm_until_ms, updated_ms) SELECT 's' || x, hex(zeroblob(2000000)), 1, 0, 0 FROM c");
    ck_assert_int_eq(border_firewall_load(box.border, &rows, &err), -1);
    ck_assert_int_eq(err.code, ERR_ROW_DAMAGED);
    ck_assert_uint_eq(box.given_up, 0); /* and the keeper goes on */
    AUTO_VM_ROW row = {0};
    bool found = false;
    must(border_vm_get(box.border, "a", &row, &found, &err));
    ck_assert(found);
}
END_TEST

START_TEST(the_firewall_has_its_rows_whatever_its_state_says)
{
    static const char *const changes[] = {"UPDATE firewall_state SET error = hex(zeroblob(9000)), error_code = hex(zeroblob(9000))",
                                          "UPDATE firewall_state SET generation = -5, observed_generation = -7, since_ms = -1",
                                          "UPDATE firewall_state SET generation = 9223372036854775807", "DELETE FROM firewall_state"};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        AUTO_FIREWALL_ROWS rows = {.policy_count = 0};
        struct firewall_observed observed;
        change(changes[i]);
        ck_assert_msg(border_firewall_load(box.border, &rows, &err) == 0, "%s: %s", changes[i], err.message);
        must(border_firewall_observed_get(box.border, &observed, &err));
        ck_assert_str_eq(observed.error, "");
    }
}
END_TEST

/* A keeper of the test's own: what it answers lies in the socket before it is asked. Returns its end. */
static int answer_with(enum message_kind kind, uint16_t status, const struct record_table *table, const void *answer)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    int pair[2];
    must(frame_pair(pair, &err));
    border_connect(box.border, pair[0]);
    record_write(table, answer, &bytes);
    must(frame_send(pair[1], (uint16_t)kind, status, &bytes, -1, &err));
    return pair[1];
}

START_TEST(a_tunnel_that_is_wanted_has_a_document)
{
    AUTO_WIREGUARD_ROW row = {0};
    const struct wireguard_row without = {.generation = 5, .wanted = true};
    AUTO_CLOSE int keeper = answer_with(MESSAGE_WIREGUARD_GET, MESSAGE_OK, message_types[MESSAGE_WIREGUARD_GET].answer, &without);
    ck_assert_int_eq(border_wireguard_get(box.border, &row, &err), -1);
    ck_assert_int_eq(err.code, ERR_ROW_DAMAGED);
    ck_assert_uint_eq(box.given_up, 0);
}
END_TEST

/* They go on into JSON, which would be lost with them, and into the log. */
START_TEST(the_words_of_the_keeper_are_text)
{
    struct message_number question = {.value = 1};
    struct message_flag flag;
    const struct message_failure failure = {.code = ERR_IN_USE, .text = "a\nb\xff\xc3(c"};
    AUTO_CLOSE int keeper = answer_with(MESSAGE_ADDRESS_CHANGES, MESSAGE_FAILED, &message_failure_record, &failure);
    ck_assert_int_eq(border_ask(box.border, MESSAGE_ADDRESS_CHANGES, &question, &flag, &err), -1);
    ck_assert_int_eq(err.code, ERR_IN_USE);
    ck_assert_str_eq(err.message, "a b  (c");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("border");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_vm_is_read_and_reported);
    tcase_add_test(tc, all_vms_come_in_pages);
    tcase_add_test(tc, ids_that_are_known);
    tcase_add_loop_test(tc, a_damaged_row_is_no_row, 0, (int)ARRAY_LEN(damages));
    tcase_add_loop_test(tc, a_damaged_row_is_left_out_of_lists, 0, (int)ARRAY_LEN(lists));
    tcase_add_test(tc, more_rows_than_there_can_be_are_cut);
    tcase_add_test(tc, a_vm_has_no_more_ports_in_the_list_than_it_may_have);
    tcase_add_test(tc, more_bytes_than_an_answer_may_have_are_told);
    tcase_add_test(tc, the_firewall_has_its_rows_whatever_its_state_says);
    tcase_add_test(tc, a_tunnel_that_is_wanted_has_a_document);
    tcase_add_test(tc, the_words_of_the_keeper_are_text);
    tcase_add_test(tc, the_network_and_its_rows);
    tcase_add_test(tc, settings_that_cannot_be_count_as_not_set);
    tcase_add_test(tc, a_keeper_that_is_gone_is_noticed);
    tcase_add_test(tc, an_answer_that_is_none_ends_the_keeper);
    tcase_add_test(tc, a_lost_row_is_put_back);
    Suite *suite = suite_create("border");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
