/* The service, the network, events, and the console with the descriptors that the worker hands out. */
#include "tests/unit/api/api_box.h"

#include "core/clock.h"
#include "db/events.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

static char text[65536];

/* What the stream gives now, in reads of `size` bytes. Returns what the last read gave: 0 or -1. */
static ssize_t drain(size_t size)
{
    size_t len = 0;
    ck_assert_int_eq(box.reply.kind, API_REPLY_STREAM);
    for (;;) {
        ck_assert_uint_lt(len + size, sizeof text);
        ssize_t n = box.reply.ops->read(box.api, &box.reply, text + len, size);
        if (n <= 0) {
            text[len] = '\0';
            return n;
        }
        ck_assert_int_le(n, (ssize_t)size);
        len += (size_t)n;
    }
}

START_TEST(test_service)
{
    ck_assert_int_eq(box_get("/healthz"), 200);
    ck_assert_str_eq(box_string("status"), "ok");
    box_refused(503, "UNAVAILABLE", "GET", "/readyz", NULL, NULL);
    must(facts_set(box.worker, "worker", "{\"ready\":false}", NULL, &box_error));
    box_refused(503, "UNAVAILABLE", "GET", "/readyz", NULL, NULL);
    must(facts_set(box.worker, "worker", "{\"ready\":true}", NULL, &box_error));
    ck_assert_int_eq(box_get("/readyz"), 200);
    ck_assert_int_eq(box_get("/version"), 200);
    box_check_schema("Version");
    ck_assert_int_eq(box_get("/openapi.json"), 200);
    ck_assert(json_equal(box.json, spec_document(box.spec)));
    ck_assert_int_eq(box_get("/openapi.yaml"), 200);
    ck_assert_str_eq(box_header("Content-Type"), "application/yaml");
    ck_assert_uint_eq(box.reply.body_len, box_document_len());
    ck_assert_int_eq(memcmp(box.reply.static_body, openapi_yaml_begin, box.reply.body_len), 0);
    ck_assert_int_eq(box_get("/host"), 0); /* the worker looks first */
    box_answer(NULL, -1);
    ck_assert_int_eq(box.reply.status, 503);
    must(facts_set(box.worker, "host", "{\"memory_mib\":7}", NULL, &box_error));
    ck_assert_int_eq(box_get("/host"), 0);
    box_answer("{\"answer\":{}}", -1);
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert_int_eq(json_get_int(box.json, "memory_mib", 0), 7);
}
END_TEST

START_TEST(test_network)
{
    box_refused(503, "UNAVAILABLE", "GET", "/network", NULL, NULL);
    must(facts_set(box.worker, "network",
                   "{\"uplink\":null,\"conditions\":[{\"type\":\"ready\",\"status\":\"true\",\"reason\":"
                   "\"set_up\",\"message\":\"m\","
                   "\"since\":\"2026-01-01T00:00:00.000Z\"}]}",
                   NULL, &box_error));
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":"
                                      "\"e0\"},{\"iface_id\":\"e1\"}]}"),
                     201);
    ck_assert_int_eq(box_get("/network"), 200);
    box_check_schema("Network");
    const json_t *addresses = json_object_get(box.json, "addresses");
    ck_assert_int_eq(json_get_int(addresses, "total", 0), 253);
    ck_assert_int_eq(json_get_int(addresses, "used", 0), 2);
    ck_assert_int_eq(box_get("/network/leases?limit=1"), 200);
    box_check_schema("LeaseList");
    ck_assert_str_eq(box_string("next_cursor"), "172.30.0.2");
    ck_assert_int_eq(box_get("/network/leases?limit=1&cursor=172.30.0.2"), 200);
    box_check_schema("LeaseList");
    ck_assert_str_eq(json_get_string(json_array_get(json_object_get(box.json, "items"), 0), "iface_id"), "e1");
    ck_assert_ptr_null(box_string("next_cursor"));
    box_refused(400, "INVALID_REQUEST", "GET", "/network/leases?cursor=abc", NULL, NULL);
    ck_assert_str_eq(box_fault(0), "cursor");
    box_remove_vm("a");
    ck_assert_int_eq(box_get("/network"), 200);
    ck_assert_int_eq(json_get_int(json_object_get(box.json, "addresses"), "quarantined", 0), 2);
}
END_TEST

