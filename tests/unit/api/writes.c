/* What all writes share: If-Match, Idempotency-Key and ?wait=; and lists. */
#include "tests/unit/api/api_box.h"

#include "api/etag.h"
#include "core/clock.h"
#include "core/strbuf.h"

START_TEST(test_tags_that_match)
{
    static const char *const same[] = {"*", "\"1-2\"", "\"3-4\" , \"1-2\"", "\"a,b\",\"1-2\"", ",\"1-2\"", "\"1-2.0123456789abcdef\""};
    static const char *const weak[] = {"W/\"1-2\"", "\"3-4\", W/\"1-2.0\""};
    static const char *const others[] = {"\"1-3\"", "1-2", "\"1-2", "\"*\"", "", ",", "\"1-2\"x", "\"1-22\"", "\"\"", "w/\"1-2\"", "* ,\"1-2\"", "\"1-2x.\""};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        ck_assert_msg(etag_matches(same[i], "\"1-2\"", ETAG_STRONG), "%s", same[i]);
        ck_assert_msg(etag_matches(same[i], "\"1-2.fedcba9876543210\"", ETAG_WEAK), "%s", same[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
        ck_assert_msg(!etag_matches(weak[i], "\"1-2\"", ETAG_STRONG), "%s", weak[i]);
        ck_assert_msg(etag_matches(weak[i], "\"1-2\"", ETAG_WEAK), "%s", weak[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        ck_assert_msg(!etag_matches(others[i], "\"1-2\"", ETAG_WEAK), "%s", others[i]);
    }
    ck_assert(etag_matches_whole("\"1-2.a\"", "\"1-2.a\"") && etag_matches_whole("W/\"1-2.a\"", "\"1-2.a\""));
    ck_assert(!etag_matches_whole("\"1-2.b\"", "\"1-2.a\"") && !etag_matches_whole("\"1-2\"", "\"1-2.a\""));
}
END_TEST

START_TEST(test_if_match)
{
    char etag[64];
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_get("/vms/a"), 200);
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    box_refused(412, "PRECONDITION_FAILED", "POST", "/vms/a/pause", NULL, "If-Match", "\"1-1\"", NULL);
    box_refused(412, "PRECONDITION_FAILED", "PATCH", "/vms/a", "{\"autostart\":true}", "If-Match", "W/\"1-2\"", NULL);
    box_refused(412, "PRECONDITION_FAILED", "DELETE", "/vms/a", NULL, "If-Match", "\"9-9\"", NULL);
    ck_assert_int_eq(box_send("POST", "/vms/a/pause", NULL, "If-Match", etag, NULL), 202);
    ck_assert_str_ne(box_header("ETag"), etag);
    box_refused(412, "PRECONDITION_FAILED", "POST", "/vms/a/stop", NULL, "If-Match", etag, NULL);
    ck_assert_int_eq(box_send("DELETE", "/vms/a", NULL, "If-Match", "*", NULL), 202);
    box_refused(404, "NOT_FOUND", "DELETE", "/vms/none", NULL, "If-Match", "*", NULL);
    ck_assert_int_eq(box_get("/images/img"), 200);
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    box_refused(412, "PRECONDITION_FAILED", "DELETE", "/images/img", NULL, "If-Match", "\"1-1\"", NULL);
    box_remove_vm("a");
    ck_assert_int_eq(box_send("DELETE", "/images/img", NULL, "If-Match", etag, NULL), 202);
}
END_TEST

#define CREATE_A "{\"id\":\"a\",\"image\":\"img\"}"

START_TEST(test_the_same_key_and_request)
{
    box_add_image("img");
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k1", NULL), 201);
    ck_assert_ptr_null(box_header("Idempotency-Replayed"));
    char first[2048];
    ck_assert_int_lt(snprintf(first, sizeof first, "%s", box.reply.body), (int)sizeof first);
    box_observe("a", VM_RUNNING);
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k1", NULL), 201);
    ck_assert_str_eq(box.reply.body, first);
    ck_assert_str_eq(box_header("Location"), "/vms/a");
    ck_assert_str_eq(box_header("Idempotency-Replayed"), "true");
    box_check_schema("Vm");
    box_refused(409, "ALREADY_EXISTS", "POST", "/vms", CREATE_A, "Idempotency-Key", "k2", NULL);
    box_refused(409, "ALREADY_EXISTS", "POST", "/vms", CREATE_A, NULL);
}
END_TEST

START_TEST(test_the_same_key_and_another_request)
{
    box_add_image("img");
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k", NULL), 201);
    box_refused(422, "IDEMPOTENCY_KEY_REUSED", "POST", "/vms", "{\"id\":\"b\",\"image\":\"img\"}", "Idempotency-Key", "k", NULL);
    box_refused(422, "IDEMPOTENCY_KEY_REUSED", "POST", "/vms/a/stop", NULL, "Idempotency-Key", "k", NULL);
    ck_assert_int_eq(box_get("/vms"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 1);
}
END_TEST

START_TEST(test_an_error_is_not_stored)
{
    box_refused(409, "IMAGE_NOT_FOUND", "POST", "/vms", CREATE_A, "Idempotency-Key", "k", NULL);
    box_add_image("img");
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k", NULL), 201);
}
END_TEST

START_TEST(test_keys_of_actions)
{
    AUTO_VM_ROW row = {0};
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_send("POST", "/vms/a/reboot", NULL, "Idempotency-Key", "r", NULL), 202);
    ck_assert_int_eq(box_send("POST", "/vms/a/reboot", NULL, "Idempotency-Key", "r", NULL), 202);
    box_load("a", &row);
    ck_assert_int_eq(row.boot_wanted, 2); /* one reboot */
    box_observe("a", VM_STOPPED);
    /* A replay comes before the state and If-Match are looked at. */
    ck_assert_int_eq(box_send("POST", "/vms/a/reboot", NULL, "Idempotency-Key", "r", "If-Match", "\"0-0\"", NULL), 202);
    ck_assert_int_eq(box_send("POST", "/vms/a/reboot", NULL, "Idempotency-Key", "r", NULL), 202);
}
END_TEST

START_TEST(test_wait_for_a_create)
{
    box_add_image("img");
    int64_t before = clock_monotonic_ms();
    ck_assert_int_eq(box_send("POST", "/vms?wait=5", CREATE_A, "Idempotency-Key", "k", NULL), 0);
    ck_assert_int_eq(box.reply.kind, API_REPLY_WAIT);
    ck_assert_str_eq(box.reply.key, "vm/a");
    ck_assert_int_ge(box.reply.deadline_ms, before + 5000);
    ck_assert_str_eq(box.woken, "vm/a");
    ck_assert(!box_poll(false));
    box_observe("a", VM_STARTING);
    ck_assert(!box_poll(false));
    box_observe("a", VM_RUNNING);
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 201);
    ck_assert_str_eq(box_string("state"), "running");
    ck_assert_str_eq(box_header("Location"), "/vms/a");
    ck_assert_ptr_nonnull(box_header("ETag"));
    /* The stored answer is the last one now. */
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k", NULL), 201);
    ck_assert_str_eq(box_string("state"), "running");
}
END_TEST

START_TEST(test_a_replay_while_the_first_waits)
{
    box_add_image("img");
    ck_assert_int_eq(box_send("POST", "/vms?wait=5", CREATE_A, "Idempotency-Key", "k", NULL), 0);
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k", NULL), 201);
    ck_assert_str_eq(box_string("state"), "creating");
    ck_assert_int_eq(box_send("POST", "/vms?wait=5", CREATE_A, "Idempotency-Key", "k", NULL), 0);
    box_observe("a", VM_RUNNING);
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 201);
    ck_assert_str_eq(box_string("state"), "running");
    ck_assert_str_eq(box_header("Location"), "/vms/a");
    ck_assert_str_eq(box_header("Idempotency-Replayed"), "true");
    ck_assert_int_eq(box_send("POST", "/vms?wait=5", CREATE_A, "Idempotency-Key", "k", NULL), 201); /* the last answer, which is stored now */
    ck_assert_str_eq(box_string("state"), "running");
    ck_assert_str_eq(box_header("Idempotency-Replayed"), "true");
}
END_TEST

