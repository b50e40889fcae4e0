#include "core/frame.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    BUFFER_BYTES = 1024 * 1024,
    FIRST_BYTES = 8 * 1024, /* read together with the head: most messages are shorter */
};

struct head {
    uint32_t len;
    uint16_t kind;
    uint16_t status;
};

void frame_free(struct frame *frame)
{
    free(frame->data);
    *frame = (struct frame){.data = NULL};
}

int frame_pair(int ret[2], struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket pair");
    }
    for (int i = 0; i < 2; i++) {
        const int size = BUFFER_BYTES;
        if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
            (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* as much as others may have */
        }
        ret[i] = pair[i];
    }
    return 0;
}

static int await(int socket, short events, int64_t deadline_ms, struct error *err)
{
    struct pollfd fd = {.fd = socket, .events = events};
    for (;;) {
        int timeout = -1;
        if (deadline_ms >= 0) {
            int64_t left = deadline_ms - clock_monotonic_ms();
            timeout = left > 0 ? (int)left : 0;
        }
        int n = poll(&fd, 1, timeout);
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return error_sys(err, ERR_TIMEOUT, ETIMEDOUT, "the other process does not answer");
        }
        if (errno != EINTR) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot wait for the other process");
        }
    }
}

static int failed(struct error *err)
{
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN || errno == EBADF) {
        return error_sys(err, ERR_UNAVAILABLE, EPIPE, "the other process is gone");
    }
    return error_sys(err, ERR_SYSTEM, errno, "a message between the processes failed");
}

int frame_send(int socket, uint16_t kind, uint16_t status, const struct record_bytes *bytes, int64_t deadline_ms, struct error *err)
{
    if (bytes->failed) {
        return error_oom(err);
    }
    if (bytes->len > FRAME_MAX) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "a message of %zu bytes is longer than %d", bytes->len, (int)FRAME_MAX);
    }
    struct head head = {.len = (uint32_t)bytes->len, .kind = kind, .status = status};
    struct iovec parts[] = {{&head, sizeof head}, {bytes->data, bytes->len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts)};
    size_t left = sizeof head + bytes->len;
    while (left > 0) {
        ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            return failed(err);
        }
        if (n < 0) {
            if (await(socket, POLLOUT, deadline_ms, err) != 0) {
                return -1;
            }
            continue;
        }
        left -= (size_t)n;
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            size_t part = (size_t)n < parts[i].iov_len ? (size_t)n : parts[i].iov_len;
            parts[i].iov_base = (uint8_t *)parts[i].iov_base + part;
            parts[i].iov_len -= part;
            n -= (ssize_t)part;
        }
    }
    return 0;
}

static int receive_bytes(int socket, void *buf, size_t len, int64_t deadline_ms, struct error *err)
{
    uint8_t *at = buf;
    while (len > 0) {
        ssize_t n = recv(socket, at, len, MSG_DONTWAIT);
        if (n == 0) {
            errno = EPIPE;
            return failed(err);
        }
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (await(socket, POLLIN, deadline_ms, err) != 0) {
                return -1;
            }
        } else if (errno != EINTR) {
            return failed(err);
        }
    }
    return 0;
}

/* Fills the frame's bytes from what came with its head, and from what is still to come. */
static int receive_rest(int socket, const uint8_t *first, size_t count, struct frame *ret, int64_t deadline_ms, struct error *err)
{
    ret->data = malloc(ret->len > 0 ? ret->len : 1);
    if (ret->data == NULL) {
        return error_oom(err);
    }
    memcpy(ret->data, first, count);
    if (receive_bytes(socket, ret->data + count, ret->len - count, deadline_ms, err) != 0) {
        frame_free(ret);
        return -1;
    }
    return 0;
}

int frame_receive(int socket, struct frame *ret, int64_t deadline_ms, struct error *err)
{
    struct {
        struct head head;
        uint8_t bytes[FIRST_BYTES];
    } first;
    ssize_t got = 0;
    do {
        if (await(socket, POLLIN, deadline_ms, err) != 0) {
            return -1;
        }
        got = recv(socket, &first, sizeof first, MSG_DONTWAIT);
    } while (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (got <= 0) {
        errno = got == 0 ? EPIPE : errno;
        return failed(err);
    }
    size_t count = (size_t)got;
    if (count < sizeof first.head) {
        if (receive_bytes(socket, (uint8_t *)&first.head + count, sizeof first.head - count, deadline_ms, err) != 0) {
            return -1;
        }
        count = sizeof first.head;
    }
    count -= sizeof first.head;
    if (first.head.len > FRAME_MAX) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "the other process announces a message of %u bytes", first.head.len);
    }
    if (count > first.head.len) { /* one asks, and the other answers: there is never a second message */
        return error_set(err, ERR_SYSTEM, "the other process says more than was asked");
    }
    *ret = (struct frame){.kind = first.head.kind, .status = first.head.status, .len = first.head.len};
    return receive_rest(socket, first.bytes, count, ret, deadline_ms, err);
}
