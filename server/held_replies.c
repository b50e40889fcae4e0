#include "server/http.h"

#include "core/clock.h"

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct request *request_of(struct waiter *waiter)
{
    return (struct request *)(void *)((char *)waiter - offsetof(struct request, waiter));
}

static int connection_fd(const struct request *request)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != NULL ? info->connect_fd : -1;
}

/*
 * libmicrohttpd does not look at suspended connections, so their sockets are watched here. On TCP a closed
 * connection looks like one whose client only has no more to say; on a unix socket the two differ (EPOLLHUP,
 * always reported).
 */
static void watch(struct request *request)
{
    if (request->is_watched) {
        return;
    }
    struct epoll_event event = {.events = EPOLLONESHOT | (request->listener->is_tcp ? EPOLLRDHUP : 0U), .data.ptr = &request->source};
    int fd = connection_fd(request);
    /* Without it, a client that leaves is noticed at the deadline. */
    request->is_watched = fd >= 0 && epoll_ctl(request->listener->server->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool is_waiting_kind(const struct request *request)
{
    return request->reply.kind == API_REPLY_WAIT || request->reply.kind == API_REPLY_ASK;
}

/* Keeps the reply until something happens; with a problem in its place when that is not possible. */
static void hold(struct request *request, const char *key, int64_t deadline_ms)
{
    struct server *server = request->listener->server;
    if (server->waiting >= LIMIT_WAITERS) {
        reply_set_problem(request, ERR_UNAVAILABLE, "%d requests wait already, and that is the limit", LIMIT_WAITERS);
        request->phase = REQUEST_READY;
        return;
    }
    request->waiter.key = key;
    request->waiter.deadline_ms = deadline_ms;
    if (waiters_add(&server->waiters, &request->waiter) < 0) {
        reply_set_problem(request, ERR_OUT_OF_MEMORY, "out of memory");
        request->phase = REQUEST_READY;
        return;
    }
    server->waiting++;
    request->phase = REQUEST_HELD;
}

static void poll_expired(struct request *request)
{
    struct server *server = request->listener->server;
    if (!request->reply.ops->poll(server->setup->api, &request->reply, true)) {
        reply_set_problem(request, ERR_TIMEOUT, "the wait ended without an answer");
    }
}

static void answer_nothing(struct request *request)
{
    struct server *server = request->listener->server;
    request->reply.ops->answer(server->setup->api, &request->reply, NULL, -1);
}

void hold_settle(struct request *request)
{
    struct server *server = request->listener->server;
    while (is_waiting_kind(request)) {
        if (request->reply.kind == API_REPLY_WAIT) {
            if (!server->is_stopping) {
                hold(request, request->reply.key, request->reply.deadline_ms);
                return;
            }
            poll_expired(request);
        } else if (!server->is_stopping && link_ask(request) == 0) {
            hold(request, NULL, clock_monotonic_ms() + (int64_t)LIMIT_QUESTION_S * 1000);
            if (request->phase != REQUEST_HELD) {
                link_forget(request);
            }
            return;
        } else {
            answer_nothing(request);
        }
    }
    request->phase = REQUEST_READY;
}

void hold_suspend(struct request *request)
{
    watch(request);
    request->is_held = true;
    MHD_suspend_connection(request->connection);
}

static void resume(struct request *request)
{
    request->is_held = false;
    request->listener->must_run = true;
    MHD_resume_connection(request->connection);
}

void hold_stream(struct request *request)
{
    struct server *server = request->listener->server;
    request->waiter.key = request->reply.key;
    request->waiter.deadline_ms = clock_monotonic_ms() + API_HEARTBEAT_MS;
    if (waiters_add(&server->waiters, &request->waiter) < 0) {
        request->is_gone = true; /* ends it at the next read */
        return;
    }
    hold_suspend(request);
}

/* A reply that is no longer among the waiters moves on: the connection goes on when it became ready. */
static void move_on(struct request *request, bool expired)
{
    struct server *server = request->listener->server;
    if (request->phase == REQUEST_REPLIED) {
        resume(request); /* a stream: its reader looks for itself */
        return;
    }
    server->waiting--;
    if (request->reply.kind == API_REPLY_ASK) {
        link_forget(request);
        answer_nothing(request);
    } else if (expired) {
        poll_expired(request);
    } else {
        (void)request->reply.ops->poll(server->setup->api, &request->reply, false);
    }
    hold_settle(request);
    if (request->phase == REQUEST_READY) {
        resume(request);
    }
}

void hold_changed(struct waiter *list)
{
    struct waiter *next = NULL;
    for (struct waiter *waiter = list; waiter != NULL; waiter = next) {
        next = waiter->next;
        move_on(request_of(waiter), false);
    }
}

void hold_due(struct server *server, int64_t now_ms)
{
    struct waiter *waiter = NULL;
    while ((waiter = waiters_take_due(&server->waiters, now_ms)) != NULL) {
        move_on(request_of(waiter), true);
    }
}

void hold_answered(struct request *request, const json_t *answer, int fd)
{
    struct server *server = request->listener->server;
    waiters_remove(&server->waiters, &request->waiter);
    server->waiting--;
    link_forget(request);
    request->reply.ops->answer(server->setup->api, &request->reply, answer, fd);
    hold_settle(request);
    if (request->phase == REQUEST_READY) {
        resume(request);
    }
}

/* Takes the request out of everything and lets libmicrohttpd close the connection. */
static void abandon(struct request *request)
{
    struct server *server = request->listener->server;
    request->is_gone = true;
    waiters_remove(&server->waiters, &request->waiter);
    if (request->phase == REQUEST_HELD) {
        server->waiting--;
        link_forget(request);
        request->phase = REQUEST_READY;
    }
    if (request->is_held) {
        resume(request);
    }
}

void hold_client_gone(struct request *request)
{
    /* Told once only, so it is kept even when the request has just been resumed and may be held again. */
    request->is_gone = true;
    if (request->is_held) {
        abandon(request);
    }
}

void hold_end_all(struct server *server, bool is_gone)
{
    /* Settled again while stopping, nothing comes back among the waiters. */
    struct waiter *waiter = NULL;
    while ((waiter = waiters_take_any(&server->waiters)) != NULL) {
        if (is_gone) {
            abandon(request_of(waiter));
        } else {
            move_on(request_of(waiter), true);
        }
    }
}

void hold_forget(struct request *request)
{
    struct server *server = request->listener->server;
    waiters_remove(&server->waiters, &request->waiter);
    if (request->phase == REQUEST_HELD) {
        server->waiting--;
        link_forget(request);
    }
    if (request->is_stream) {
        server->streams--;
    }
    int fd = request->is_watched ? connection_fd(request) : -1;
    if (fd >= 0) {
        (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    }
}
