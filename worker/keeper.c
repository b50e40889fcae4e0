#include "worker/keeper.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/frame.h"
#include "core/json.h"
#include "worker/border/wanted.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum {
    RESTART_MS = 100,
    READY_MS = 120000,      /* it migrates, and looks through a damaged database */
    FIRST_TRIES_MS = 60000, /* of the daemon's start */
    SPARED_TOLD = 8,        /* in the log, of what is left out in SPARED_PAUSE_MS: it is whoever writes the rows who says how many there are */
    SPARED_PAUSE_MS = 10000,
    END_DAMAGED = 3, /* keeper/keeper.h: KEEPER_DAMAGED */
};

static void give_up(void *ctx)
{
    const struct keeper *keeper = ctx;
    const uint64_t one = 1;
    if (write(keeper->broken, &one, sizeof one) != (ssize_t)sizeof one) {
        return; /* it is readable already */
    }
}

/* An element of a list that was left out: its own key tells of it, when that is worked on. */
static void note_spared(void *ctx, const char *list, const char *key, const struct error *why)
{
    struct keeper *keeper = ctx;
    char safe[64];
    size_t len = 0;
    const int64_t now_ms = clock_monotonic_ms();
    if (now_ms - keeper->spared_ms >= SPARED_PAUSE_MS) {
        keeper->spared_ms = now_ms;
        keeper->spared = 0;
    }
    if (keeper->spared++ >= SPARED_TOLD) {
        return;
    }
    for (; len < sizeof safe - 1 && key[len] != '\0'; len++) {
        safe[len] = (unsigned char)key[len] < 0x20 || (unsigned char)key[len] > 0x7e ? '?' : key[len];
    }
    safe[len] = '\0';
    log_event(LOG_WARN, "row.spared", "list", list, "key", safe, "message", why->message, NULL);
}

static int watch(const struct keeper *keeper, int fd, enum epoll_tag tag, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EPOLL_DATA(tag, 0)};
    if (epoll_ctl(keeper->worker->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the keeper could not be watched");
    }
    return 0;
}

/* Out of the epoll first: a child between fork and exec may hold a copy (epoll(7), question 6). */
static void let_go(const struct keeper *keeper, int *fd)
{
    if (*fd >= 0) {
        (void)epoll_ctl(keeper->worker->epoll, EPOLL_CTL_DEL, *fd, NULL);
        (void)close(*fd);
        *fd = -1;
    }
}

static int start(struct keeper *keeper, struct error *err)
{
    keeper->process = keeper->setup->start_keeper(keeper->setup->ctx, keeper->check, &keeper->socket, err);
    keeper->deadline_ms = clock_monotonic_ms() + (keeper->process < 0 ? RESTART_MS : READY_MS);
    return keeper->process < 0 ? -1 : 0;
}

/* What it said first, when something is there to be read. */
static int take_hello(struct keeper *keeper, bool *ret_anew, struct error *err)
{
    AUTO_FRAME frame = {.data = NULL};
    if (frame_receive(keeper->socket, &frame, clock_monotonic_ms() + 1000, err) != 0) {
        return -1;
    }
    if (frame.kind != FRAME_HELLO || frame.len != 0) {
        return error_set(err, ERR_UNAVAILABLE, "the keeper said something else than that it is ready");
    }
    *ret_anew = frame.status == 1;
    keeper->check = false;
    keeper->deadline_ms = 0;
    (void)epoll_ctl(keeper->worker->epoll, EPOLL_CTL_DEL, keeper->socket, NULL);
    border_connect(keeper->worker->border, TAKE_FD(keeper->socket));
    return 0;
}

static void end(struct keeper *keeper)
{
    int status = -1;
    border_connect(keeper->worker->border, -1);
    let_go(keeper, &keeper->socket);
    if (keeper->process >= 0) {
        (void)process_signal(keeper->process, SIGKILL, NULL);
        (void)process_wait(keeper->process, 5000, &status, NULL);
        let_go(keeper, &keeper->process);
    }
}

static int start_and_wait(struct keeper *keeper, struct error *err)
{
    bool anew = false;
    if (start(keeper, err) != 0) {
        return -1;
    }
    struct pollfd fd = {.fd = keeper->socket, .events = POLLIN};
    if (poll(&fd, 1, READY_MS) != 1) {
        return error_set(err, ERR_TIMEOUT, "the keeper did not get ready");
    }
    if (take_hello(keeper, &anew, err) != 0) {
        return -1;
    }
    atomic_store(&keeper->worker->database_anew, anew);
    return 0;
}

