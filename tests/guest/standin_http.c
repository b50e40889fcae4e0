/*
 * HTTP as the micro_http library of Firecracker speaks it: a handful of connections, kept open, no reason phrases,
 * and an error in a form of its own when a request can't be read. One thread and one request at a time: what hangs
 * hangs them all, as in the real one.
 */
#include "standin.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { CONNECTIONS = 10, HEAD_MAX = 8192, BUFFER_MAX = HEAD_MAX + STANDIN_BODY_MAX };

struct connection {
    int fd; /* -1 when free */
    size_t len;
    bool continued; /* the request that is being read was told to go on */
    char bytes[BUFFER_MAX + 1];
};

struct request {
    char method[16];
    char path[512];
    size_t head_len; /* with the empty line */
    bool has_length;
    size_t body_len;
    bool expects_continue;
};

int standin_listen(const struct standin *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s", s->api_sock) >= (int)sizeof address.sun_path) {
        return -1;
    }
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, CONNECTIONS) != 0) {
        return -1;
    }
    return TAKE_FD(fd);
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void put_head(struct strbuf *out, int status, size_t body_len)
{
    strbuf_addf(out, "HTTP/1.1 %d \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n", status);
    if (body_len > 0) {
        strbuf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_len);
    }
    strbuf_add(out, "\r\n");
}

static bool send_reply(int fd, int status, const char *body, size_t len)
{
    AUTO_STRBUF out = STRBUF_INIT;
    put_head(&out, status, len);
    strbuf_add_bytes(&out, body, len);
    return !out.failed && send_all(fd, out.data, out.len);
}

static bool send_unreadable(int fd, const char *why)
{
    char text[512];
    const int len = snprintf(text, sizeof text, "{ \"error\": \"%.300s\nAll previous unanswered requests will be dropped.\" }", why);
    return send_reply(fd, 400, text, (size_t)len);
}

/* Both below: NULL, or what micro_http says is wrong. */
static const char *parse_line(const char *line, size_t len, struct request *request)
{
    char target[sizeof request->path];
    const char *space = memchr(line, ' ', len);
    const char *last = memrchr(line, ' ', len);
    if (space == NULL || last == space) {
        return "Invalid request.";
    }
    (void)snprintf(request->method, sizeof request->method, "%.*s", (int)(space - line), line);
    (void)snprintf(target, sizeof target, "%.*s", (int)(last - space - 1), space + 1);
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "PUT") != 0 && strcmp(request->method, "PATCH") != 0) {
        return "Invalid HTTP Method: Unsupported HTTP method.";
    }
    const char *path = strncmp(target, "http://", 7) == 0 ? strchr(target + 7, '/') : target;
    if (path == NULL || path[0] != '/') {
        return "Invalid URI: Empty URI not allowed.";
    }
    (void)snprintf(request->path, sizeof request->path, "%s", path);
    const size_t version_len = (size_t)(line + len - last - 1);
    if (version_len != 8 || (memcmp(last + 1, "HTTP/1.1", 8) != 0 && memcmp(last + 1, "HTTP/1.0", 8) != 0)) {
        return "Invalid HTTP Version: Unsupported HTTP version.";
    }
    return NULL;
}

static const char *parse_header(const char *line, struct request *request, char *why, size_t size)
{
    const char *value = strchr(line, ':');
    if (value == NULL) {
        (void)snprintf(why, size, "Invalid header. Reason: Header is incorrectly formatted. Key: %.200s", line);
        return why;
    }
    const size_t name_len = (size_t)(value - line);
    value += 1 + strspn(value + 1, " \t");
    if (name_len == strlen("expect") && strncasecmp(line, "expect", name_len) == 0) {
        request->expects_continue = strcasecmp(value, "100-continue") == 0;
    }
    if (name_len != strlen("content-length") || strncasecmp(line, "content-length", name_len) != 0) {
        return NULL;
    }
    char *end = NULL;
    const unsigned long length = strtoul(value, &end, 10);
    if (end == value || *end != '\0') {
        (void)snprintf(why, size, "Invalid header. Reason: Invalid value. Key:Content-Length; Value: %.100s", value);
        return why;
    }
    if (length > STANDIN_BODY_MAX) {
        (void)snprintf(why, size, "Request payload with size %lu is larger than the limit of %d allowed by server.", length, STANDIN_BODY_MAX);
        return why;
    }
    request->has_length = true;
    request->body_len = length;
    return NULL;
}

/* `head` holds head_len bytes that end with an empty line. */
static const char *parse_head(const char *head, size_t head_len, struct request *request, char *why, size_t size)
{
    *request = (struct request){.head_len = head_len};
    const char *end = head + head_len - 2;
    const char *line_end = memmem(head, head_len, "\r\n", 2);
    const char *wrong = parse_line(head, (size_t)(line_end - head), request);
    for (const char *line = line_end + 2; wrong == NULL && line < end; line = line_end + 2) {
        char text[HEAD_MAX];
        line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
        line_end = line_end == NULL ? end : line_end;
        (void)snprintf(text, sizeof text, "%.*s", (int)(line_end - line), line);
        wrong = parse_header(text, request, why, size);
    }
    return wrong;
}

static void send_half(int fd, const struct standin_reply *reply)
{
    AUTO_STRBUF out = STRBUF_INIT;
    /* An answer without a body breaks off in its head. */
    put_head(&out, reply->status, reply->body.len);
    strbuf_add_bytes(&out, reply->body.data, reply->body.len);
    (void)send_all(fd, out.data, reply->body.len > 0 ? out.len - reply->body.len / 2 : out.len / 2);
}

