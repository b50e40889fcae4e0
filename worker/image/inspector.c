#include "worker/image/inspector.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/process.h"
#include "worker/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

enum {
    LOOK_MS = 200,      /* at whether it was called off */
    END_WAIT_MS = 5000, /* of a process that was killed */
};

/* What it has said; more than any answer has is none. */
struct answer {
    uint8_t bytes[INSPECTION_ANSWER_MAX];
    size_t len;
};

/* Reads until it closes its end. */
static int hear(const struct inspector *inspector, int fd, struct answer *ret, struct error *err)
{
    const int64_t deadline_ms = clock_monotonic_ms() + (int64_t)INSPECTOR_WAIT_S * 1000;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (atomic_load(inspector->cancel)) {
            return error_set(err, ERR_CONFLICT, "was called off");
        }
        if (clock_monotonic_ms() >= deadline_ms) {
            return error_set(err, ERR_INVALID_MANIFEST, "could not be looked at within %d s", INSPECTOR_WAIT_S);
        }
        if (poll(&wait, 1, LOOK_MS) <= 0) {
            continue;
        }
        ssize_t n = read(fd, ret->bytes + ret->len, sizeof ret->bytes - ret->len);
        if (n == 0 || ret->len + (size_t)(n > 0 ? n : 0) == sizeof ret->bytes) {
            return 0;
        }
        ret->len += n > 0 ? (size_t)n : 0;
    }
}

static int understand(const struct answer *answer, int status, bool *ret_unpacked, struct error *err)
{
    char how[PROCESS_STATUS_TEXT_MAX];
    if (status != 0) {
        return error_set(err, ERR_INVALID_MANIFEST, "could not be looked at: the process that did ended with %s", process_status_text(status, how));
    }
    return inspection_hear(answer->bytes, answer->len, ret_unpacked, err);
}

int inspector_ask(void *ctx, const struct inspection *what, int in, int out, bool *ret_unpacked, struct error *err)
{
    const struct inspector *inspector = ctx;
    const struct worker_setup *setup = inspector->worker->setup;
    struct answer answer = {.len = 0};
    char word[INSPECTION_WORD_MAX];
    int status = -1;
    int ends[2];
    *ret_unpacked = false;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "no pipe");
    }
    AUTO_CLOSE int from = ends[0];
    AUTO_CLOSE int to = ends[1];
    inspection_word(what, word);
    AUTO_CLOSE int process = setup->start_inspector(setup->ctx, word, to, in, out, err);
    cleanup_close(&to);
    to = -1;
    if (process < 0) {
        return -1;
    }
    int result = hear(inspector, from, &answer, err);
    /* It has said what it has to say: what it does now is nothing that anybody wants. */
    if (result != 0 || process_wait(process, END_WAIT_MS, &status, NULL) != 0) {
        (void)process_signal(process, SIGKILL, NULL);
        if (process_wait(process, END_WAIT_MS, &status, result == 0 ? err : NULL) != 0) {
            return -1;
        }
    }
    return result != 0 ? -1 : understand(&answer, status, ret_unpacked, err);
}
