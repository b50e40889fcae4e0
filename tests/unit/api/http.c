/* What HTTP asks of every resource (RFC 9110): methods, conditions, codings and media types, and what a body may leave out. */
#include "tests/unit/api/api_box.h"

#include "api/vm/label_selector.h"
#include "db/network.h"

#define CREATE_A "{\"id\":\"a\",\"image\":\"img\"}"

START_TEST(test_methods)
{
    ck_assert_int_eq(box_send("OPTIONS", "/vms/a", NULL, NULL), 204);
    ck_assert_str_eq(box_header("Allow"), "GET, HEAD, PATCH, DELETE, OPTIONS");
    ck_assert_int_eq(box_send("OPTIONS", "/vms/a/start", NULL, NULL), 204);
    ck_assert_str_eq(box_header("Allow"), "POST, OPTIONS");
    ck_assert_int_eq(box_send("OPTIONS", "*", NULL, NULL), 204);
    ck_assert_str_eq(box_header("Allow"), "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS");
    ck_assert_ptr_null(box.reply.body);
    box_refused(404, "NOT_FOUND", "OPTIONS", "/nothing", NULL, NULL);
    box_refused(405, "METHOD_NOT_ALLOWED", "PUT", "/vms/a", "{}", NULL);
    ck_assert_str_eq(box_header("Allow"), "GET, HEAD, PATCH, DELETE, OPTIONS");
    box_refused(405, "METHOD_NOT_ALLOWED", "TRACE", "/vms/a", NULL, NULL);
    ck_assert_str_eq(box_header("Allow"), "GET, HEAD, PATCH, DELETE, OPTIONS");
    static const char *const unknown[] = {"BREW", "LINK", "CONNECT", "get", "PROPFIND"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        box_refused(501, "NOT_IMPLEMENTED", unknown[i], i == 2 ? "host:80" : "/vms", NULL, NULL);
    }
}
END_TEST

START_TEST(test_forms_of_targets)
{
    static const char *const good[] = {"http://localhost/healthz", "HTTP://a.example:80/healthz", "https://[::1]:8/healthz", "http://%2Frun%2Fx.sock/healthz"};
    static const char *const bad[] = {
        "http:///healthz", "http://user@host/healthz", "http://:80/healthz", "ftp://a/healthz", "*", "a/healthz", "http:/healthz", "", "http://a b/healthz"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(box_get(good[i]) == 200, "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        box_refused(400, "BAD_REQUEST", "GET", bad[i], NULL, NULL);
    }
    box_refused(404, "NOT_FOUND", "GET", "http://localhost", NULL, NULL);
    box_refused(404, "NOT_FOUND", "GET", "http://localhost?a=b", NULL, NULL);
    ck_assert_int_eq(box_get("http://localhost/vms?limit=1"), 200);
    box_refused(404, "NOT_FOUND", "GET", "/vms/", NULL, NULL);
    box_refused(404, "NOT_FOUND", "GET", "//vms", NULL, NULL);
    box_refused(400, "BAD_REQUEST", "GET", "/vms%2Fa", NULL, NULL);
}
END_TEST

START_TEST(test_content_encoding)
{
    box_add_vm("a", VM_RUNNING);
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "PATCH", "/vms/a", "{\"autostart\":true}", "Content-Encoding", "gzip", NULL);
    ck_assert_str_eq(box_header("Accept-Encoding"), "identity");
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/vms/a/stop", "{}", "Content-Encoding", "gzip, identity", NULL);
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/vms/a/console", "x", "Content-Type", "text/plain", "Content-Encoding", "br", NULL);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"autostart\":true}", "Content-Encoding", "identity", NULL), 200);
    ck_assert_int_eq(box_send("GET", "/vms/a", NULL, "Content-Encoding", "gzip", NULL), 200); /* of no body */
}
END_TEST