static void add_events(int count)
{
    must(db_begin(box.worker, &box_error));
    for (int i = 0; i < count; i++) {
        must(events_add(box.worker, EVENT_VM_STATE, "vm", "a", "{\"a\":\n1}", &box_error));
    }
    must(db_commit(box.worker, &box_error));
}

START_TEST(test_events_from_now_on)
{
    add_events(2);
    ck_assert_int_eq(box_get("/events"), 200);
    ck_assert_str_eq(box_header("Content-Type"), "text/event-stream");
    ck_assert_str_eq(box.reply.key, "events");
    ck_assert_str_eq(box_header("X-Accel-Buffering"), "no");
    ck_assert_str_eq(box_header("Cache-Control"), "no-store");
    ck_assert_int_eq(drain(1000), 0);
    ck_assert_str_eq(text, "retry: 1000\n\n");
    add_events(1);
    ck_assert_int_eq(drain(7), 0); /* pieces of events */
    ck_assert_int_eq(memcmp(text, "id: 3\ndata: {\"id\":3,\"at\":\"2", 27), 0);
    ck_assert_ptr_nonnull(strstr(text, "\"type\":\"vm.state\",\"resource\":\"/vms/a\",\"data\":{\"a\": 1}}\n\n"));
    ck_assert_int_eq(drain(7), 0);
    ck_assert_str_eq(text, "");
}
END_TEST

static int count_of(const char *word)
{
    int count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

START_TEST(test_events_after_an_id)
{
    add_events(200);
    ck_assert_int_eq(box_send("GET", "/events?follow=false", NULL, "Last-Event-ID", "50", NULL), 200);
    ck_assert_int_eq(drain(4096), -1);
    ck_assert_int_eq(count_of("id: "), 150);
    ck_assert_int_eq(memcmp(text, "retry: 1000\n\nid: 51\n", 20), 0);
    ck_assert_int_eq(box_send("GET", "/events?follow=false", NULL, "Last-Event-ID", "0", NULL), 200);
    ck_assert_int_eq(drain(4096), -1);
    ck_assert_int_eq(count_of("id: "), 200);
    ck_assert_int_eq(count_of("events.lost"), 0);
    ck_assert_int_eq(box_send("GET", "/events?follow=false", NULL, "Last-Event-ID", "999999", NULL), 200);
    ck_assert_int_eq(drain(4096), -1);
    ck_assert_str_eq(text, "retry: 1000\n\n");
    box_refused(400, "INVALID_REQUEST", "GET", "/events", NULL, "Last-Event-ID", "x", NULL);
}
END_TEST

static void add_event(enum event_type type, const char *kind, const char *id)
{
    must(events_add(box.worker, type, kind, id, "{}", &box_error));
}

static const struct {
    const char *query;
    const char *found; /* of those below; NULL: refused */
} filters[] = {
    {"type=vm.state", "ac"},
    {"type=vm.*", "abc"},
    {"type=*", "abcdef"},
    {"type=image.*&type=vm.created", "bd"},
    {"resource=vm/web", "ab"},
    {"resource=/vms/web", "ab"},
    {"resource=vm/web*", "abc"},
    {"resource=vm/*", "abc"},
    {"resource=network", "e"},
    {"resource=firewall&resource=image/web", "df"},
    {"resource=vm/web&type=vm.state", "a"},
    {"resource=vm/none", ""},
    {"type=vm.state&after=1", "c"},
    {"type=vm", ""},
    {"type=", NULL},
    {"type=vm.", NULL},
    {"type=.state", NULL},
    {"type=VM.*", NULL},
    {"type=vm*", NULL},
    {"type=*.state", NULL},
    {"resource=", NULL},
    {"resource=vm", NULL},
    {"resource=vm/", NULL},
    {"resource=web", NULL},
    {"resource=vm/a/b", NULL},
    {"resource=vm/*a", NULL},
    {"resource=network/a", NULL},
    {"after=-1", NULL},
    {"after=x", NULL},
    {"after=1&after=2", NULL},
};

START_TEST(test_events_by_filter)
{
    add_event(EVENT_VM_STATE, "vm", "web");            /* a */
    add_event(EVENT_VM_CREATED, "vm", "web");          /* b */
    add_event(EVENT_VM_STATE, "vm", "web-2");          /* c */
    add_event(EVENT_IMAGE_CREATED, "image", "web");    /* d */
    add_event(EVENT_NETWORK_CHANGED, "network", "");   /* e */
    add_event(EVENT_FIREWALL_CHANGED, "firewall", ""); /* f */
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        char target[128];
        bool has_after = strstr(filters[i].query, "after=") != NULL;
        (void)snprintf(target, sizeof target, "/events?follow=false&%s%s", filters[i].query, has_after ? "" : "&after=0");
        if (filters[i].found == NULL) {
            box_refused(400, "INVALID_REQUEST", "GET", target, NULL, NULL);
            continue;
        }
        ck_assert_int_eq(box_get(target), 200);
        ck_assert_int_eq(drain(1000), -1);
        for (int k = 0; k < 6; k++) {
            char id[16];
            (void)snprintf(id, sizeof id, "id: %d\n", k + 1);
            ck_assert_msg((strstr(text, id) != NULL) == (strchr(filters[i].found, 'a' + k) != NULL), "%s: %s", filters[i].query, text);
        }
    }
    ck_assert_int_eq(box_send("GET", "/events?follow=false&after=0", NULL, "Last-Event-ID", "5", NULL), 200); /* the header is stronger */
    ck_assert_int_eq(drain(1000), -1);
    ck_assert(strstr(text, "id: 5\n") == NULL && strstr(text, "id: 6\n") != NULL);
}
END_TEST

