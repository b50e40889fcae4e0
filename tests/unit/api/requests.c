/* Requests as such: targets, routes, media types, bodies, parameters, and how they are refused. */
#include "tests/unit/api/api_box.h"

#include "api/handlers.h"
#include "api/json_out.h"
#include "api/spec/target.h"
#include "core/limits.h"

#include <stdlib.h>

START_TEST(test_every_operation_has_a_handler)
{
    /* api_new() holds the table against the document; what it was given is the real one. */
    ck_assert_uint_eq(spec_operation_count(box.spec), box.api->route_count);
    for (size_t i = 0; i < box.api->route_count; i++) {
        ck_assert_str_eq(box.api->routes[i].handler->operation, box.api->routes[i].operation->id);
    }
}
END_TEST

START_TEST(test_a_document_with_other_operations_is_refused)
{
    static const char *const documents[] = {
        "openapi: 3.1.0\ninfo: {title: t, version: '1'}\npaths:\n  /a:\n    get:\n      operationId: nobody\n"
        "      responses: {default: {description: d}}\n",
        "openapi: 3.1.0\ninfo: {title: t, version: '1'}\npaths:\n  /a:\n    get:\n      operationId: "
        "getHealth\n"
        "      responses: {default: {description: d}}\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        struct spec *spec = NULL;
        struct api *api = NULL;
        must(spec_load(documents[i], strlen(documents[i]), &spec, &box_error));
        struct api_setup setup = {spec, documents[i], strlen(documents[i]), box.db, &box.config, box_wake, &box};
        ck_assert_int_eq(api_new(&setup, &api, &box_error), -1);
        ck_assert_int_eq(box_error.code, ERR_INTERNAL);
        spec_free(spec);
    }
}
END_TEST

START_TEST(test_broken_targets)
{
    static const char *const broken[] = {"vms",       "ftp://h/vms",    "*",
                                         "",          "/vms/%",         "/vms/%4",
                                         "/vms/%zz",  "/vms/%00",       "/vms/a%2Fb",
                                         "/vms/..",   "/vms/%2e%2e",    "/vms/.",
                                         "/vms/%ff",  "/vms/%c0%af",    "/vms/%ed%a0%80",
                                         "/vms/%0a",  "/vms/a b",       "/vms/\xc3\xa4",
                                         "/vms#x",    "/vms?label=%f8", "/vms?label=%7f",
                                         "/vms?%zz=1"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        (void)box_get(broken[i]);
        ck_assert_msg(box.reply.status == 400, "%s: %d", broken[i], box.reply.status);
        box_check_problem(400, "BAD_REQUEST");
    }
}
END_TEST

START_TEST(test_targets_of_nothing)
{
    static const char *const unknown[] = {"/", "//", "/vms/", "/vm", "/vms//start", "/vms/a/", "/vms/a/b/c", "/1/2/3/4/5/6/7/8/9", "/%76ms/a/started", "/VMS"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        (void)box_get(unknown[i]);
        ck_assert_msg(box.reply.status == 404, "%s: %d", unknown[i], box.reply.status);
        box_check_problem(404, "NOT_FOUND");
    }
    ck_assert_int_eq(box_get("/%76ms"), 200); /* another spelling of /vms */
}
END_TEST

START_TEST(test_target_at_and_over_its_limit)
{
    char target[LIMIT_TARGET_BYTES + 2];
    int start = snprintf(target, sizeof target, "/vms?cursor=");
    memset(target + start, 'a', sizeof target - (size_t)start);
    target[sizeof target - 1] = '\0'; /* one over */
    (void)box_get(target);
    box_check_problem(414, "URI_TOO_LONG");
    target[sizeof target - 2] = '\0';
    (void)box_get(target);
    box_check_problem(400, "INVALID_REQUEST"); /* a cursor is not that long, but the target may be */
}
END_TEST

START_TEST(test_query_parameters)
{
    box_refused(400, "INVALID_REQUEST", "GET", "/vms?colour=red", NULL, NULL);
    ck_assert_str_eq(box_fault(0), "colour");
    box_refused(400, "INVALID_REQUEST", "GET", "/vms?limit=0&state=happy", NULL, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "errors")), 2);
    box_refused(400, "INVALID_REQUEST", "GET", "/vms?limit=1&limit=2", NULL, NULL);
    AUTO_STRBUF many = STRBUF_INIT;
    strbuf_add(&many, "/vms?limit=1");
    for (size_t i = 0; i < LIMIT_QUERY_PARAMETERS; i++) {
        strbuf_add(&many, "&label=a");
    }
    box_refused(400, "BAD_REQUEST", "GET", many.data, NULL, NULL);
    ck_assert_int_eq(box_get("/vms?&&limit=1&"), 200);
}
END_TEST