/* Clients that send `{}` with every POST, with and without saying that it is JSON. */
START_TEST(test_bodies_that_say_nothing)
{
    static const struct {
        const char *body;
        const char *type;
    } rows[] = {{"{}", "application/json"}, {" {\r\n\t} ", "application/json; charset=UTF-8"}, {"{}", ""}, {"", "application/json"}};
    static const char *const actions[] = {"pause", "resume", "stop", "start", "kill"};
    static const enum vm_state states[] = {VM_RUNNING, VM_PAUSED, VM_RUNNING, VM_STOPPED, VM_RUNNING};
    box_add_vm("a", VM_RUNNING);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t k = 0; k < ARRAY_LEN(actions); k++) {
            char target[32];
            box_observe("a", states[k]);
            (void)snprintf(target, sizeof target, "/vms/a/%s", actions[k]);
            const char *const typed[] = {"Content-Type", rows[i].type, NULL};
            const char *const untyped[] = {"Content-Type", NULL, NULL};
            bool has_type = rows[i].type[0] != '\0';
            int status = box_send_bytes("POST", target, rows[i].body, strlen(rows[i].body), has_type ? typed : untyped);
            ck_assert_msg(status == 200 || status == 202, "%s %s: %d", target, rows[i].body, status);
        }
    }
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/pause", "{\"a\":1}", NULL);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/pause", "{}{}", NULL);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/pause", "{}", "Content-Type", "text/plain", NULL);
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/vms/a/stop", "{}", "Content-Type", "text/plain", NULL);
    ck_assert_int_eq(box_send("DELETE", "/vms/a", "{}", NULL), 202);
}
END_TEST

START_TEST(test_merge_patch)
{
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a",
                              "{\"machine_config\":{\"vcpu_count\":2,\"mem_size_mib\":256},\"boot_args\":\"x\",\"vmm\":\"qemu\",\"autostart\":true,"
                              "\"labels\":{\"a\":\"1\",\"b\":\"2\"}}",
                              "Content-Type", "application/merge-patch+json", NULL),
                     200);
    box_observe("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"labels\":{\"a\":null},\"machine_config\":{\"vcpu_count\":null}}", "Content-Type",
                              "application/merge-patch+json; charset=utf-8", NULL),
                     200);
    box_observe("a", VM_STOPPED);
    ck_assert_int_eq(json_get_int(json_object_get(box.json, "machine_config"), "vcpu_count", 0), 1);
    ck_assert_int_eq(json_get_int(json_object_get(box.json, "machine_config"), "mem_size_mib", 0), 256);
    ck_assert_uint_eq(json_object_size(json_object_get(box.json, "labels")), 1);
    ck_assert_int_eq(
        box_send("PATCH", "/vms/a", "{\"labels\":null,\"machine_config\":null,\"boot_args\":null,\"vmm\":null,\"autostart\":null,\"ports\":null}", NULL),
        202); /* for the ports */
    ck_assert_int_eq(json_get_int(json_object_get(box.json, "machine_config"), "mem_size_mib", 0), 128);
    ck_assert_str_eq(box_string("boot_args"), "");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "vmm"), "requested"), "auto");
    ck_assert(json_is_false(json_object_get(box.json, "autostart")));
    ck_assert_uint_eq(json_object_size(json_object_get(box.json, "labels")), 0);
    box_observe("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{}", NULL), 200); /* changes nothing */
    box_refused(400, "INVALID_CONFIG", "PATCH", "/vms/a", "{\"desired_state\":null}", NULL);
    ck_assert_str_eq(box_fault(0), "/desired_state");
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "PATCH", "/vms/a", "{}", "Content-Type", "application/json-patch+json", NULL);
    ck_assert_str_eq(box_header("Accept-Patch"), "application/json, application/merge-patch+json");
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/vms", CREATE_A, "Content-Type", "application/merge-patch+json", NULL);
}
END_TEST

START_TEST(test_null_in_what_is_created)
{
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"boot_args\":null,\"labels\":null,\"machine_config\":{\"vcpu_count\":null},"
                                      "\"network_interfaces\":null,\"firewall\":{\"egress\":null},\"ports\":null,\"vmm\":null,\"autostart\":null}"),
                     201);
    box_check_schema("Vm");
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", "{\"image\":null}", NULL);
    ck_assert_str_eq(box_fault(0), "/image");
}
END_TEST

static void finished(const char *method, const char *target, const char *name, const char *value)
{
    const char *const pairs[] = {name, value, NULL};
    (void)box_send_bytes(method, target, NULL, 0, pairs);
    struct api_header header = {name, value};
    struct api_request request = {.method = method, .target = target, .headers = &header, .header_count = 1, .request_id = "test-1"};
    api_finish(box.api, &request, &box.reply);
}

