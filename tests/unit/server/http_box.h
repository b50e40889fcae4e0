/*
 * A running listener for tests: server_run() in a child with a small api of its own, the test at the worker's
 * end of the socket and at the clients' ends. What both sides must see lies in shared memory.
 *
 *   /hello      a static body              /echo    the body that came
 *   /wait?<ms>  until shared->ready        /ask     passes a question on, and the answer or its descriptor
 * back /stream     shared->published lines    /wake?<n> wakes the worker n times about "vm/x" /id request id,
 * peer, number of headers and whether the body was cut off
 */
#ifndef SMARTVM_TESTS_HTTP_BOX_H
#define SMARTVM_TESTS_HTTP_BOX_H

#include "core/clock.h"
#include "core/config.h"
#include "core/ipc.h"
#include "core/json.h"
#include "core/limits.h"
#include "server/loop.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
    volatile int ready;
    volatile int published;
    volatile int end;
    volatile int polls;
    volatile int reads;
    volatile int handled;
    volatile int states; /* made and not yet freed */
};

static struct {
    pid_t pid;
    int worker;
    char dir[64];
    char path[96];
    uint16_t port;
    struct shared *shared;
    struct server_limits limits; /* zeroes: many, and long */
} box;

struct api {
    struct server_link *link;
};

static inline void set_body(struct api_reply *reply, int status, const char *body)
{
    reply->kind = API_REPLY_BODY;
    reply->status = status;
    reply->body = strdup(body);
    reply->body_len = strlen(body);
    reply->media_type = "text/plain";
}

static inline bool wait_poll(struct api *api, struct api_reply *reply, bool expired)
{
    (void)api;
    box.shared->polls++;
    if (!expired && !box.shared->ready) {
        return false;
    }
    set_body(reply, 200, expired ? "expired" : "changed");
    return true;
}

static inline void ask_answer(struct api *api, struct api_reply *reply, const json_t *answer, int fd)
{
    (void)api;
    char text[64] = "none";
    if (fd >= 0) {
        (void)!read(fd, text, sizeof text - 1);
        (void)close(fd);
    } else if (answer != NULL) {
        const char *value = json_get_string(answer, "answer");
        (void)snprintf(text, sizeof text, "%s", value != NULL ? value : "error");
    }
    set_body(reply, answer != NULL ? 200 : 504, text);
}

static inline ssize_t stream_read(struct api *api, struct api_reply *reply, char *buf, size_t size)
{
    (void)api;
    int *sent = reply->state;
    box.shared->reads++;
    if (*sent < box.shared->published) {
        return snprintf(buf, size, "line %d\n", ++*sent);
    }
    return box.shared->end ? -1 : 0;
}

static inline void free_counted(void *state)
{
    box.shared->states--;
    free(state);
}

static const struct api_reply_ops box_ops = {wait_poll, ask_answer, stream_read, free_counted};

static inline void set_later(struct api_reply *reply, enum api_reply_kind kind, const char *key)
{
    reply->kind = kind;
    reply->status = 200;
    reply->ops = &box_ops;
    reply->state = calloc(1, sizeof(int));
    (void)snprintf(reply->key, sizeof reply->key, "%s", key);
    box.shared->states++;
}

void api_reply_problem(struct api *api, struct api_reply *reply, const struct api_request *request, enum error_code code, const char *detail)
{
    (void)api;
    (void)request;
    char text[256];
    (void)snprintf(text, sizeof text, "%s: %s", error_code_name(code), detail);
    set_body(reply, error_code_status(code), text);
}

/* Of the conditions of a GET nothing is tested here. */
void api_finish(struct api *api, const struct api_request *request, struct api_reply *reply)
{
    (void)api;
    (void)request;
    (void)reply;
}

void api_reply_free(struct api_reply *reply)
{
    if (reply->state != NULL) {
        reply->ops->free_state(reply->state);
    }
    free(reply->body);
    free(reply->question);
}