/* None of so many is wanted: others have their turn in between, and the end is found. */
START_TEST(test_a_filter_over_many_events)
{
    add_events(3000);
    add_event(EVENT_VM_DELETED, "vm", "a");
    ck_assert_int_eq(box_get("/events?follow=false&after=0&type=vm.deleted"), 200);
    ck_assert_int_eq(drain(1000), -1);
    ck_assert_int_eq(count_of("data: "), 1);
    ck_assert_ptr_nonnull(strstr(text, "id: 3001\n"));
}
END_TEST

START_TEST(test_events_that_are_lost)
{
    /* Numbers are trimmed at multiples of 256: so beyond the most that is kept, the oldest are gone. */
    for (int i = 0; i < 101; i++) {
        add_events(1000);
    }
    ck_assert_int_eq(box_send("GET", "/events", NULL, "Last-Event-ID", "5", NULL), 200);
    char first[512];
    (void)box.reply.ops->read(box.api, &box.reply, first, sizeof first - 1); /* the line "retry" */
    ssize_t n = box.reply.ops->read(box.api, &box.reply, first, sizeof first - 1);
    ck_assert_int_gt(n, 0);
    first[n] = '\0';
    ck_assert_int_eq(memcmp(first, "id: 864\ndata: {\"id\":864,", 24), 0); /* 100,864 - 100,000 */
    ck_assert_ptr_nonnull(strstr(first, "\"type\":\"events.lost\""));
    ck_assert_ptr_nonnull(strstr(first, "\"data\":{\"first\":6,\"last\":864}}\n\nid: 865\ndata: {\"id\":865,"));
}
END_TEST

/* A console log with `hole` bytes punched at its start. */
static int make_log(const char *content, size_t len, off_t hole)
{
    int fd = memfd_create("console.log", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, len), (ssize_t)len);
    if (hole > 0) {
        ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, hole), 0);
    }
    return fd;
}

/* A descriptor as the worker hands it out: of the same file, opened for reading, with an offset of its own.
 */
static int reader_of(int log)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", log);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void ask_console(const char *target)
{
    ck_assert_int_eq(box_get(target), 0);
    ck_assert_str_eq(box.reply.question, "{\"question\":\"console_read\",\"vm\":\"a\"}");
}

static void check_history(const char *body, const char *begin, const char *end)
{
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert_str_eq(box_header("Content-Type"), "text/plain; charset=utf-8");
    ck_assert_str_eq(box_header("X-Console-Begin"), begin);
    ck_assert_str_eq(box_header("X-Console-End"), end);
    ck_assert_uint_eq(box.reply.body_len, strlen(body));
    ck_assert_str_eq(box.reply.body, body);
}

