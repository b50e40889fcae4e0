/* Dry runs, as the API process answers them: what it asks the worker for, what it makes of the answer, and that nothing is stored. */
#include "tests/unit/api/api_box.h"

#include "core/memory_file.h"
#include "core/plan_wish.h"
#include "db/events.h"

static struct plan_wish wish;

static void setup(void)
{
    box_open();
    box_add_image("img");
}

static void teardown(void)
{
    plan_wish_free(&wish);
    box_close();
}

static void answer(const char *text)
{
    json_t *message = NULL;
    ck_assert_int_eq(box.reply.kind, API_REPLY_ASK);
    if (text != NULL) {
        must(json_parse(text, strlen(text), &message, &box_error));
    }
    box.reply.ops->answer(box.api, &box.reply, message, -1);
    json_decref(message);
    box_read_reply();
}

/* The question for a plan, whose wish the worker could read. */
static void read_wish(void)
{
    AUTO_FREE uint8_t *data = NULL;
    size_t len = 0;
    plan_wish_free(&wish);
    ck_assert_int_eq(box.reply.kind, API_REPLY_ASK);
    ck_assert_ptr_nonnull(strstr(box.reply.question, "\"question\":\"plan\""));
    ck_assert(box.reply.has_question_fd);
    must(memory_file_read(box.reply.question_fd, PLAN_WISH_BYTES_MAX, &data, &len, &box_error));
    must(record_read(&plan_wish_record, data, len, &wish, NULL, NULL, &box_error));
}

static const char planned[] = "{\"answer\":{\"operations\":[{\"resource\":\"/vms/a\",\"operation\":\"spawn_vmm\",\"target\":\"\",\"description\":\"d\","
                              "\"found\":\"\"}],\"notes\":[\"n\"]}}";

static const json_t *plan(void)
{
    return json_object_get(box.json, "plan");
}

static int64_t events(void)
{
    struct event_row *rows = NULL;
    size_t count = 0;
    must(events_list(box.db, 0, 1000, &rows, &count, &box_error));
    events_list_free(rows, count);
    return (int64_t)count;
}

START_TEST(a_creation)
{
    const int64_t before = events();
    ck_assert_int_eq(box_post("/vms?dry_run=true", "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}]}"), 0);
    read_wish();
    ck_assert_uint_eq(wish.vm_count, 1);
    ck_assert_str_eq(wish.vms->id, "a");
    ck_assert_int_eq(wish.vms->desired, VM_WANT_RUNNING);
    ck_assert_uint_eq(wish.vms->interface_count, 1);
    answer(planned);
    ck_assert_int_eq(box.reply.status, 200);
    box_check_schema("Vm");
    ck_assert_int_eq(json_get_int(plan(), "status", 0), 201);
    ck_assert(json_get_bool(plan(), "changes", false));
    ck_assert_uint_eq(json_array_size(json_object_get(plan(), "operations")), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(plan(), "notes")), 1);
    ck_assert_ptr_null(box_header("Location"));
    ck_assert_ptr_null(box_header("ETag"));
    ck_assert_int_eq(box_get("/vms/a"), 404);
    ck_assert_int_eq(events(), before);
    ck_assert_int_eq(box.wake_count, 0);
}
END_TEST

START_TEST(a_change_and_a_deletion)
{
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"desired_state\":\"stopped\"}"), 201);
    box_observe("a", VM_STOPPED);
    (void)box_get("/vms/a");
    char etag[96];
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    box.wake_count = 0;
    ck_assert_int_eq(box_post("/vms/a/start?dry_run=true", NULL), 0);
    read_wish();
    ck_assert_int_eq(wish.vms->boot_wanted, 2);
    answer(planned);
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert_str_eq(box_string("desired_state"), "running");
    ck_assert_int_eq(json_get_int(plan(), "status", 0), 202);
    ck_assert_int_eq(strncmp(box_header("ETag"), etag, strcspn(etag, ".")), 0); /* of what there is now */
    ck_assert_int_eq(box_send("DELETE", "/vms/a?dry_run=true", NULL, "If-Match", etag, NULL), 0);
    read_wish();
    ck_assert(wish.vms->deleting);
    answer(planned);
    ck_assert_str_eq(box_string("state"), "deleting");
    (void)box_get("/vms/a");
    ck_assert_str_eq(box_string("state"), "stopped");
    ck_assert_str_eq(box_header("ETag"), etag);
    ck_assert_int_eq(box.wake_count, 0);
}
END_TEST

START_TEST(what_is_so_already_needs_no_worker)
{
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"desired_state\":\"stopped\"}"), 201);
    box_observe("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a?dry_run=true", "{\"desired_state\":\"stopped\"}", NULL), 200);
    box_check_schema("Vm");
    ck_assert(!json_get_bool(plan(), "changes", true));
    ck_assert_uint_eq(json_array_size(json_object_get(plan(), "operations")), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(plan(), "notes")), 1);
    ck_assert_int_eq(json_get_int(plan(), "status", 0), 200);
}
END_TEST

START_TEST(refused_as_the_true_one)
{
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"desired_state\":\"stopped\"}"), 201);
    box_refused(409, "ALREADY_EXISTS", "POST", "/vms?dry_run=true", "{\"id\":\"a\",\"image\":\"img\"}", NULL);
    box_refused(412, "PRECONDITION_FAILED", "DELETE", "/vms/a?dry_run=true", NULL, "If-Match", "\"1-77\"", NULL);
    box_refused(404, "NOT_FOUND", "POST", "/vms/b/start?dry_run=true", NULL, NULL);
    box_refused(400, "INVALID_CONFIG", "POST", "/vms?dry_run=true", "{\"image\":\"img\",\"unknown\":1}", NULL);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms?dry_run=perhaps", "{\"image\":\"img\"}", NULL);
    box_refused(400, "INVALID_REQUEST", "GET", "/vms?dry_run=true", NULL, NULL);
}
END_TEST

