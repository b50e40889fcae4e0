/* Events that can't be stored at once are stored later, in order (worker/telling.h); news of a TAP wait for their look-up (worker/news.h). */
#include "worker/telling.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "db/events.h"
#include "db/images.h"
#include "db/vms.h"
#include "tests/unit/worker/border/keeper_box.h"
#include "worker/news.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct keeper_box box;
static struct worker worker;
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    keeper_box_open(&box);
    memset(&worker, 0, sizeof worker);
    worker.api_socket = -1;
    worker.border = box.border;
    must(queue_new(&worker.queue, &err));
    must(telling_new(&worker.telling, &err));
}

static void teardown(void)
{
    telling_free(worker.telling);
    queue_free(worker.queue);
    keeper_box_close(&box);
}

static void run_sql(const char *sql)
{
    sqlite3 *raw = NULL;
    ck_assert_int_eq(SQLITE_OK, sqlite3_open(box.path, &raw));
    ck_assert_int_eq(SQLITE_OK, sqlite3_exec(raw, sql, NULL, NULL, NULL));
    (void)sqlite3_close(raw);
}

static void refuse_events(void)
{
    run_sql("CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END");
}

static void accept_events(void)
{
    run_sql("DROP TRIGGER refuse");
}

/* The data of the event at this place, parsed; *ret_count of all. */
static json_t *stored(size_t at, size_t *ret_count)
{
    struct event_row *rows = NULL;
    json_t *data = NULL;
    must(events_list(box.own, 0, 1000, &rows, ret_count, &err));
    if (at < *ret_count) {
        must(json_parse(rows[at].data, strlen(rows[at].data), &data, &err));
    }
    events_list_free(rows, *ret_count);
    return data;
}

START_TEST(an_event_is_stored)
{
    size_t count = 0;
    tell_event(&worker, EVENT_NETWORK_REPAIRED, "vm", "web", "operation", "repair_tap", "found", "a \"quote\", a \\, a\nline, \xc3\xbc", "ready?", "true",
               NULL);
    AUTO_JSON *data = stored(0, &count);
    ck_assert_uint_eq(1, count);
    ck_assert_str_eq("repair_tap", json_get_string(data, "operation"));
    ck_assert_str_eq("a \"quote\", a \\, a\nline, \xc3\xbc", json_get_string(data, "found"));
    ck_assert(json_get_bool(data, "ready", false));
}
END_TEST

START_TEST(what_can_not_be_stored_waits_in_order)
{
    char number[16];
    size_t count = 0;
    refuse_events();
    for (int i = 0; i < 5; i++) {
        (void)snprintf(number, sizeof number, "%d", i);
        tell_event(&worker, EVENT_NETWORK_REPAIRED, "network", "", "number", number, NULL);
    }
    ck_assert_int_eq(-1, tell_waiting(&worker, &err));
    json_decref(stored(0, &count));
    ck_assert_uint_eq(0, count);
    accept_events();
    must(tell_waiting(&worker, &err));
    for (size_t i = 0; i < 5; i++) {
        AUTO_JSON *data = stored(i, &count);
        (void)snprintf(number, sizeof number, "%zu", i);
        ck_assert_str_eq(number, json_get_string(data, "number"));
    }
    ck_assert_uint_eq(5, count);
}
END_TEST

START_TEST(the_queue_is_asked_to_try_again)
{
    char key[QUEUE_KEY_MAX];
    refuse_events();
    tell_event(&worker, EVENT_NETWORK_REPAIRED, "network", "", NULL);
    ck_assert(queue_take(worker.queue, key));
    ck_assert_str_eq("events", key);
    queue_done(worker.queue, key, false);
}
END_TEST

START_TEST(the_newest_are_kept)
{
    char number[16];
    size_t count = 0;
    refuse_events();
    for (int i = 0; i < EVENTS_KEPT + 3; i++) {
        (void)snprintf(number, sizeof number, "%d", i);
        tell_event(&worker, EVENT_NETWORK_REPAIRED, "network", "", "number", number, NULL);
    }
    accept_events();
    must(tell_waiting(&worker, &err));
    AUTO_JSON *first = stored(0, &count);
    ck_assert_uint_eq(EVENTS_KEPT, count);
    ck_assert_str_eq("3", json_get_string(first, "number"));
}
END_TEST

/* Each length around the bound, of characters that grow, and of characters of several bytes: it stays JSON. */
START_TEST(long_data_is_cut_off_and_stays_json)
{
    static const char *const parts[] = {"x", "\"", "\n", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x90\xa7"};
    AUTO_FREE char *text = calloc(1, (size_t)2 * EVENT_DATA_MAX * 4 + 1);
    ck_assert_ptr_nonnull(text);
    for (size_t n = EVENT_DATA_MAX / 8; n < EVENT_DATA_MAX + 8; n += n < EVENT_DATA_MAX - 80 ? 97 : 1) {
        size_t count = 0;
        text[0] = '\0';
        const size_t len = strlen(parts[_i]);
        for (size_t i = 0; i < n; i++) {
            memcpy(text + i * len, parts[_i], len + 1);
        }
        tell_event(&worker, EVENT_NETWORK_REPAIRED, "network", "", "found", text, "done", "it is", NULL);
        json_decref(stored(0, &count));
        AUTO_JSON *data = stored(count - 1, &count);
        ck_assert(json_is_object(data));
    }
}
END_TEST

static void add_vm(void)
{
    struct image_row image = {.id = strdup("image"), .manifest = strdup("{}")};
    struct vm_row row = {.id = strdup("web"), .observed = strdup("{}")};
    row.config = (struct vm_config){.image = strdup("image"),
                                    .machine = {1, 64},
                                    .boot_args = strdup(""),
                                    .interfaces = {{"eth0"}},
                                    .interface_count = 1,
                                    .limits = {.cpu_weight = VM_CPU_WEIGHT_DEFAULT}};
    row.interfaces = calloc(1, sizeof *row.interfaces);
    row.interface_count = 1;
    row.interfaces[0].iface_id = strdup("eth0");
    row.interfaces[0].address = 0x0a000002;
    memcpy(row.interfaces[0].tap, "svbr0t2", 8);
    must(db_begin(box.own, &err));
    must(images_insert(box.own, &image, &err));
    must(vms_insert(box.own, &row, &err));
    must(db_commit(box.own, &err));
    image_row_free(&image);
    vm_row_free(&row);
}

START_TEST(a_look_up_that_fails_is_tried_again)
{
    char key[QUEUE_KEY_MAX];
    add_vm();
    run_sql("ALTER TABLE interfaces RENAME TO away");
    ck_assert_int_eq(-1, news_of_tap(&worker, "svbr0t2", &err));
    run_sql("ALTER TABLE away RENAME TO interfaces");
    must(news_of_tap(&worker, "svbr0t2", &err));
    ck_assert(queue_take(worker.queue, key));
    ck_assert_str_eq("vm/web", key);
    queue_done(worker.queue, key, false);
    must(news_of_tap(&worker, "svbr0t3", &err)); /* nobody's */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("telling");
    TCase *tcase = tcase_create("telling");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, an_event_is_stored);
    tcase_add_test(tcase, what_can_not_be_stored_waits_in_order);
    tcase_add_test(tcase, the_queue_is_asked_to_try_again);
    tcase_add_test(tcase, the_newest_are_kept);
    tcase_add_test(tcase, a_look_up_that_fails_is_tried_again);
    tcase_add_loop_test(tcase, long_data_is_cut_off_and_stays_json, 0, 6);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