START_TEST(test_console_history)
{
    int log = make_log("hello\nworld\n", 12, 0);
    box_add_vm("a", VM_RUNNING);
    ask_console("/vms/a/console");
    box_answer("{\"answer\":{\"begin\":0,\"end\":12}}", reader_of(log));
    check_history("hello\nworld\n", "0", "12");
    ask_console("/vms/a/console?offset=6");
    box_answer("{\"answer\":{\"begin\":0,\"end\":12}}", reader_of(log));
    check_history("world\n", "6", "12");
    ask_console("/vms/a/console?offset=3");
    box_answer("{\"answer\":{\"begin\":8,\"end\":12}}", reader_of(log)); /* older ones are gone */
    check_history("rld\n", "8", "12");
    ask_console("/vms/a/console?offset=99");
    box_answer("{\"answer\":{\"begin\":0,\"end\":12}}", reader_of(log));
    check_history("", "12", "12");
    ask_console("/vms/a/console");
    box_answer("{\"answer\":{\"begin\":0,\"end\":0}}", -1); /* no console yet */
    check_history("", "0", "0");
    ask_console("/vms/a/console");
    box_answer("{\"error\":{\"code\":\"SYSTEM\",\"message\":\"m\"}}", -1);
    box_check_problem(500, "SYSTEM");
    ask_console("/vms/a/console");
    box_answer(NULL, -1);
    box_check_problem(504, "TIMEOUT");
    box_refused(404, "NOT_FOUND", "GET", "/vms/b/console", NULL, NULL);
    (void)close(log);
}
END_TEST

START_TEST(test_dropped_packets)
{
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_get("/vms/a/network"), 0);
    ck_assert_str_eq(box.reply.question, "{\"question\":\"vm_drops\",\"vm\":\"a\"}");
    box_answer("{\"answer\":{\"network_interfaces\":[]}}", -1);
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert_str_eq(box.reply.body, "{\"network_interfaces\":[]}");
    ck_assert_int_eq(box_get("/vms/a/network"), 0);
    box_answer("{\"error\":{\"code\":\"FIREWALL_SETUP_FAILED\",\"message\":\"m\"}}", -1);
    box_check_problem(500, "FIREWALL_SETUP_FAILED");
    ck_assert_int_eq(box_get("/vms/a/network"), 0);
    box_answer(NULL, -1);
    box_check_problem(504, "TIMEOUT");
    box_refused(404, "NOT_FOUND", "GET", "/vms/b/network", NULL, NULL);
    box_refused(400, "INVALID_REQUEST", "GET", "/vms/a/network?limit=1", NULL, NULL);
}
END_TEST

START_TEST(test_console_of_which_the_start_is_gone)
{
    static char content[20000];
    char begin[16];
    memset(content, 'x', sizeof content);
    content[sizeof content - 1] = '\n';
    int log = make_log(content, sizeof content, 8192);
    box_add_vm("a", VM_RUNNING);
    ask_console("/vms/a/console");
    box_answer("{\"answer\":{\"begin\":0,\"end\":20000}}", log); /* punched after the worker looked */
    (void)snprintf(begin, sizeof begin, "%d", 8192);
    ck_assert_str_eq(box_header("X-Console-Begin"), begin);
    ck_assert_uint_eq(box.reply.body_len, sizeof content - 8192);
    ck_assert_int_eq(box.reply.body[0], 'x');
    ck_assert_str_eq(box.reply.body + box.reply.body_len - 2, "x\n");
}
END_TEST