START_TEST(test_a_replay_of_what_is_gone)
{
    box_add_image("img");
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k", NULL), 201);
    box_remove_vm("a");
    ck_assert_int_eq(box_send("POST", "/vms?wait=5", CREATE_A, "Idempotency-Key", "k", NULL), 201);
    ck_assert_str_eq(box_string("state"), "creating");
    box_add_vm("a", VM_RUNNING); /* of that name, but not that one */
    ck_assert_int_eq(box_send("POST", "/vms?wait=5", CREATE_A, "Idempotency-Key", "k", NULL), 201);
    ck_assert_str_eq(box_string("state"), "creating");
}
END_TEST

START_TEST(test_wait_ends_with_a_failure_or_the_time)
{
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms?wait=5", CREATE_A), 0);
    box_observe("a", VM_FAILED);
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 500);
    ck_assert_str_eq(box.reply.media_type, "application/problem+json");
    ck_assert_str_eq(box_string("code"), "VMM_FAILED");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "resource"), "state"), "failed");
    box_check_schema("Problem");
    ck_assert_int_eq(box_post("/vms?wait=5", "{\"id\":\"b\",\"image\":\"img\"}"), 0);
    ck_assert(box_poll(true));
    ck_assert_int_eq(box.reply.status, 202);
    ck_assert_str_eq(box_string("state"), "creating");
    box_check_schema("Vm");
}
END_TEST