static inline void handle_id(const struct api_request *request, struct api_reply *reply)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s|%s|%s|%s|%zu|%d", request->method, request->target, request->request_id, request->peer, request->header_count,
                   (int)request->body_too_large);
    set_body(reply, 200, text);
}

void api_handle(struct api *api, const struct api_request *request, struct api_reply *reply)
{
    const char *target = request->target;
    box.shared->handled++;
    if (request->body_too_large) {
        api_reply_problem(api, reply, request, ERR_PAYLOAD_TOO_LARGE, "cut off");
    } else if (strcmp(target, "/echo") == 0) {
        set_body(reply, 200, request->body != NULL ? request->body : "");
    } else if (strncmp(target, "/wait?", 6) == 0) {
        set_later(reply, API_REPLY_WAIT, "vm/a");
        reply->deadline_ms = clock_monotonic_ms() + atoi(target + 6);
    } else if (strcmp(target, "/ask") == 0) {
        set_later(reply, API_REPLY_ASK, "");
        reply->question = strdup("{\"question\":\"time\"}");
    } else if (strcmp(target, "/stream") == 0) {
        set_later(reply, API_REPLY_STREAM, "events");
    } else if (strncmp(target, "/wake?", 6) == 0) {
        for (int i = atoi(target + 6); i > 0; i--) {
            server_wake(api->link, "vm/x");
        }
        reply->status = 204;
    } else if (strcmp(target, "/hello") == 0) {
        reply->status = 200;
        reply->media_type = "application/json";
        reply->static_body = "hello";
        reply->body_len = 5;
    } else {
        handle_id(request, reply);
    }
}

static inline void box_child(struct listen_socket *sockets, size_t count, int socket)
{
    struct server_link link = {.socket = socket};
    struct api api = {&link};
    const struct server_limits generous = {.max_connections = 16384, .max_connections_per_peer = 6000, .head_timeout_s = 60, .body_timeout_s = 60};
    struct server_setup setup = {.sockets = sockets,
                                 .socket_count = count,
                                 .api = &api,
                                 .link = &link,
                                 .limits = box.limits.max_connections > 0 ? box.limits : generous,
                                 .log_requests = getenv("HTTP_LOG") != NULL};
    struct error err;
    /* Check's own handler, inherited, would pass a late signal on to the test. */
    (void)signal(SIGTERM, SIG_IGN);
    int r = server_run(&setup, &err);
    if (r < 0) {
        (void)fprintf(stderr, "server: %s\n", err.message);
    }
    /* exit() and not _exit(): the leak checker of a sanitizer build looks then. */
    exit(r == 0 ? 0 : 3);
}