START_TEST(test_conditional_get)
{
    char etag[80];
    char version[80];
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_get("/vms/a"), 200);
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    (void)snprintf(version, sizeof version, "%.*s\"", (int)strcspn(etag, "."), etag);
    finished("GET", "/vms/a", "If-None-Match", etag);
    ck_assert_int_eq(box.reply.status, 304);
    ck_assert_str_eq(box_header("ETag"), etag);
    finished("HEAD", "/vms/a", "If-None-Match", "*");
    ck_assert_int_eq(box.reply.status, 304);
    finished("GET", "/vms/a", "If-None-Match", version); /* a version alone says nothing of what was observed */
    ck_assert_int_eq(box.reply.status, 200);
    finished("GET", "/vms/a", "If-None-Match", "\"x\"");
    ck_assert_int_eq(box.reply.status, 200);
    finished("GET", "/vms/a", "If-Match", "\"x\"");
    ck_assert_int_eq(box.reply.status, 412);
    finished("GET", "/vms/a", "If-Match", version);
    ck_assert_int_eq(box.reply.status, 200);
    finished("GET", "/vms/none", "If-None-Match", "*");
    ck_assert_int_eq(box.reply.status, 404);
    finished("GET", "/vms", "If-None-Match", "*"); /* has no ETag */
    ck_assert_int_eq(box.reply.status, 200);
}
END_TEST

/* What was observed is not in the version, and is in the digest. */
START_TEST(test_a_tag_tells_of_all_that_is_shown)
{
    char etag[80];
    must(facts_set(box.worker, "network", "{\"uplink\":\"eth0\",\"observed_generation\":0,\"conditions\":[]}", NULL, &box_error));
    ck_assert_int_eq(box_get("/network"), 200);
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    must(facts_set(box.worker, "network", "{\"uplink\":null,\"observed_generation\":0,\"conditions\":[]}", NULL, &box_error));
    finished("GET", "/network", "If-None-Match", etag);
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert_int_eq(box_send("PATCH", "/network", "{\"masquerade\":false}", "If-Match", etag, NULL), 202);
    box_refused(412, "PRECONDITION_FAILED", "PATCH", "/network", "{\"masquerade\":false}", "If-Match", etag, NULL);
}
END_TEST

START_TEST(test_conditional_writes)
{
    char etag[80];
    box_add_image("img");
    box_refused(412, "PRECONDITION_FAILED", "POST", "/vms", CREATE_A, "If-Match", "*", NULL);
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "If-None-Match", "*", NULL), 201);
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    box_refused(412, "PRECONDITION_FAILED", "POST", "/vms", CREATE_A, "If-None-Match", "*", NULL);
    box_refused(409, "ALREADY_EXISTS", "POST", "/vms", CREATE_A, NULL);
    box_refused(412, "PRECONDITION_FAILED", "PATCH", "/vms/a", "{\"autostart\":true}", "If-None-Match", "*", NULL);
    box_refused(412, "PRECONDITION_FAILED", "PATCH", "/vms/a", "{\"autostart\":true}", "If-None-Match", etag, NULL);
    box_refused(412, "PRECONDITION_FAILED", "PATCH", "/vms/a", "{\"autostart\":true}", "If-Match", "\"x\"", "If-Match", "\"y\"", NULL);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"autostart\":true}", "If-Match", "\"x\"", "If-Match", etag, "If-None-Match", "\"z\"", NULL), 202);
    box_refused(412, "PRECONDITION_FAILED", "PUT", "/firewall/sets/s", "{\"addresses\":[]}", "If-Match", "*", NULL);
    ck_assert_int_eq(box_send("PUT", "/firewall/sets/s", "{\"addresses\":[]}", "If-None-Match", "*", NULL), 202);
    box_refused(412, "PRECONDITION_FAILED", "PUT", "/firewall/sets/s", "{\"addresses\":[]}", "If-None-Match", "*", NULL);
    ck_assert_int_eq(box_send("PUT", "/firewall/sets/s", "{\"addresses\":[]}", "If-Match", "*", NULL), 202);
}
END_TEST