START_TEST(test_wait_for_the_newest_wanted_state)
{
    struct api_reply waiting;
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_post("/vms/a/pause?wait=5", NULL), 0);
    waiting = box.reply;
    memset(&box.reply, 0, sizeof box.reply);
    ck_assert_int_eq(box_post("/vms/a/stop", NULL), 202); /* someone else */
    api_reply_free(&box.reply);
    box.reply = waiting;
    ck_assert(!box_poll(false));
    box_observe("a", VM_STOPPED);
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert_str_eq(box_string("state"), "stopped");
}
END_TEST

START_TEST(test_wait_for_a_deletion)
{
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_send("DELETE", "/vms/a?wait=5", NULL, NULL), 0);
    ck_assert(!box_poll(false));
    box_remove_vm("a");
    ck_assert_int_eq(box.reply.kind, API_REPLY_WAIT);
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 204);
    ck_assert_ptr_null(box.reply.body);
    box_add_vm("b", VM_RUNNING);
    ck_assert_int_eq(box_send("DELETE", "/vms/b?wait=5", NULL, NULL), 0);
    ck_assert(box_poll(true));
    ck_assert_int_eq(box.reply.status, 202);
    ck_assert_str_eq(box_string("state"), "deleting");
}
END_TEST

START_TEST(test_a_vm_that_is_deleted_while_it_is_waited_for)
{
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_post("/vms/a/pause?wait=5", NULL), 0);
    box_remove_vm("a");
    struct api_reply waiting = box.reply;
    memset(&box.reply, 0, sizeof box.reply);
    box_add_vm("a", VM_PAUSED); /* the same id, another VM */
    api_reply_free(&box.reply);
    box.reply = waiting;
    ck_assert(box_poll(false));
    box_check_problem(404, "NOT_FOUND");
}
END_TEST

START_TEST(test_nothing_to_wait_for)
{
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_send("PATCH", "/vms/a?wait=5", "{\"desired_state\":\"running\"}", NULL), 200);
    ck_assert_int_eq(box_post("/vms/a/pause?wait=0", NULL), 202);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/stop?wait=301", NULL, NULL);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/stop?wait=-1", NULL, NULL);
}
END_TEST

/* From now on, inserts or updates of this table fail. */
static void break_table(const char *operation, const char *table)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql, "CREATE TRIGGER broken_%s_%s BEFORE %s ON %s BEGIN SELECT RAISE(ABORT, 'broken'); END", operation, table, operation, table);
    box_change(sql);
}