START_TEST(a_worker_that_has_no_plan)
{
    ck_assert_int_eq(box_post("/vms?dry_run=true", "{\"id\":\"a\",\"image\":\"img\"}"), 0);
    answer("{\"error\":{\"code\":\"UNAVAILABLE\",\"message\":\"it is worked on\"}}");
    box_check_problem(503, "UNAVAILABLE");
    ck_assert_int_eq(box_post("/vms?dry_run=true", "{\"id\":\"a\",\"image\":\"img\"}"), 0);
    answer(NULL);
    ck_assert_int_ge(box.reply.status, 500);
    ck_assert_int_eq(box_post("/vms?dry_run=true", "{\"id\":\"a\",\"image\":\"img\"}"), 0); /* a client that leaves */
}
END_TEST

START_TEST(a_key_is_neither_kept_nor_used)
{
    static const char body[] = "{\"id\":\"a\",\"image\":\"img\",\"desired_state\":\"stopped\"}";
    ck_assert_int_eq(box_send("POST", "/vms?dry_run=true", body, "Idempotency-Key", "k", NULL), 0);
    answer(planned);
    ck_assert_int_eq(box_send("POST", "/vms", body, "Idempotency-Key", "k", NULL), 201);
    ck_assert_ptr_null(box_header("Idempotency-Replayed"));
    box_refused(409, "ALREADY_EXISTS", "POST", "/vms?dry_run=true", body, "Idempotency-Key", "k", NULL);
    ck_assert_int_eq(box_send("POST", "/vms?dry_run=false", body, "Idempotency-Key", "k2", NULL), 409);
}
END_TEST

/* What only the worker can tell is asked first; the plan is a second question. */
START_TEST(after_another_question)
{
    ck_assert_int_eq(box_post("/images?dry_run=true", "{\"manifest_path\":\"/srv/img/m.json\"}"), 0);
    ck_assert_ptr_nonnull(strstr(box.reply.question, "read_manifest"));
    answer("{\"answer\":{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"b\",\"kernel\":{\"path\":\"k\"},\"rootfs\":{\"path\":\"r\"}}}}");
    read_wish();
    ck_assert_uint_eq(wish.image_count, 1);
    ck_assert_str_eq(wish.images->id, "b");
    answer(planned);
    ck_assert_int_eq(box.reply.status, 200);
    box_check_schema("Image");
    ck_assert_int_eq(box_get("/images/b"), 404);
}
END_TEST

START_TEST(policies_and_sets)
{
    ck_assert_int_eq(box_send("PUT", "/firewall/sets/office?dry_run=true", "{\"addresses\":[\"192.0.2.0/24\"]}", NULL), 0);
    read_wish();
    ck_assert_str_eq(wish.sets->name, "office");
    ck_assert_ptr_nonnull(wish.sets->text);
    answer(planned);
    box_check_schema("AddressSet");
    ck_assert_int_eq(box_get("/firewall/sets/office"), 404);
    ck_assert_int_eq(box_send("PUT", "/firewall/sets/office", "{\"addresses\":[]}", NULL), 202);
    ck_assert_int_eq(box_send("DELETE", "/firewall/sets/office?dry_run=true", NULL, NULL), 0);
    read_wish();
    ck_assert_str_eq(wish.sets->name, "office");
    ck_assert_ptr_null(wish.sets->text);
    answer(planned);
    box_check_schema("Planned");
    ck_assert_int_eq(json_get_int(plan(), "status", 0), 204);
    ck_assert_int_eq(box_get("/firewall/sets/office"), 200);
    ck_assert_int_eq(box_send("PUT", "/firewall?dry_run=true", "{\"egress\":{\"default_action\":\"deny\",\"rules\":[]}}", NULL), 0);
    read_wish();
    ck_assert_int_eq(wish.policies->vm_uid, FIREWALL_HOST);
    ck_assert_ptr_nonnull(strstr(wish.policies->text, "deny"));
}
END_TEST

START_TEST(a_repair)
{
    ck_assert_int_eq(box_post("/drift/repair?dry_run=true", NULL), 0);
    read_wish();
    ck_assert(wish.repair);
    answer(planned);
    box_check_schema("Repair");
    ck_assert_int_eq(box_get("/drift/repairs/1"), 404);
    ck_assert_int_eq(box_send("POST", "/drift/repair", NULL, "If-Match", "\"x\"", NULL), 201); /* it has no version: conditions mean nothing */
    ck_assert_str_eq(box_string("id"), "1");                                                   /* the number was not used up */
    ck_assert_ptr_null(plan());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dry_run");
    TCase *tcase = tcase_create("dry_run");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_creation);
    tcase_add_test(tcase, a_change_and_a_deletion);
    tcase_add_test(tcase, what_is_so_already_needs_no_worker);
    tcase_add_test(tcase, refused_as_the_true_one);
    tcase_add_test(tcase, a_worker_that_has_no_plan);
    tcase_add_test(tcase, a_key_is_neither_kept_nor_used);
    tcase_add_test(tcase, after_another_question);
    tcase_add_test(tcase, policies_and_sets);
    tcase_add_test(tcase, a_repair);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