START_TEST(test_a_replay_is_whole)
{
    char etag[80];
    box_add_image("img");
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k", "If-None-Match", "*", NULL), 201);
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    ck_assert_int_eq(box_send("POST", "/vms", CREATE_A, "Idempotency-Key", "k", "If-None-Match", "*", NULL), 201);
    ck_assert_str_eq(box_header("ETag"), etag);
    ck_assert_str_eq(box_header("Location"), "/vms/a");
    ck_assert_str_eq(box_header("Content-Type"), "application/json");
}
END_TEST

static const struct {
    const char *selector;
    const char *matching; /* of VMs a: {n: 3}, b: {n: 4, m: ""}, c: {}, d: {n: "1,2=\"}; NULL: refused */
} selectors[] = {
    {"n", "abd"},    {"!n", "c"},      {"n=3", "a"},          {"n==3", "a"},     {"n!=3", "bcd"},  {"m=", "b"},        {"m!=", "acd"}, {"n,m", "b"},
    {"n,!m", "ad"},  {"n!=3,n", "bd"}, {"n=1\\,2=\\\\", "d"}, {"n=3,m", ""},     {"n=1,2 ", NULL}, {"n in (3)", NULL}, {"n>3", NULL},  {"n = 3", NULL},
    {"=3", NULL},    {"", NULL},       {"!", NULL},           {"!n=3", NULL},    {"!!n", NULL},    {"n,", NULL},       {",n", NULL},   {"-n", NULL},
    {"n=\\x", NULL}, {"n=\\", NULL},   {"n!3", NULL},         {"a/b.c_d-e", ""},
};

START_TEST(test_label_selectors)
{
    static const char *const labels[] = {"{\"n\":\"3\"}", "{\"n\":\"4\",\"m\":\"\"}", "{}", "{\"n\":\"1,2=\\\\\"}"};
    for (size_t k = 0; k < ARRAY_LEN(selectors); k++) {
        struct label_selector selector = {.count = 0};
        struct error err;
        int result = label_selector_add(&selector, selectors[k].selector, &err);
        ck_assert_msg((result == 0) == (selectors[k].matching != NULL), "%s", selectors[k].selector);
        for (size_t i = 0; result == 0 && i < ARRAY_LEN(labels); i++) {
            AUTO_JSON *value = NULL;
            must(json_parse(labels[i], strlen(labels[i]), &value, &box_error));
            bool wanted = strchr(selectors[k].matching, 'a' + (int)i) != NULL;
            ck_assert_msg(label_selector_matches(&selector, value) == wanted, "%s, %s", selectors[k].selector, labels[i]);
        }
    }
}
END_TEST

START_TEST(test_listing_by_labels)
{
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"labels\":{\"n\":\"3\"}}"), 201);
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"b\",\"image\":\"img\",\"labels\":{\"n\":\"4\"}}"), 201);
    ck_assert_int_eq(box_get("/vms?label=n!%3D3"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 1);
    ck_assert_int_eq(box_get("/vms?label=n&label=n!%3D3,n!%3D4"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 0);
    box_refused(400, "INVALID_REQUEST", "GET", "/vms?label=n+in+(3)", NULL, NULL);
    ck_assert_str_eq(box_fault(0), "label");
    char many[256] = "/vms?label=a";
    for (int i = 0; i < LABEL_REQUIREMENTS_MAX; i++) {
        (void)strncat(many, ",a", sizeof many - strlen(many) - 1);
    }
    box_refused(400, "INVALID_REQUEST", "GET", many, NULL, NULL);
}
END_TEST

START_TEST(test_retry_after)
{
    box_refused(503, "UNAVAILABLE", "GET", "/network", NULL, NULL);
    ck_assert_str_eq(box_header("Retry-After"), "1");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_methods,
        test_forms_of_targets,
        test_content_encoding,
        test_bodies_that_say_nothing,
        test_merge_patch,
        test_null_in_what_is_created,
        test_conditional_get,
        test_a_tag_tells_of_all_that_is_shown,
        test_conditional_writes,
        test_a_replay_is_whole,
        test_label_selectors,
        test_listing_by_labels,
        test_retry_after,
    };
    return box_run("api http", tests, ARRAY_LEN(tests));
}