int keeper_open(struct worker *worker, const struct worker_setup *setup, struct keeper *ret, struct error *err)
{
    const struct border_setup border = {.give_up = give_up, .spared = note_spared, .ctx = ret};
    int64_t until_ms = clock_monotonic_ms() + FIRST_TRIES_MS;
    ret->worker = worker;
    ret->setup = setup;
    ret->broken = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ret->broken < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "no eventfd");
    }
    if (border_new(&border, &worker->border, err) != 0) {
        return -1;
    }
    for (;;) {
        struct error why = {0};
        if (start_and_wait(ret, &why) == 0) {
            return 0;
        }
        end(ret);
        if (clock_monotonic_ms() >= until_ms) {
            return error_set(err, ERR_DATABASE, "the keeper of the database does not start: %s; its own log lines say why", why.message);
        }
        (void)poll(NULL, 0, RESTART_MS * 5);
    }
}

int keeper_watch(struct keeper *keeper, struct error *err)
{
    return watch(keeper, keeper->broken, EPOLL_TAG_KEEPER_BROKEN, err) != 0 ? -1 : watch(keeper, keeper->process, EPOLL_TAG_KEEPER_PROCESS, err);
}

void keeper_close(struct keeper *keeper)
{
    if (keeper->worker == NULL) {
        return;
    }
    /* It ends when its socket is closed, after what it was asked last. */
    int status = -1;
    border_connect(keeper->worker->border, -1);
    if (keeper->process >= 0) {
        (void)process_wait(keeper->process, 5000, &status, NULL);
    }
    end(keeper);
    let_go(keeper, &keeper->broken);
}

static void start_again(struct keeper *keeper)
{
    struct error err = {0};
    if (start(keeper, &err) != 0 || watch(keeper, keeper->process, EPOLL_TAG_KEEPER_PROCESS, &err) != 0 ||
        watch(keeper, keeper->socket, EPOLL_TAG_KEEPER_SOCKET, &err) != 0) {
        log_event(LOG_ERROR, "keeper.start_failed", "code", error_code_name(err.code), "message", err.message, NULL);
        end(keeper);
        keeper->deadline_ms = clock_monotonic_ms() + RESTART_MS;
    }
}

void keeper_on_process(struct keeper *keeper)
{
    char text[PROCESS_STATUS_TEXT_MAX];
    int status = -1;
    (void)process_wait(keeper->process, 0, &status, NULL);
    log_event(LOG_ERROR, "keeper.ended", "how", process_status_text(status, text), NULL);
    keeper->check = keeper->check || (WIFEXITED(status) && WEXITSTATUS(status) == END_DAMAGED);
    let_go(keeper, &keeper->process);
    end(keeper);
    keeper->deadline_ms = clock_monotonic_ms() + RESTART_MS;
}

void keeper_on_broken(struct keeper *keeper)
{
    uint64_t count = 0;
    if (read(keeper->broken, &count, sizeof count) != (ssize_t)sizeof count || keeper->process < 0 || keeper->socket >= 0) {
        return; /* of one that has ended meanwhile */
    }
    log_event(LOG_ERROR, "keeper.given_up", "message", "it did not answer in time, or answered nonsense", NULL);
    end(keeper);
    keeper->deadline_ms = clock_monotonic_ms() + RESTART_MS;
}

void keeper_on_socket(struct keeper *keeper, bool *ret_anew)
{
    struct error err = {0};
    if (keeper->socket < 0) {
        return;
    }
    if (take_hello(keeper, ret_anew, &err) == 0) {
        if (*ret_anew) {
            atomic_store(&keeper->worker->database_anew, true);
        }
        /* What was asked for meanwhile failed. */
        (void)queue_add(keeper->worker->queue, QUEUE_EVERYTHING);
        return;
    }
    if (err.sys_errno != EPIPE) {
        log_event(LOG_ERROR, "keeper.start_failed", "code", error_code_name(err.code), "message", err.message, NULL);
    }
    let_go(keeper, &keeper->socket); /* its end is seen next */
    (void)process_signal(keeper->process, SIGKILL, NULL);
}

void keeper_on_deadline(struct keeper *keeper)
{
    if (keeper->deadline_ms == 0 || clock_monotonic_ms() < keeper->deadline_ms) {
        return;
    }
    if (keeper->process >= 0) {
        log_event(LOG_ERROR, "keeper.given_up", "message", "it did not get ready", NULL);
        end(keeper);
    }
    start_again(keeper);
}
