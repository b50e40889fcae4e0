#include "core/ipc.h"

#include "core/cleanup.h"
#include "core/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

enum {
    SEND_BUFFER_BYTES = 4 * 1024 * 1024, /* dozens of the largest answers, thousands of wake-ups */
    FDS_NOTICED = 2,                     /* one more than is allowed, so that too many are seen */
};

struct header {
    uint32_t type;
    uint32_t reserved; /* 0 */
    uint64_t number;
};

/* Room for SCM_RIGHTS, aligned as the kernel wants it. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * FDS_NOTICED)];
};

int ipc_pair(int fds[2], struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket pair");
    }
    for (int i = 0; i < 2; i++) {
        int size = SEND_BUFFER_BYTES;
        if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
            (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* as much as others may have */
        }
        fds[i] = pair[i];
    }
    return 0;
}

static void attach_fd(struct msghdr *message, union control *control, int fd)
{
    message->msg_control = control->bytes;
    message->msg_controllen = CMSG_SPACE(sizeof fd);
    struct cmsghdr *part = CMSG_FIRSTHDR(message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(part), &fd, sizeof fd);
}

static int send_failed(int errnum, struct error *err)
{
    switch (errnum) {
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return error_sys(err, ERR_UNAVAILABLE, EPIPE, "the other process is gone");
    case EAGAIN:
    case ENOBUFS:
    case ETOOMANYREFS:
        return error_sys(err, ERR_UNAVAILABLE, EAGAIN, "the other process does not keep up with its messages");
    default:
        return error_sys(err, ERR_SYSTEM, errnum, "cannot send a message to the other process");
    }
}

int ipc_send(int socket, enum ipc_type type, uint64_t number, const char *text, int fd, struct error *err)
{
    size_t len = strlen(text);
    if (len > LIMIT_QUESTION_BYTES) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "a message of %zu bytes is longer than %d", len, (int)LIMIT_QUESTION_BYTES);
    }
    struct header header = {.type = type, .number = number};
    /* sendmsg() only reads, though its type does not say so */
    struct iovec parts[] = {{&header, sizeof header}, {(void *)(uintptr_t)text, len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts)};
    union control control = {0};
    if (fd >= 0) {
        attach_fd(&message, &control, fd);
    }
    ssize_t n;
    do {
        n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? send_failed(errno, err) : 0;
}

/* Takes the descriptor that came along, if any; closes all of them and returns false when there are several.
 */
static bool take_fds(struct msghdr *message, int *ret)
{
    int fds[FDS_NOTICED];
    size_t count = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            size_t len = part->cmsg_len - CMSG_LEN(0);
            count = len / sizeof fds[0];
            memcpy(fds, CMSG_DATA(part), len);
        }
    }
    if (count == 1 && (message->msg_flags & MSG_CTRUNC) == 0) {
        *ret = fds[0];
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        (void)close(fds[i]);
    }
    return count == 0 && (message->msg_flags & MSG_CTRUNC) == 0;
}

/* Reads one message into `buf` (with room for one byte too many); its length, 0 when the other side is gone,
 * or -1. */
static ssize_t read_message(int socket, struct header *header, char *buf, int *ret_fd, bool *ret_valid, struct error *err)
{
    union control control = {0};
    struct iovec parts[] = {{header, sizeof *header}, {buf, LIMIT_QUESTION_BYTES + 1}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts), .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == ECONNRESET) { /* it left without reading what we had sent */
            return 0;
        }
        return error_sys(err, errno == EAGAIN ? ERR_UNAVAILABLE : ERR_SYSTEM, errno, "cannot receive a message of the other process");
    }
    bool fds_fit = take_fds(&message, ret_fd);
    *ret_valid = fds_fit && (message.msg_flags & MSG_TRUNC) == 0;
    return n;
}

static bool is_well_formed(const struct header *header, const char *text, size_t len)
{
    return header->type <= IPC_ANSWER && header->reserved == 0 && len <= LIMIT_QUESTION_BYTES && memchr(text, '\0', len) == NULL;
}

int ipc_receive(int socket, struct ipc_message *ret, bool *ret_closed, struct error *err)
{
    struct header header = {0};
    AUTO_FREE char *buf = malloc(LIMIT_QUESTION_BYTES + 1);
    AUTO_CLOSE int fd = -1;
    bool valid = false;
    *ret_closed = false;
    if (buf == NULL) {
        return error_oom(err);
    }
    ssize_t n = read_message(socket, &header, buf, &fd, &valid, err);
    if (n < 0) {
        return -1;
    }
    if (n == 0) {
        *ret_closed = true;
        return error_sys(err, ERR_UNAVAILABLE, EPIPE, "the other process is gone");
    }
    if (!valid || (size_t)n < sizeof header || !is_well_formed(&header, buf, (size_t)n - sizeof header)) {
        return error_set(err, ERR_BAD_REQUEST, "the other process sent a malformed message");
    }
    char *text = strndup(buf, (size_t)n - sizeof header);
    if (text == NULL) {
        return error_oom(err);
    }
    *ret = (struct ipc_message){(enum ipc_type)header.type, header.number, text, TAKE_FD(fd)};
    return 0;
}

void ipc_message_free(struct ipc_message *message)
{
    if (message != NULL) {
        free(message->text);
        if (message->fd >= 0) {
            (void)close(message->fd);
        }
        message->text = NULL;
        message->fd = -1;
    }
}
