/*
 * A box for tests of api/: the real document, a real database in a directory of its own, opened as each
 * process opens it, and the api on top. The test sends requests as the listener does, and plays the worker
 * through db/.
 */
#ifndef SMARTVM_TESTS_API_BOX_H
#define SMARTVM_TESTS_API_BOX_H

#include "api/api.h"
#include "api/spec/spec.h"
#include "core/cleanup.h"
#include "core/config.h"
#include "core/json.h"
#include "db/facts.h"
#include "db/images.h"
#include "db/vms.h"
#include "server/openapi_data.h"
#include "tests/unit/db/ready.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { BOX_HEADERS = 16 };

struct box {
    char dir[64];
    struct db *worker; /* the worker's connection */
    struct db *db;     /* the API process's */
    struct spec *spec;
    struct config config;
    struct api *api;
    struct api_reply reply;
    json_t *json;    /* the body of the reply, when it is JSON */
    char woken[200]; /* the key of the last wake-up */
    int wake_count;
    const char *listeners; /* what the worker says of ports that are to be published; NULL: nobody listens there */
};

static struct box box;

static inline void box_wake(void *ctx, const char *key)
{
    struct box *b = ctx;
    (void)snprintf(b->woken, sizeof b->woken, "%s", key);
    b->wake_count++;
}

