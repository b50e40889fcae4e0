#include "server/http.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* Headers, request line and the structures that libmicrohttpd makes of them; cleared by it after each
       request. */
    CONNECTION_MEMORY = 32 * 1024,
    /* Of a chunked body that is too large, read so that the client gets its 413 and the connection can live
       on. */
    DRAIN_BYTES = 4 * 1024 * 1024,
};

static struct request *request_new(struct listener *listener)
{
    struct server *server = listener->server;
    struct request *request = server->unused;
    if (request != NULL) {
        server->unused = request->next;
        server->unused_count--;
    } else {
        request = malloc(sizeof *request);
        if (request == NULL) {
            return NULL;
        }
    }
    /* The two arrays at the end are written before they are read. */
    memset(request, 0, offsetof(struct request, headers));
    request->source.kind = SOURCE_REQUEST;
    request->listener = listener;
    request->started_us = server->setup->log_requests ? clock_monotonic_us() : 0;
    server->active++;
    return request;
}

static void request_free(struct request *request)
{
    struct server *server = request->listener->server;
    if (request->target != request->inline_target) {
        free(request->target);
    }
    if (request->has_reply) {
        api_reply_free(&request->reply);
    }
    strbuf_free(&request->body);
    server->active--;
    if (server->unused_count >= REQUESTS_KEPT) {
        free(request);
        return;
    }
    request->next = server->unused;
    server->unused = request;
    server->unused_count++;
}

/* libmicrohttpd decodes the target in place soon after this, so it is copied here. A longer one is only
 * measured. */
static bool keep_target(struct request *request, const char *target)
{
    size_t len = strlen(target);
    request->target = request->inline_target;
    request->target_len = len;
    if (len > LIMIT_TARGET_BYTES) {
        request->inline_target[0] = '\0';
        return true;
    }
    if (len >= TARGET_INLINE) {
        request->target = malloc(len + 1);
        if (request->target == NULL) {
            return false;
        }
    }
    memcpy(request->target, target, len + 1);
    return true;
}

/* A NULL closes the connection at the first call of on_request(). */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct request *request = request_new(cls);
    if (request == NULL) {
        return NULL;
    }
    request->connection = connection;
    if (!keep_target(request, target != NULL ? target : "")) {
        request_free(request);
        return NULL;
    }
    return request;
}

static enum MHD_Result refuse(struct request *request, const struct error *fault)
{
    reply_set_problem(request, fault->code, "%s", fault->message);
    request->phase = REQUEST_READY;
    connection_enter(connection_of(request->connection), CONNECTION_BUSY);
    /* A reply before the body closes the connection; what the client still sends must not destroy that reply.
     */
    if (request->has_body) {
        linger_add(request->listener->server, request);
    }
    return reply_queue(request);
}

static int check_place(struct connection *connection, struct error *err)
{
    return connection_is_over(connection)
               ? error_set(err, ERR_UNAVAILABLE,
                           "there are as many connections as there may be (http.max_connections, .max_connections_per_peer), and all are busy")
               : 0;
}

static enum MHD_Result begin(struct request *request, const char *method, const char *version)
{
    struct error fault;
    struct connection *connection = connection_of(request->connection);
    head_read(request);
    head_set_request_id(request);
    if (connection != NULL) {
        memcpy(request->api.peer, connection->text, sizeof request->api.peer);
    }
    request->api.method = method;
    request->api.target = request->target;
    request->api.headers = request->headers;
    request->phase = REQUEST_BODY;
    if (head_check(request, version, &fault) != 0 || check_place(connection, &fault) != 0) {
        return refuse(request, &fault);
    }
    if (request->has_body) {
        connection_enter(connection, CONNECTION_BODY);
    }
    return MHD_YES;
}

static enum MHD_Result take_body(struct request *request, const char *data, size_t *size)
{
    struct strbuf *body = &request->body;
    if (!request->api.body_too_large && body->len + *size > LIMIT_BODY_BYTES) {
        request->api.body_too_large = true;
        strbuf_free(body);
    }
    if (request->api.body_too_large) {
        request->drained += *size;
    } else {
        strbuf_add_bytes(body, data, *size);
    }
    *size = 0;
    return body->failed || request->drained > DRAIN_BYTES ? MHD_NO : MHD_YES;
}