/* Whatever refuses, in whatever step: all of the write is taken back, and nothing stays open. */
START_TEST(test_a_database_that_refuses)
{
    static const char *const tables[] = {"idempotency", "events", "interfaces", "leases"};
    box_add_vm("v", VM_RUNNING);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        int wakes = box.wake_count;
        break_table("INSERT", tables[i]);
        box_refused(503, "DATABASE", "POST", "/vms", "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"e\"}]}", "Idempotency-Key", "k",
                    NULL);
        ck_assert_int_eq(box.wake_count, wakes);
        ck_assert_int_eq(box_get("/vms/a"), 404);
    }
    box_refused(503, "DATABASE", "POST", "/images",
                "{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"i\",\"kernel\":{\"path\":\"/srv/img/k\"},"
                "\"rootfs\":{\"path\":\"/srv/img/r\"}}}",
                NULL);
    ck_assert_int_eq(box_get("/images/i"), 404);
    break_table("UPDATE", "vms");
    box_refused(503, "DATABASE", "POST", "/vms/v/pause", NULL, NULL);
    box_refused(503, "DATABASE", "DELETE", "/vms/v", NULL, NULL);
    ck_assert_int_eq(box_get("/vms/v"), 200);
    ck_assert_str_eq(box_string("desired_state"), "running");
    ck_assert_int_eq(json_get_int(box.json, "generation", 0), 1);
}
END_TEST

static void collect(const char *target, size_t expected_pages, size_t expected, const char *first, const char *last)
{
    char cursor[192] = "";
    char url[512];
    char seen_last[64] = "";
    size_t pages = 0;
    size_t total = 0;
    do {
        (void)snprintf(url, sizeof url, "%s%s%s", target, cursor[0] != '\0' ? "&cursor=" : "", cursor);
        ck_assert_int_eq(box_get(url), 200);
        box_check_schema("VmList");
        const json_t *items = json_object_get(box.json, "items");
        for (size_t i = 0; i < json_array_size(items); i++, total++) {
            const char *id = json_get_string(json_array_get(items, i), "id");
            ck_assert_msg(strcmp(id, seen_last) > 0, "%s after %s", id, seen_last);
            ck_assert(total > 0 || strcmp(id, first) == 0);
            (void)snprintf(seen_last, sizeof seen_last, "%s", id);
        }
        const char *next = box_string("next_cursor");
        (void)snprintf(cursor, sizeof cursor, "%s", next != NULL ? next : "");
        pages++;
    } while (cursor[0] != '\0' && pages < 100);
    ck_assert_uint_eq(total, expected);
    ck_assert_uint_eq(pages, expected_pages);
    ck_assert_str_eq(seen_last, last);
}

START_TEST(test_lists)
{
    char body[160];
    box_add_image("img");
    for (int i = 0; i < 600; i++) {
        (void)snprintf(body, sizeof body, "{\"id\":\"v%03d\",\"image\":\"img\",\"labels\":{\"n\":\"%d\",\"%s\":\"\"}}", i, i % 300,
                       i % 2 == 0 ? "even" : "odd");
        ck_assert_int_eq(box_post("/vms", body), 201);
    }
    for (int i = 0; i < 600; i += 300) {
        (void)snprintf(body, sizeof body, "v%03d", i);
        box_observe(body, VM_RUNNING);
    }
    collect("/vms?limit=100", 6, 600, "v000", "v599");
    collect("/vms?limit=1000", 1, 600, "v000", "v599");
    collect("/vms?limit=1&state=running", 2, 2, "v000", "v300");
    collect("/vms?limit=1&label=n%3D299", 2, 2, "v299", "v599"); /* pages of the store lie in between */
    collect("/vms?limit=100&label=even", 3, 300, "v000", "v598");
    collect("/vms?limit=9&label=even&label=n%3D2&state=creating", 1, 2, "v002", "v302");
    collect("/vms?limit=9&label=even&label=odd", 1, 0, "", "");
    ck_assert_int_eq(box_send("DELETE", "/vms/v300", NULL, NULL), 202);
    collect("/vms?limit=9&state=deleting", 1, 1, "v300", "v300");
    collect("/vms?limit=9&state=running", 1, 1, "v000", "v000");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_tags_that_match,
        test_if_match,
        test_the_same_key_and_request,
        test_the_same_key_and_another_request,
        test_an_error_is_not_stored,
        test_keys_of_actions,
        test_wait_for_a_create,
        test_a_replay_while_the_first_waits,
        test_a_replay_of_what_is_gone,
        test_wait_ends_with_a_failure_or_the_time,
        test_wait_for_the_newest_wanted_state,
        test_wait_for_a_deletion,
        test_a_vm_that_is_deleted_while_it_is_waited_for,
        test_nothing_to_wait_for,
        test_a_database_that_refuses,
        test_lists,
    };
    return box_run("api writes", tests, ARRAY_LEN(tests));
}