#define must(result) \
    do { \
        struct error *must_err_ = &box_error; \
        box_error.message[0] = '\0'; \
        ck_assert_msg((result) == 0, "%s: %s", #result, must_err_->message); \
    } while (0)
static struct error box_error;

static inline void box_set_subnet(const char *subnet)
{
    must(ipv4_net_parse(subnet, &box.config.network.subnet, &box_error));
}

static inline size_t box_document_len(void)
{
    return openapi_yaml_len;
}

static inline void box_open(void)
{
    static char bridge[] = "svbr0";
    static char root[] = "/srv/img";
    static char *roots[] = {root};
    char path[128];
    memset(&box, 0, sizeof box);
    (void)snprintf(box.dir, sizeof box.dir, "/tmp/api-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(box.dir));
    (void)snprintf(path, sizeof path, "%s/db", box.dir);
    must(open_ready(path, &box.worker, &box_error));
    must(db_open(path, DB_API, &box.db, &box_error));
    size_t len = box_document_len();
    must(spec_load(openapi_yaml_begin, len, &box.spec, &box_error));
    box.config.network.bridge = bridge;
    box.config.network.lease_quarantine_s = 10;
    box.config.capacity.vcpu_factor = 16;
    box.config.network.published.first = 1;
    box.config.network.published.last = UINT16_MAX;
    box.config.network.published.chosen_first = 30000;
    box.config.network.published.chosen_last = 32767;
    box.config.images.allowed_roots = roots;
    box.config.images.allowed_root_count = 1;
    box_set_subnet("172.30.0.0/24");
    struct api_setup setup = {box.spec, openapi_yaml_begin, len, box.db, &box.config, box_wake, &box};
    must(api_new(&setup, &box.api, &box_error));
}

static inline void box_close(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    char path[128];
    api_reply_free(&box.reply);
    json_decref(box.json);
    api_free(box.api);
    spec_free(box.spec);
    db_close(box.db);
    db_close(box.worker);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", box.dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(box.dir);
}

/* Takes what is in box.reply apart: the body of each reply is checked against the document where the test
 * names a schema. */
static inline void box_read_reply(void)
{
    json_decref(box.json);
    box.json = NULL;
    const char *text = box.reply.body != NULL ? box.reply.body : box.reply.static_body;
    if (box.reply.media_type != NULL && strstr(box.reply.media_type, "json")) {
        must(json_parse(text, box.reply.body_len, &box.json, &box_error));
    }
    /* Whatever happened, no transaction may be open. */
    must(db_begin(box.db, &box_error));
    db_rollback(box.db);
}

/* The worker's part of a write that publishes ports. */
static inline void box_tell_of_listeners(void)
{
    AUTO_JSON *message = NULL;
    const char *text = box.listeners != NULL ? box.listeners : "{\"answer\":{\"listeners\":[],\"busy\":[]}}";
    if (box.reply.kind == API_REPLY_ASK && strstr(box.reply.question, "\"port_listeners\"") != NULL) {
        must(json_parse(text, strlen(text), &message, &box_error));
        box.reply.ops->answer(box.api, &box.reply, message, -1);
    }
}

/*
 * `pairs` of names and values of headers, ended by NULL. With a body and no Content-Type, that is JSON; with NULL as its value there is none.
 * Returns the status, 0 when there is none yet.
 */
static inline int box_send_bytes(const char *method, const char *target, const char *body, size_t len, const char *const *pairs)
{
    struct api_header headers[BOX_HEADERS];
    struct api_request request = {.method = method, .target = target, .headers = headers, .body = body, .body_len = len, .request_id = "test-1"};
    bool has_type = false;
    for (; pairs[0] != NULL; pairs += 2) {
        if (pairs[1] != NULL) {
            headers[request.header_count++] = (struct api_header){pairs[0], pairs[1]};
        }
        has_type = has_type || strcmp(pairs[0], "Content-Type") == 0;
    }
    if (body != NULL && !has_type) {
        headers[request.header_count++] = (struct api_header){"Content-Type", "application/json"};
    }
    api_reply_free(&box.reply);
    api_handle(box.api, &request, &box.reply);
    box_tell_of_listeners();
    box_read_reply();
    return box.reply.kind == API_REPLY_WAIT || box.reply.kind == API_REPLY_ASK ? 0 : box.reply.status;
}
static inline size_t box_len(const char *body)
{
    return body != NULL ? strlen(body) : 0;
}
#define box_send(method, target, body, ...) box_send_bytes(method, target, body, box_len(body), (const char *const[]){__VA_ARGS__})
#define box_get(target)                     box_send("GET", target, NULL, NULL)
#define box_post(target, body)              box_send("POST", target, body, NULL)

static inline const char *box_header(const char *name)
{
    if (strcmp(name, "Content-Type") == 0) {
        return box.reply.media_type;
    }
    for (size_t i = 0; i < box.reply.header_count; i++) {
        if (strcmp(box.reply.headers[i].name, name) == 0) {
            return box.reply.headers[i].value;
        }
    }
    return NULL;
}

static inline const char *box_string(const char *member)
{
    return json_get_string(box.json, member);
}

static inline void box_check_schema(const char *schema)
{
    struct spec_faults faults = {0};
    bool fits = spec_check_component(box.spec, schema, box.json, "body", &faults);
    ck_assert_msg(fits, "%s: %s %s in %s", schema, faults.count > 0 ? faults.items[0].pointer : "", faults.count > 0 ? faults.items[0].message : "",
                  box.reply.body != NULL ? box.reply.body : "");
    spec_faults_free(&faults);
}

static inline void box_check_problem(int status, const char *code)
{
    ck_assert_msg(box.reply.status == status, "%d, not %d: %s", box.reply.status, status, box.reply.body != NULL ? box.reply.body : "");
    ck_assert_str_eq(box_header("Content-Type"), "application/problem+json");
    box_check_schema("Problem");
    ck_assert_str_eq(box_string("code"), code);
    ck_assert_int_eq(json_get_int(box.json, "status", 0), status);
    ck_assert_str_eq(box_string("request_id"), "test-1");
}

/* Sends, and expects this problem. */
#define box_refused(status, code, method, target, body, ...) \
    do { \
        (void)box_send(method, target, body, __VA_ARGS__); \
        box_check_problem(status, code); \
    } while (0)

/* The pointer of the i-th fault, "" when there is none. */
static inline const char *box_fault(size_t index)
{
    const char *pointer = json_get_string(json_array_get(json_object_get(box.json, "errors"), index), "pointer");
    return pointer != NULL ? pointer : "";
}

/* The worker's part: an image that is ready. */
static inline void box_add_image(const char *id)
{
    char manifest[512];
    (void)snprintf(manifest, sizeof manifest,
                   "{\"schema_version\":1,\"bundle_id\":\"%s\",\"arch\":\"x86_64\",\"rootfs_type\":\"ext4\","
                   "\"rootfs_is_read_only\":false,\"boot_args\":\"\",\"kernel\":{\"path\":\"/srv/img/k\"},"
                   "\"rootfs\":{\"path\":\"/srv/img/r\"}}",
                   id);
    char sha[] = "0000000000000000000000000000000000000000000000000000000000000000";
    char observed[] = "{}";
    char id_text[128];
    (void)snprintf(id_text, sizeof id_text, "%s", id);
    struct image_row row = {.id = id_text, .manifest = manifest};
    must(images_insert(box.worker, &row, &box_error));
    row.state = IMAGE_READY;
    row.observed = observed;
    row.kernel_sha256 = row.rootfs_sha256 = sha;
    must(images_set_observed(box.worker, &row, &box_error));
}

/* The worker's part: it has looked at what is wanted now, and found this state. */
static inline void box_observe(const char *id, enum vm_state state)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    bool changed = false;
    must(vms_get(box.worker, id, &row, &found, &box_error));
    ck_assert(found);
    const bool is_up = state == VM_RUNNING || state == VM_PAUSED;
    struct vm_observation seen = {.state = state,
                                  .observed_generation = row.generation,
                                  .observed = row.observed,
                                  .pid = row.pid,
                                  .start_time = row.start_time,
                                  .boot_id = row.boot_id,
                                  .boot_done = row.boot_wanted,
                                  .boot_config = !is_up                       ? ""
                                                 : row.boot_config[0] != '\0' ? row.boot_config
                                                                              : row.config_text};
    must(vms_set_observed(box.worker, row.uid, &seen, &changed, &box_error));
}

static inline void box_remove_vm(const char *id)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    must(vms_get(box.worker, id, &row, &found, &box_error));
    ck_assert(found);
    must(vms_remove(box.worker, &row, &box_error));
}

