/* Drift and repairs, as the API process answers for them. */
#include "tests/unit/api/api_box.h"

#include "db/tasks.h"

static const char item[] = "{\"resource\":\"/network\",\"operation\":\"apply_firewall\",\"description\":\"d\",\"found\":\"f\",\"waits_ms\":0}";

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

START_TEST(the_report_is_a_question)
{
    char text[512];
    ck_assert_int_eq(box_get("/drift"), 0);
    ck_assert_ptr_nonnull(strstr(box.reply.question, "\"question\":\"drift\""));
    (void)snprintf(text, sizeof text, "{\"answer\":{\"items\":[%s],\"total\":1}}", item);
    answer(text);
    ck_assert_int_eq(box.reply.status, 200);
    box_check_schema("Drift");
    (void)box_get("/drift");
    answer("{\"error\":{\"code\":\"UNAVAILABLE\",\"message\":\"too many\"}}");
    box_check_problem(503, "UNAVAILABLE");
    (void)box_get("/drift");
    answer(NULL);
    ck_assert_int_ge(box.reply.status, 500);
    ck_assert_int_eq(box.wake_count, 0);
}
END_TEST

START_TEST(a_repair_is_a_row_and_a_wake_up)
{
    char outcome[512];
    ck_assert_int_eq(box_post("/drift/repair", NULL), 201);
    box_check_schema("Repair");
    ck_assert_str_eq(box_string("state"), "pending");
    ck_assert_str_eq(box_header("Location"), "/drift/repairs/1");
    ck_assert_str_eq(box.woken, "task/1");
    (void)snprintf(outcome, sizeof outcome, "{\"found\":[%s],\"looks\":2,\"repaired\":[%s],\"remaining\":[]}", item, item);
    must(tasks_report(box.worker, 1, outcome, true, &box_error));
    ck_assert_int_eq(box_get("/drift/repairs/1"), 200);
    box_check_schema("Repair");
    ck_assert_str_eq(box_string("state"), "done");
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "repaired")), 1);
    box_refused(404, "NOT_FOUND", "GET", "/drift/repairs/2", NULL, NULL);
    box_refused(400, "INVALID_REQUEST", "GET", "/drift/repairs/0", NULL, NULL);
    box_refused(400, "INVALID_REQUEST", "GET", "/drift/repairs/9999999999999999999", NULL, NULL);
    box_refused(400, "INVALID_REQUEST", "POST", "/drift/repair?force=true", NULL, NULL);
}
END_TEST

START_TEST(a_repair_can_be_waited_for)
{
    ck_assert_int_eq(box_post("/drift/repair?wait=5", NULL), 0);
    ck_assert_int_eq(box.reply.kind, API_REPLY_WAIT);
    ck_assert_str_eq(box.reply.key, "task/1");
    ck_assert(!box.reply.ops->poll(box.api, &box.reply, false));
    must(tasks_report(box.worker, 1, "{\"repaired\":[],\"remaining\":[]}", true, &box_error));
    ck_assert(box.reply.ops->poll(box.api, &box.reply, false));
    box_read_reply();
    ck_assert_int_eq(box.reply.status, 201);
    ck_assert_str_eq(box_string("state"), "done");
    ck_assert_int_eq(box_post("/drift/repair?wait=5", NULL), 0);
    ck_assert(box.reply.ops->poll(box.api, &box.reply, true));
    box_read_reply();
    ck_assert_int_eq(box.reply.status, 202);
    ck_assert_str_eq(box_string("state"), "pending");
}
END_TEST

static void count_pending(int64_t id, void *ctx)
{
    (void)id;
    ++*(int *)ctx;
}

START_TEST(the_oldest_repairs_go)
{
    int pending = 0;
    int64_t id = 0;
    must(db_begin(box.db, &box_error));
    for (int i = 0; i < LIMIT_TASKS + 5; i++) {
        must(tasks_insert(box.db, TASK_REPAIR, "", &id, &box_error));
    }
    must(db_commit(box.db, &box_error));
    box_refused(404, "NOT_FOUND", "GET", "/drift/repairs/5", NULL, NULL);
    ck_assert_int_eq(box_get("/drift/repairs/6"), 200);
    must(tasks_report(box.worker, 6, "{}", true, &box_error));
    must(tasks_each_pending(box.worker, count_pending, &pending, &box_error));
    ck_assert_int_eq(pending, LIMIT_TASKS - 1);
}
END_TEST

START_TEST(a_key_makes_one_repair)
{
    ck_assert_int_eq(box_send("POST", "/drift/repair", NULL, "Idempotency-Key", "k", NULL), 201);
    ck_assert_int_eq(box_send("POST", "/drift/repair", NULL, "Idempotency-Key", "k", NULL), 201);
    ck_assert_str_eq(box_string("id"), "1");
    ck_assert_int_eq(box.wake_count, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api drift");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, box_open, box_close);
    tcase_add_test(tests, the_report_is_a_question);
    tcase_add_test(tests, a_repair_is_a_row_and_a_wake_up);
    tcase_add_test(tests, a_repair_can_be_waited_for);
    tcase_add_test(tests, the_oldest_repairs_go);
    tcase_add_test(tests, a_key_makes_one_repair);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
