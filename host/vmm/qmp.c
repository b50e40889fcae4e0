#include "host/vmm/qmp.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

struct qmp {
    int fd;
    const char *socket; /* its name, for messages */
    int timeout_ms;
    int64_t deadline; /* of clock_monotonic_ms() */
    size_t len;       /* received in buf */
    size_t used;      /* of them, the lines that were given out */
    char buf[QMP_LINE_MAX];
};

static int timed_out(const struct qmp *q, struct error *err)
{
    return error_set(err, ERR_TIMEOUT, "no answer on %s within %d ms", q->socket, q->timeout_ms);
}

static int wait_ready(const struct qmp *q, short events, struct error *err)
{
    struct pollfd p = {.fd = q->fd, .events = events};
    for (;;) {
        int64_t left = q->deadline - clock_monotonic_ms();
        int ready = left <= 0 ? 0 : poll(&p, 1, (int)left);
        if (ready > 0) {
            return 0;
        }
        if (ready == 0) {
            return timed_out(q, err);
        }
        if (errno != EINTR) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot wait for %s", q->socket);
        }
    }
}

static int send_line(const struct qmp *q, const char *text, struct error *err)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = send(q->fd, text, len, MSG_NOSIGNAL);
        if (n >= 0) {
            text += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (wait_ready(q, POLLOUT, err) != 0) {
                return -1;
            }
        } else if (errno != EINTR) {
            return error_sys(err, ERR_VMM_FAILED, errno, "QEMU hung up on %s", q->socket);
        }
    }
    return 0;
}

static int receive_more(struct qmp *q, struct error *err)
{
    if (q->len == QMP_LINE_MAX) {
        return error_set(err, ERR_VMM_FAILED, "QEMU sent a line of more than %d bytes on %s", QMP_LINE_MAX, q->socket);
    }
    if (wait_ready(q, POLLIN, err) != 0) {
        return -1;
    }
    ssize_t n = recv(q->fd, q->buf + q->len, QMP_LINE_MAX - q->len, 0);
    if (n == 0) {
        return error_set(err, ERR_VMM_FAILED, "QEMU hung up on %s", q->socket);
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        return error_sys(err, ERR_VMM_FAILED, errno, "QEMU hung up on %s", q->socket);
    }
    q->len += n > 0 ? (size_t)n : 0;
    return 0;
}

/* The next object that is no event. */
static int receive(struct qmp *q, json_t **ret, struct error *err)
{
    for (;;) {
        char *end;
        memmove(q->buf, q->buf + q->used, q->len - q->used);
        q->len -= q->used;
        q->used = 0;
        while ((end = memchr(q->buf, '\n', q->len)) == NULL) {
            if (receive_more(q, err) != 0) {
                return -1;
            }
        }
        q->used = (size_t)(end - q->buf) + 1;
        AUTO_JSON *message = NULL;
        if (json_parse(q->buf, q->used, &message, NULL) != 0 || !json_is_object(message)) {
            return error_set(err, ERR_VMM_FAILED, "QEMU sent a line on %s that is not a JSON object", q->socket);
        }
        if (json_object_get(message, "event") == NULL) {
            *ret = TAKE_PTR(message);
            return 0;
        }
    }
}

static int execute(struct qmp *q, const char *command, json_t **ret, struct error *err)
{
    AUTO_JSON *answer = NULL;
    if (send_line(q, command, err) != 0 || send_line(q, "\n", err) != 0 || receive(q, &answer, err) != 0) {
        return -1;
    }
    json_t *value = json_object_get(answer, "return");
    if (value == NULL) {
        const char *words = json_get_string(json_object_get(answer, "error"), "desc");
        return error_set(err, ERR_VMM_FAILED, "QEMU: %s", words == NULL ? "an answer without words" : words);
    }
    if (ret != NULL) {
        *ret = json_incref(value);
    }
    return 0;
}

int qmp_call(int fd, const char *name, const char *command, int timeout_ms, json_t **ret, struct error *err)
{
    struct qmp q;
    q.fd = fd;
    q.socket = name;
    q.timeout_ms = timeout_ms;
    q.deadline = clock_monotonic_ms() + timeout_ms;
    q.len = 0;
    q.used = 0;
    AUTO_JSON *greeting = NULL;
    if (receive(&q, &greeting, err) != 0) {
        return -1;
    }
    if (json_object_get(greeting, "QMP") == NULL) {
        return error_set(err, ERR_VMM_FAILED, "%s does not speak QEMU's machine protocol", name);
    }
    if (execute(&q, "{\"execute\": \"qmp_capabilities\"}", NULL, err) != 0) {
        return -1;
    }
    return execute(&q, command, ret, err);
}
