#include "server/loop.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "server/http.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>

enum { EVENTS = 64, GRACE_MS = 1000 };

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int next_timeout(const struct server *server, int64_t until_ms)
{
    int64_t due = min64(until_ms, min64(waiters_next_deadline(&server->waiters), min64(linger_next_deadline(server), connections_next_deadline(server))));
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].must_run) {
            return 0;
        }
        due = min64(due, server->listeners[i].due_ms);
    }
    if (due == INT64_MAX) {
        return -1;
    }
    int64_t left = due - clock_monotonic_ms();
    return left <= 0 ? 0 : (int)min64(left, INT32_MAX);
}

static void on_worker(struct server *server, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        link_write(server);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        link_read(server);
    }
    if (server->worker_gone) {
        (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->setup->link->socket, NULL);
    }
}

static void on_event(struct server *server, const struct epoll_event *event)
{
    struct source *source = event->data.ptr;
    switch (source->kind) {
    case SOURCE_LISTENER:
        ((struct listener *)(void *)source)->must_run = true;
        break;
    case SOURCE_REQUEST:
        hold_client_gone((struct request *)(void *)source);
        break;
    case SOURCE_WORKER:
        on_worker(server, event->events);
        break;
    case SOURCE_SIGNAL:
        /* It stays readable, and has been heard. */
        (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->signal_fd, NULL);
        server->is_stopping = true;
        break;
    case SOURCE_LINGER:
        linger_read(server, (struct lingerer *)(void *)source);
        break;
    }
}

/* Room on the worker's socket matters only while a wake-up is owed. */
static void ask_for_room(struct server *server)
{
    bool wanted = server->setup->link->wake_all && !server->worker_gone;
    if (wanted != server->wants_write) {
        struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0U), .data.ptr = &server->worker};
        (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->setup->link->socket, &event);
        server->wants_write = wanted;
    }
}

/*
 * One turn: wait, note what happened, look at deadlines, and only then let libmicrohttpd run: that is the one
 * place where requests end, so no event of this turn points to one that is gone.
 */
static int turn(struct server *server, int64_t until_ms, struct error *err)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(server->epoll_fd, events, EVENTS, next_timeout(server, until_ms));
    if (count < 0 && errno != EINTR) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot wait for events");
    }
    for (int i = 0; i < count; i++) {
        on_event(server, &events[i]);
    }
    int64_t now = clock_monotonic_ms();
    hold_due(server, now);
    linger_due(server, now);
    connections_due(server, now);
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].must_run || server->listeners[i].due_ms <= now) {
            http_run(&server->listeners[i], now);
        }
    }
    ask_for_room(server);
    return 0;
}

static int watch(struct server *server, int fd, struct source *source, enum source_kind kind, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    source->kind = kind;
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot watch a descriptor");
    }
    return 0;
}

static int open_all(struct server *server, const sigset_t *signals, struct error *err)
{
    const struct server_setup *setup = server->setup;
    server->listeners = calloc(setup->socket_count > 0 ? setup->socket_count : 1, sizeof *server->listeners);
    if (server->listeners == NULL) {
        return error_oom(err);
    }
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->signal_fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make the event loop");
    }
    if (getrandom(&server->next_id, sizeof server->next_id, 0) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot get random bytes");
    }
    if (watch(server, server->signal_fd, &server->signal, SOURCE_SIGNAL, err) < 0 ||
        watch(server, setup->link->socket, &server->worker, SOURCE_WORKER, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < setup->socket_count; i++) {
        server->listener_count++;
        if (http_open(server, &server->listeners[i], &setup->sockets[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* No new connections; those who wait are answered; a second for the last bytes. */
static int finish_all(struct server *server, struct error *err)
{
    server->is_stopping = true;
    for (size_t i = 0; i < server->listener_count; i++) {
        http_quiesce(&server->listeners[i]);
        server->listeners[i].must_run = true;
    }
    hold_end_all(server, false);
    int64_t until = clock_monotonic_ms() + GRACE_MS;
    while (server->active > 0 && clock_monotonic_ms() < until) {
        if (turn(server, until, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static void close_all(struct server *server)
{
    /* libmicrohttpd aborts when it is stopped while a connection is suspended. */
    server->is_stopping = true;
    hold_end_all(server, true);
    for (size_t i = 0; i < server->listener_count; i++) {
        http_close(&server->listeners[i]);
    }
    linger_close_all(server);
    while (server->unused != NULL) {
        struct request *request = server->unused;
        server->unused = request->next;
        free(request);
    }
    waiters_free(&server->waiters);
    free(server->listeners);
    cleanup_close(&server->signal_fd);
    cleanup_close(&server->epoll_fd);
}

static int serve(struct server *server, struct error *err)
{
    while (!server->is_stopping && !server->worker_gone) {
        if (turn(server, INT64_MAX, err) < 0) {
            return -1;
        }
    }
    if (finish_all(server, err) < 0) {
        return -1;
    }
    return server->worker_gone ? error_set(err, ERR_UNAVAILABLE, "the worker is gone") : 0;
}

int server_run(const struct server_setup *setup, struct error *err)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return error_oom(err);
    }
    server->setup = setup;
    server->epoll_fd = -1;
    server->signal_fd = -1;
    server->asked_end = &server->asked;
    for (size_t i = 0; i < LINGER_MAX; i++) {
        server->lingering[i].fd = -1;
    }
    sigset_t signals;
    sigset_t before;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, &signals, &before);
    int r = open_all(server, &signals, err);
    if (r == 0) {
        r = serve(server, err);
    }
    close_all(server);
    free(server);
    /* The signals that ended it must not end the caller too. */
    struct timespec none = {0, 0};
    int pending = 0;
    do {
        pending = sigtimedwait(&signals, NULL, &none);
    } while (pending > 0);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return r;
}