static inline void box_start(void)
{
    struct error err;
    (void)strcpy(box.dir, "/tmp/http-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(box.dir));
    (void)snprintf(box.path, sizeof box.path, "%s/api.sock", box.dir);
    box.port = (uint16_t)(20000 + getpid() % 30000);
    box.shared = mmap(NULL, sizeof *box.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(box.shared, MAP_FAILED);
    const struct passwd *me = getpwuid(getuid());
    ck_assert_ptr_nonnull(me);
    struct config_listen where[2] = {{.path = box.path}, {.is_tcp = true, .address = 0x7f000001, .port = box.port}};
    struct config config = {.user = me->pw_name, .listen = where, .listen_count = 2};
    struct listen_socket *sockets = NULL;
    ck_assert_msg(listen_open(&config, &sockets, &err) == 0, "%s", err.message);
    int pair[2];
    ck_assert_int_eq(ipc_pair(pair, &err), 0);
    box.worker = pair[0];
    box.pid = fork();
    ck_assert_int_ge(box.pid, 0);
    if (box.pid == 0) {
        (void)close(pair[0]);
        box_child(sockets, 2, pair[1]);
    }
    (void)close(pair[1]);
    listen_close(sockets, 2);
}

static inline int box_wait_end(void)
{
    int status = -1;
    ck_assert_int_eq(waitpid(box.pid, &status, 0), box.pid);
    (void)close(box.worker);
    (void)unlink(box.path);
    (void)rmdir(box.dir);
    return status;
}

/* The end of each test: an orderly exit, nothing leaked, every state freed. */
static inline void box_stop(void)
{
    ck_assert_int_eq(kill(box.pid, SIGTERM), 0);
    int status = box_wait_end();
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    ck_assert_int_eq(box.shared->states, 0);
}

static inline int client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, box.path, strlen(box.path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 8};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline void say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void get(int fd, const char *target)
{
    char text[512];
    (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
    say(fd, text);
}

/* Reads up to and with `end`; a NULL reads until the connection is closed. Returns the length. */
static inline size_t hear_until(int fd, char *buf, size_t size, const char *end)
{
    size_t len = 0;
    buf[0] = '\0';
    while (end == NULL || strstr(buf, end) == NULL) {
        /* One byte at a time, so that nothing of the next reply is taken. */
        ssize_t r = recv(fd, buf + len, end != NULL ? 1 : size - 1 - len, 0);
        ck_assert_msg(r >= 0 || errno == ECONNRESET, "no reply: %s (%s)", strerror(errno), buf);
        if (r <= 0) {
            ck_assert_msg(end == NULL, "closed while waiting for '%s': %s", end, buf);
            break;
        }
        len += (size_t)r;
        buf[len] = '\0';
        ck_assert_uint_lt(len, size - 1);
    }
    return len;
}

struct answer {
    int status;
    char head[4096];
    char body[LIMIT_BODY_BYTES + 4096];
};

/* One reply with a Content-Length. */
static inline struct answer *hear(int fd)
{
    static struct answer answer;
    (void)hear_until(fd, answer.head, sizeof answer.head, "\r\n\r\n");
    answer.status = atoi(answer.head + strlen("HTTP/1.1 "));
    const char *length = strcasestr(answer.head, "\r\nContent-Length: ");
    size_t want = length != NULL ? strtoul(length + 18, NULL, 10) : 0;
    ck_assert_uint_lt(want, sizeof answer.body);
    for (size_t have = 0; have < want;) {
        ssize_t r = recv(fd, answer.body + have, want - have, 0);
        ck_assert_int_gt(r, 0);
        have += (size_t)r;
    }
    answer.body[want] = '\0';
    return &answer;
}

static inline void expect(int fd, int status, const char *body)
{
    struct answer *answer = hear(fd);
    ck_assert_msg(answer->status == status, "status %d, not %d: %s", answer->status, status, answer->body);
    ck_assert_str_eq(answer->body, body);
}

static inline void expect_code(int fd, int status, const char *code)
{
    struct answer *answer = hear(fd);
    ck_assert_msg(answer->status == status, "status %d, not %d: %s", answer->status, status, answer->body);
    ck_assert_msg(strncmp(answer->body, code, strlen(code)) == 0, "%s", answer->body);
}

static inline void expect_closed(int fd)
{
    char byte;
    ssize_t r = recv(fd, &byte, 1, 0);
    ck_assert_msg(r == 0 || (r < 0 && errno == ECONNRESET), "not closed");
}

/* Waits for a counter that the other process moves. */
static inline void expect_counter(volatile int *counter, int value)
{
    for (int i = 0; i < 500 && *counter != value; i++) {
        (void)usleep(10000);
    }
    ck_assert_int_eq(*counter, value);
}

static inline void tell(enum ipc_type type, uint64_t number, const char *text, int fd)
{
    struct error err;
    ck_assert_msg(ipc_send(box.worker, type, number, text, fd, &err) == 0, "%s", err.message);
}

static inline struct ipc_message listen_to_api(void)
{
    struct ipc_message message = {.fd = -1};
    struct pollfd poll_fd = {.fd = box.worker, .events = POLLIN};
    bool closed = false;
    struct error err;
    ck_assert_int_eq(poll(&poll_fd, 1, 8000), 1);
    ck_assert_msg(ipc_receive(box.worker, &message, &closed, &err) == 0 && !closed, "no message");
    return message;
}

#endif