static enum MHD_Result finish(struct request *request)
{
    connection_enter(connection_of(request->connection), CONNECTION_BUSY);
    request->api.body = request->body.data;
    request->api.body_len = request->body.len;
    request->has_reply = true;
    api_handle(request->listener->server->setup->api, &request->api, &request->reply);
    hold_settle(request);
    if (request->phase == REQUEST_READY) {
        return reply_queue(request);
    }
    hold_suspend(request);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    (void)cls;
    (void)connection;
    (void)url;
    struct request *request = *context;
    if (request == NULL || request->is_gone) {
        return MHD_NO;
    }
    switch (request->phase) {
    case REQUEST_HEAD:
        return begin(request, method, version);
    case REQUEST_BODY:
        return *size > 0 ? take_body(request, data, size) : finish(request);
    case REQUEST_READY:
        return reply_queue(request);
    case REQUEST_HELD:
    case REQUEST_REPLIED:
        break;
    }
    return MHD_YES;
}

static void log_request(const struct request *request)
{
    char status[16];
    char ms[32];
    (void)snprintf(status, sizeof status, "%u", request->status);
    (void)snprintf(ms, sizeof ms, "%.3f", (double)(clock_monotonic_us() - request->started_us) / 1000.0);
    log_event(LOG_DEBUG, "http.request", "id", request->api.request_id, "method", request->api.method, "target", request->target, "status", status, "ms", ms,
              "peer", request->api.peer, NULL);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)why;
    struct request *request = *context;
    *context = NULL;
    connection_enter(connection_of(connection), CONNECTION_HEAD);
    if (request == NULL) {
        return;
    }
    if (request->listener->server->setup->log_requests) {
        log_request(request);
    }
    hold_forget(request);
    request_free(request);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what)
{
    struct listener *listener = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        connection_close(*context);
        *context = NULL;
        /* At its limit libmicrohttpd stops accepting, and looks again only when it runs. */
        listener->must_run = true;
        return;
    }
    *context = connection_open(listener, connection);
}

static int watch_daemon(struct server *server, struct listener *listener, struct error *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->source};
    if (info == NULL || epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, info->epoll_fd, &event) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot watch a listener");
    }
    return 0;
}

int http_open(struct server *server, struct listener *listener, struct listen_socket *socket, struct error *err)
{
    listener->source.kind = SOURCE_LISTENER;
    listener->server = server;
    listener->is_tcp = socket->is_tcp;
    listener->must_run = true; /* it puts the socket into its own epoll set when it runs */
    /* The limit is looked at in connections.c: libmicrohttpd's own would let new ones wait until an old one ends. */
    unsigned connections = server->setup->limits.max_connections + CONNECTION_CLOSING_ROOM;
    listener->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, listener, MHD_OPTION_LISTEN_SOCKET, socket->fd,
                         MHD_OPTION_URI_LOG_CALLBACK, on_target, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, listener, MHD_OPTION_NOTIFY_CONNECTION,
                         on_connection, listener, MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)LIMIT_CONNECTION_IDLE_S,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (listener->daemon == NULL) {
        return error_set(err, ERR_SYSTEM, "cannot start the HTTP listener");
    }
    socket->fd = -1;
    return watch_daemon(server, listener, err);
}

void http_run(struct listener *listener, int64_t now_ms)
{
    MHD_UNSIGNED_LONG_LONG timeout = 0;
    listener->must_run = false;
    (void)MHD_run(listener->daemon);
    if (MHD_get_timeout(listener->daemon, &timeout) != MHD_YES) {
        listener->due_ms = INT64_MAX;
    } else if (timeout == 0) {
        listener->must_run = true;
    } else {
        listener->due_ms = now_ms + (int64_t)timeout;
    }
}

void http_quiesce(struct listener *listener)
{
    int fd = MHD_quiesce_daemon(listener->daemon);
    if (fd >= 0) {
        (void)close(fd);
    }
}

void http_close(struct listener *listener)
{
    if (listener->daemon != NULL) {
        MHD_stop_daemon(listener->daemon);
        listener->daemon = NULL;
    }
}
