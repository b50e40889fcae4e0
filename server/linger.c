#include "server/http.h"

#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A socket that is closed with unread bytes in it resets the connection, and the client, still sending, may
 * never see the reply that refused its body. So the socket is held by a second descriptor for a moment, and
 * what comes is read and thrown away, until the client closes its end, or has had its share of time and
 * bytes.
 */
enum { LINGER_MS = 2000, LINGER_BYTES = 8 * 1024 * 1024 };

static void linger_close(struct server *server, struct lingerer *linger)
{
    if (linger->fd >= 0) {
        /* Closing alone would not do: libmicrohttpd may still have the same socket open. */
        (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, linger->fd, NULL);
        (void)close(linger->fd);
        linger->fd = -1;
        server->linger_count--;
    }
}

/* Best effort: with all places taken the client takes its chance. */
void linger_add(struct server *server, const struct request *request)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct lingerer *place = NULL;
    for (size_t i = 0; i < LINGER_MAX && place == NULL; i++) {
        place = server->lingering[i].fd < 0 ? &server->lingering[i] : NULL;
    }
    if (place == NULL || info == NULL) {
        return;
    }
    place->fd = fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 0);
    if (place->fd < 0) {
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &place->source};
    place->source.kind = SOURCE_LINGER;
    place->left = LINGER_BYTES;
    place->deadline_ms = clock_monotonic_ms() + LINGER_MS;
    server->linger_count++;
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, place->fd, &event) < 0) {
        linger_close(server, place);
    }
}

void linger_read(struct server *server, struct lingerer *linger)
{
    char buf[16384];
    ssize_t len = recv(linger->fd, buf, sizeof buf, MSG_DONTWAIT);
    if (len > 0 && (size_t)len < linger->left) {
        linger->left -= (size_t)len;
        return;
    }
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    linger_close(server, linger);
}

int64_t linger_next_deadline(const struct server *server)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < LINGER_MAX && server->linger_count > 0; i++) {
        const struct lingerer *linger = &server->lingering[i];
        next = linger->fd >= 0 && linger->deadline_ms < next ? linger->deadline_ms : next;
    }
    return next;
}

void linger_due(struct server *server, int64_t now_ms)
{
    for (size_t i = 0; i < LINGER_MAX && server->linger_count > 0; i++) {
        if (server->lingering[i].deadline_ms <= now_ms) {
            linger_close(server, &server->lingering[i]);
        }
    }
}

void linger_close_all(struct server *server)
{
    linger_due(server, INT64_MAX);
}