START_TEST(test_query_is_decoded)
{
    struct target target;
    must(target_parse("/a%20b/c+d?x=1+2&y%3d=%2B&z", &target, &box_error));
    ck_assert_uint_eq(target.segment_count, 2);
    ck_assert_str_eq(target.segments[0], "a b");
    ck_assert_str_eq(target.segments[1], "c+d");
    ck_assert_uint_eq(target.query_count, 3);
    ck_assert_str_eq(target.query[0].value, "1 2");
    ck_assert_str_eq(target.query[1].name, "y=");
    ck_assert_str_eq(target.query[1].value, "+");
    ck_assert_str_eq(target.query[2].value, "");
    target_free(&target);
}
END_TEST

START_TEST(test_methods)
{
    box_refused(405, "METHOD_NOT_ALLOWED", "DELETE", "/vms", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(box_header("Allow"), "GET"));
    ck_assert_ptr_nonnull(strstr(box_header("Allow"), "POST"));
    box_refused(501, "NOT_IMPLEMENTED", "BREW", "/healthz", NULL, NULL);
    ck_assert_int_eq(box_send("HEAD", "/healthz", NULL, NULL), 200);
    ck_assert_int_eq(box_send("HEAD", "/events", NULL, NULL), 200);
    ck_assert_int_eq(box.reply.kind, API_REPLY_STREAM); /* the listener sends its head alone */
}
END_TEST

START_TEST(test_media_types)
{
    static const char *const good[] = {"application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=\"UTF-8\""};
    static const char *const bad[] = {"text/plain", "application/x-www-form-urlencoded",    "application/jsonp",
                                      "",           "application/json; charset=iso-8859-1", "application/problem+json"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        box_refused(409, "IMAGE_NOT_FOUND", "POST", "/vms", "{\"image\":\"none\"}", "Content-Type", good[i], NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/vms", "{\"image\":\"none\"}", "Content-Type", bad[i], NULL);
        ck_assert_str_eq(box_header("Accept-Post"), "application/json");
    }
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "PATCH", "/vms/a", "{}", "Content-Type", "text/plain", NULL);
    ck_assert_str_eq(box_header("Accept-Patch"), "application/json, application/merge-patch+json");
}
END_TEST

START_TEST(test_broken_bodies)
{
    static const char *const broken[] = {
        "{", "{\"image\":\"a\",\"image\":\"b\"}", "{\"image\":\"a\\u0000\"}", "{\"image\":\"\xff\"}", "{} {}", "{\"image\":'a'}"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        box_refused(400, "INVALID_JSON", "POST", "/vms", broken[i], NULL);
    }
    char deep[2 * LIMIT_JSON_DEPTH + 8];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    box_refused(400, "INVALID_JSON", "POST", "/vms", deep, NULL);
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", NULL, NULL); /* none at all */
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", "[]", NULL);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/start", "{\"a\":1}", NULL); /* takes none */
    box_refused(400, "INVALID_REQUEST", "GET", "/vms", "{}", NULL);
}
END_TEST

START_TEST(test_all_faults_of_a_body_at_once)
{
    box_refused(400, "INVALID_CONFIG", "POST", "/vms?wait=999",
                "{\"image\":1,\"id\":\"A\",\"colour\":1,\"machine_config\":{\"vcpu_count\":3},"
                "\"network_interfaces\":[{\"iface_id\":\"e\"},{\"iface_id\":\"e\"},{\"iface_id\":\"/\"}]}",
                NULL);
    static const char *const pointers[] = {
        "wait", "/image", "/id", "/colour", "/machine_config/vcpu_count", "/network_interfaces/1/iface_id", "/network_interfaces/2/iface_id"};
    size_t found = 0;
    for (size_t i = 0; i < ARRAY_LEN(pointers); i++) {
        for (size_t j = 0; j < json_array_size(json_object_get(box.json, "errors")); j++) {
            found += strcmp(box_fault(j), pointers[i]) == 0;
        }
    }
    ck_assert_uint_eq(found, ARRAY_LEN(pointers));
}
END_TEST