static void send_endless(int fd)
{
    char block[4096];
    static const char head[] = "HTTP/1.1 200 \r\nServer: Firecracker API\r\nContent-Type: application/json\r\n\r\n[";
    memset(block, ' ', sizeof block);
    bool more = send_all(fd, head, sizeof head - 1);
    while (more) {
        more = send_all(fd, block, sizeof block);
    }
}

/* False: the connection is over. */
static bool send_faulty(const struct standin *s, int fd, const struct standin_fault *fault, const struct standin_reply *reply)
{
    static const char garbage[] = "\x16\x03\x01\xff\xfe\x80{{\r\n\r\n\r\nHTTP/9.9 abc\r\n\xc3\x28";
    static const char wrong[] = "{\"id\":[7],\"state\":\"Exploded\",\"vmm_version\":null}";
    char text[192];
    switch (fault->kind) {
    case STANDIN_HALF:
        send_half(fd, reply);
        standin_hang();
    case STANDIN_CUT:
        send_half(fd, reply);
        return false;
    case STANDIN_ENDLESS:
        send_endless(fd);
        return false;
    case STANDIN_GARBAGE:
        (void)send_all(fd, garbage, sizeof garbage - 1);
        return false;
    case STANDIN_WRONG:
        return send_reply(fd, 200, wrong, sizeof wrong - 1);
    case STANDIN_ERROR:
        (void)snprintf(text, sizeof text, "{\"fault_message\":\"%s\"}", fault->words[0] != '\0' ? fault->words : "standin: an error on demand");
        return send_reply(fd, fault->status < 0 ? 400 : (int)fault->status, text, strlen(text));
    case STANDIN_CLOSE:
        return false;
    case STANDIN_DIE_AFTER:
        standin_die(s, fault);
    case STANDIN_NO_FAULT:
    case STANDIN_SLOW:
    case STANDIN_HANG:
    case STANDIN_DIE:
    case STANDIN_DEAF:
        break;
    }
    return send_reply(fd, reply->status, reply->body.data, reply->body.len);
}

/* An error on demand is one before anything was done; the other faulty answers tell of something that was. */
static bool serve_request(struct standin *s, int fd, const struct request *request, const char *body)
{
    const size_t len = request->body_len;
    const char *given = request->has_length && len > 0 ? body : NULL;
    struct standin_reply reply = {.status = 500, .body = STRBUF_INIT};
    const struct standin_fault fault = standin_faults_next(standin_operation(request->method, request->path, given, len));
    if (fault.kind == STANDIN_HANG) {
        standin_hang();
    }
    if (fault.kind == STANDIN_DIE) {
        standin_die(s, &fault);
    }
    if (fault.kind == STANDIN_SLOW) {
        standin_sleep_ms(fault.ms);
    }
    if (fault.kind != STANDIN_ERROR) {
        standin_answer(s, request->method, request->path, given, len, &reply);
    }
    const bool open = send_faulty(s, fd, &fault, &reply);
    strbuf_free(&reply.body);
    /* After the answer: a guest that ends at once must not take it along. */
    (void)eventfd_write(s->wake, 1);
    return open;
}

/* Whole requests in the buffer are answered; false: the connection is over. */
static bool serve_buffer(struct standin *s, struct connection *c)
{
    char why[400];
    for (;;) {
        struct request request;
        const char *end = memmem(c->bytes, c->len, "\r\n\r\n", 4);
        if (end == NULL) {
            return c->len <= HEAD_MAX;
        }
        const char *wrong = parse_head(c->bytes, (size_t)(end - c->bytes) + 4, &request, why, sizeof why);
        if (wrong != NULL) {
            c->len = 0;
            return send_unreadable(c->fd, wrong);
        }
        if (request.expects_continue && !c->continued && !send_reply(c->fd, 100, "", 0)) {
            return false;
        }
        c->continued = true;
        if (c->len < request.head_len + request.body_len) {
            return true;
        }
        c->continued = false;
        if (!serve_request(s, c->fd, &request, c->bytes + request.head_len)) {
            return false;
        }
        const size_t used = request.head_len + request.body_len;
        memmove(c->bytes, c->bytes + used, c->len - used);
        c->len -= used;
    }
}

static void close_connection(struct connection *c)
{
    (void)close(c->fd);
    c->fd = -1;
    c->len = 0;
    c->continued = false;
}

static void serve_connection(struct standin *s, struct connection *c)
{
    const ssize_t n = recv(c->fd, c->bytes + c->len, BUFFER_MAX - c->len, 0);
    if (n <= 0) {
        close_connection(c);
        return;
    }
    c->len += (size_t)n;
    c->bytes[c->len] = '\0';
    if (!serve_buffer(s, c)) {
        close_connection(c);
    }
}

/* One that comes when all are taken is closed at once. */
static void take_connection(int listener, struct connection *connections)
{
    // cppcheck-suppress nullPointer ; accept(2) allows it
    AUTO_CLOSE int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < CONNECTIONS; i++) {
        if (connections[i].fd < 0) {
            connections[i].fd = TAKE_FD(fd);
        }
    }
}

void *standin_serve(void *arg)
{
    static struct connection connections[CONNECTIONS];
    const struct standin_api *api = arg;
    (void)prctl(PR_SET_NAME, "fc_api");
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connections[i].fd = -1;
    }
    for (;;) {
        struct pollfd fds[CONNECTIONS + 1] = {{.fd = api->listener, .events = POLLIN}};
        for (size_t i = 0; i < CONNECTIONS; i++) {
            fds[i + 1] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
        }
        (void)poll(fds, ARRAY_LEN(fds), -1);
        for (size_t i = 0; i < CONNECTIONS; i++) {
            if (fds[i + 1].revents != 0) {
                serve_connection(api->standin, &connections[i]);
            }
        }
        if (fds[0].revents != 0) {
            take_connection(api->listener, connections);
        }
    }
    return NULL;
}