/* A stopped or running VM of the image "img" (made when it is not there). */
static inline void box_add_vm(const char *id, enum vm_state state)
{
    char body[256];
    if (box_get("/images/img") == 404) {
        box_add_image("img");
    }
    (void)snprintf(body, sizeof body, "{\"id\":\"%s\",\"image\":\"img\",\"desired_state\":\"%s\"}", id,
                   state == VM_STOPPED  ? "stopped"
                   : state == VM_PAUSED ? "paused"
                                        : "running");
    ck_assert_int_eq(box_post("/vms", body), 201);
    box_observe(id, state);
}

/* By hand, past every check of ours. */
static inline void box_change(const char *sql)
{
    char path[128];
    sqlite3 *sqlite = NULL;
    (void)snprintf(path, sizeof path, "%s/db", box.dir);
    ck_assert_int_eq(sqlite3_open(path, &sqlite), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(sqlite, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(sqlite));
    ck_assert_int_eq(sqlite3_close(sqlite), SQLITE_OK);
}

static inline void box_load(const char *id, struct vm_row *ret)
{
    bool found = false;
    must(vms_get(box.worker, id, ret, &found, &box_error));
    ck_assert(found);
    ret->is_damaged = vm_row_read_config(ret, NULL) != 0;
}

/* Polls a reply that waits; true when it has an answer now. */
static inline bool box_poll(bool expired)
{
    ck_assert_int_eq(box.reply.kind, API_REPLY_WAIT);
    bool done = box.reply.ops->poll(box.api, &box.reply, expired);
    ck_assert(done == (box.reply.kind == API_REPLY_BODY));
    if (done) {
        box_read_reply();
    }
    return done;
}

/* Answers a reply that asks; `message` NULL: no answer in time. */
static inline void box_answer(const char *message, int fd)
{
    AUTO_JSON *json = NULL;
    ck_assert_int_eq(box.reply.kind, API_REPLY_ASK);
    if (message != NULL) {
        must(json_parse(message, strlen(message), &json, &box_error));
    }
    box.reply.ops->answer(box.api, &box.reply, json, fd);
    box_read_reply();
}

/* main() of a test program: each test in a box of its own. */
static inline int box_run(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    for (size_t i = 0; i < count; i++) {
        TCase *tcase = tcase_create(tests[i]->name);
        tcase_add_checked_fixture(tcase, box_open, box_close);
        tcase_set_timeout(tcase, 120);
        tcase_add_test(tcase, tests[i]);
        suite_add_tcase(suite, tcase);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

#endif