START_TEST(test_many_faults_are_bounded)
{
    AUTO_STRBUF body = STRBUF_INIT;
    strbuf_add(&body, "{\"image\":\"a\"");
    for (int i = 0; i < 3 * LIMIT_JSON_ERRORS; i++) {
        strbuf_addf(&body, ",\"x%d\":1", i);
    }
    strbuf_add(&body, "}");
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", body.data, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "errors")), LIMIT_JSON_ERRORS);
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "at least"));
}
END_TEST

START_TEST(test_body_sizes)
{
    size_t len = LIMIT_BODY_BYTES + 1;
    static char body[LIMIT_BODY_BYTES + 2];
    memset(body, ' ', len);
    body[len] = '\0';
    memcpy(body, "{\"image\":\"a\"}", 13);
    (void)box_send_bytes("POST", "/vms", body, len, (const char *const[]){NULL});
    box_check_problem(413, "PAYLOAD_TOO_LARGE");
    (void)box_send_bytes("POST", "/vms", body, len - 1, (const char *const[]){NULL});
    box_check_problem(409, "IMAGE_NOT_FOUND");
    struct api_request request = {.method = "POST", .target = "/vms", .body_too_large = true, .request_id = "test-1"};
    api_reply_free(&box.reply);
    api_handle(box.api, &request, &box.reply);
    box_read_reply();
    box_check_problem(413, "PAYLOAD_TOO_LARGE");
}
END_TEST

START_TEST(test_headers)
{
    struct api_header headers[LIMIT_HEADERS + 1];
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        headers[i] = (struct api_header){"X-Any", "value"};
    }
    struct api_request request = {.method = "GET", .target = "/healthz", .headers = headers, .header_count = LIMIT_HEADERS, .request_id = "test-1"};
    api_reply_free(&box.reply);
    api_handle(box.api, &request, &box.reply);
    ck_assert_int_eq(box.reply.status, 200);
    request.header_count++;
    api_reply_free(&box.reply);
    api_handle(box.api, &request, &box.reply);
    box_read_reply();
    box_check_problem(431, "HEADERS_TOO_LARGE");
    box_refused(400, "INVALID_REQUEST", "POST", "/vms", "{\"image\":\"a\"}", "Idempotency-Key", "a b", NULL);
    ck_assert_str_eq(box_fault(0), "Idempotency-Key");
}
END_TEST

START_TEST(test_the_listeners_own_problem)
{
    struct api_request request = {.method = "GET", .target = "/", .request_id = "test-1"};
    api_reply_free(&box.reply);
    api_reply_problem(box.api, &box.reply, &request, ERR_UNAVAILABLE, "too \"many\"\n");
    box_read_reply();
    box_check_problem(503, "UNAVAILABLE");
    ck_assert_str_eq(box_string("detail"), "too \"many\"\n");
}
END_TEST

START_TEST(test_json_writing)
{
    AUTO_STRBUF b = STRBUF_INIT;
    json_out_string(&b, "a\"b\\c\b\f\n\r\t\x01\x1f\x7f \xc3\xa4/");
    ck_assert_str_eq(b.data, "\"a\\\"b\\\\c\\b\\f\\n\\r\\t\\u0001\\u001f\x7f \xc3\xa4/\"");
    strbuf_reset(&b);
    json_out_int(&b, INT64_MIN);
    json_out_int(&b, 0);
    json_out_int(&b, INT64_MAX);
    json_out_string(&b, NULL);
    ck_assert_str_eq(b.data, "-922337203685477580809223372036854775807null");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_every_operation_has_a_handler,
        test_a_document_with_other_operations_is_refused,
        test_broken_targets,
        test_targets_of_nothing,
        test_target_at_and_over_its_limit,
        test_query_parameters,
        test_query_is_decoded,
        test_methods,
        test_media_types,
        test_broken_bodies,
        test_all_faults_of_a_body_at_once,
        test_many_faults_are_bounded,
        test_body_sizes,
        test_headers,
        test_the_listeners_own_problem,
        test_json_writing,
    };
    return box_run("api requests", tests, ARRAY_LEN(tests));
}