START_TEST(test_console_followed)
{
    int log = make_log("one\n", 4, 0);
    box_add_vm("a", VM_RUNNING);
    ask_console("/vms/a/console?follow=true");
    box_answer("{\"answer\":{\"begin\":0,\"end\":4}}", reader_of(log));
    ck_assert_str_eq(box.reply.key, "console/a");
    ck_assert_int_eq(drain(3), 0);
    ck_assert_str_eq(text, "one\n");
    ck_assert_int_eq(write(log, "two\n", 4), 4);
    ck_assert_int_eq(drain(100), 0);
    ck_assert_str_eq(text, "two\n");
    /* A reader that falls behind goes on where the log begins now. */
    static char flood[3 * 4096];
    memset(flood, 'f', sizeof flood);
    ck_assert_int_eq(write(log, flood, sizeof flood), (ssize_t)sizeof flood);
    ck_assert_int_eq(fallocate(log, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
    ck_assert_int_eq(drain(1000), 0);
    ck_assert_uint_eq(strlen(text), 8 + sizeof flood - 8192);
    /* And where holes can't be made, the log was begun anew. */
    ck_assert_int_eq(ftruncate(log, 0), 0);
    ck_assert_int_eq(pwrite(log, "new\n", 4, 0), 4);
    ck_assert_int_eq(drain(1000), 0);
    ck_assert_str_eq(text, "new\n");
    box_remove_vm("a");
    ck_assert_int_eq(drain(1000), -1);
    (void)close(log);
}
END_TEST

START_TEST(test_console_input)
{
    int ends[2];
    char buf[PIPE_BUF + 1];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    box_add_vm("a", VM_RUNNING);
    (void)box_send("POST", "/vms/a/console", "ls\n", "Content-Type", "text/plain", NULL);
    ck_assert_str_eq(box.reply.question, "{\"question\":\"console_input\",\"vm\":\"a\"}");
    box_answer("{\"answer\":{}}", dup(ends[1]));
    ck_assert_int_eq(box.reply.status, 204);
    ck_assert_int_eq(read(ends[0], buf, sizeof buf), 3);
    ck_assert_int_eq(memcmp(buf, "ls\n", 3), 0);
    memset(buf, 'i', sizeof buf);
    while (write(ends[1], buf, PIPE_BUF) > 0) { /* the guest reads nothing */
    }
    (void)box_send("POST", "/vms/a/console", "ls\n", "Content-Type", "text/plain", NULL);
    box_answer("{\"answer\":{}}", dup(ends[1]));
    box_check_problem(409, "CONSOLE_FULL");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)close(ends[0]);
    (void)box_send("POST", "/vms/a/console", "ls\n", "Content-Type", "text/plain", NULL);
    box_answer("{\"answer\":{}}", ends[1]);
    box_check_problem(409, "INVALID_STATE");
    (void)box_send("POST", "/vms/a/console", "ls\n", "Content-Type", "text/plain", NULL);
    box_answer("{\"error\":{\"code\":\"INVALID_STATE\",\"message\":\"stopped\"}}", -1);
    box_check_problem(409, "INVALID_STATE");
    (void)box_send("POST", "/vms/a/console", "ls\n", "Content-Type", "text/plain", NULL);
    box_answer("{\"answer\":{}}", -1);
    box_check_problem(500, "INTERNAL");
}
END_TEST

START_TEST(test_console_input_is_bounded)
{
    char buf[LIMIT_CONSOLE_INPUT_BYTES + 2];
    memset(buf, 'i', sizeof buf);
    buf[sizeof buf - 1] = '\0';
    box_add_vm("a", VM_RUNNING);
    box_refused(413, "PAYLOAD_TOO_LARGE", "POST", "/vms/a/console", buf, "Content-Type", "text/plain", NULL);
    buf[sizeof buf - 2] = '\0';
    ck_assert_int_eq(box_send("POST", "/vms/a/console", buf, "Content-Type", "text/plain", NULL), 0);
    ck_assert_int_eq(box.reply.kind, API_REPLY_ASK);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/console", NULL, NULL);
    box_refused(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/vms/a/console", "x", NULL);
    box_refused(404, "NOT_FOUND", "POST", "/vms/b/console", "x", "Content-Type", "text/plain", NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_service,
        test_network,
        test_events_from_now_on,
        test_events_after_an_id,
        test_events_by_filter,
        test_a_filter_over_many_events,
        test_events_that_are_lost,
        test_console_history,
        test_dropped_packets,
        test_console_of_which_the_start_is_gone,
        test_console_followed,
        test_console_input,
        test_console_input_is_bounded,
    };
    return box_run("api streams", tests, ARRAY_LEN(tests));
}
