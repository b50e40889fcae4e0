#include "worker/border/border.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/frame.h"
#include "core/names.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct border {
    struct border_setup setup;
    pthread_mutex_t lock;
    int socket; /* -1: no keeper */
};

int border_new(const struct border_setup *setup, struct border **ret, struct error *err)
{
    struct border *border = calloc(1, sizeof *border);
    if (border == NULL) {
        return error_oom(err);
    }
    border->setup = *setup;
    border->socket = -1;
    (void)pthread_mutex_init(&border->lock, NULL);
    *ret = border;
    return 0;
}

void border_free(struct border *border)
{
    if (border != NULL) {
        border_connect(border, -1);
        (void)pthread_mutex_destroy(&border->lock);
        free(border);
    }
}

static void disconnect(struct border *border)
{
    if (border->socket >= 0) {
        (void)close(border->socket);
        border->socket = -1;
    }
}

void border_connect(struct border *border, int socket)
{
    (void)pthread_mutex_lock(&border->lock);
    disconnect(border);
    border->socket = socket;
    (void)pthread_mutex_unlock(&border->lock);
}

/* The keeper's words are foreign: their code must be one that there is, and they are text, since they go on into JSON and the log. */
static int read_failure(const struct frame *frame, struct error *err)
{
    struct message_failure failure;
    if (record_read(&message_failure_record, frame->data, frame->len, &failure, NULL, NULL, err) != 0) {
        return -1;
    }
    for (char *p = failure.text; !name_is_text(failure.text) && *p != '\0'; p++) {
        *p = (unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e ? ' ' : *p;
    }
    return error_set(err, failure.code, "%s", failure.text);
}

/* *ret_broken: the connection is of no use any more. */
static int exchange(struct border *border, enum message_kind kind, const struct record_bytes *bytes, struct frame *ret, bool *ret_broken, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms() + BORDER_ANSWER_MS;
    *ret_broken = false;
    if (border->socket < 0) {
        return error_sys(err, ERR_UNAVAILABLE, EPIPE, "the keeper of the database is just being started");
    }
    if (frame_send(border->socket, (uint16_t)kind, 0, bytes, deadline_ms, err) != 0 || frame_receive(border->socket, ret, deadline_ms, err) != 0) {
        *ret_broken = true;
        return error_sys(err, ERR_UNAVAILABLE, EPIPE, "the keeper of the database does not answer");
    }
    if (ret->kind != kind || ret->status > MESSAGE_FAILED) {
        *ret_broken = true;
        return error_sys(err, ERR_UNAVAILABLE, EPROTO, "the keeper of the database answered something else");
    }
    return 0;
}

int border_ask(struct border *border, enum message_kind kind, const void *question, void *answer, struct error *err)
{
    const struct message_type *type = &message_types[kind];
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    AUTO_FRAME frame = {.data = NULL};
    bool broken = false;
    memset(answer, 0, type->answer->size);
    record_write(type->question, question, &bytes);
    if (bytes.failed) {
        return error_oom(err);
    }
    (void)pthread_mutex_lock(&border->lock);
    int result = exchange(border, kind, &bytes, &frame, &broken, err);
    struct error why = {0};
    if (result == 0) {
        result = frame.status == MESSAGE_FAILED ? read_failure(&frame, &why)
                                                : record_read(type->answer, frame.data, frame.len, answer, border->setup.spared, border->setup.ctx, &why);
        if (result != 0 && err != NULL) {
            *err = why;
        }
        broken = result != 0 && why.code == ERR_BAD_REQUEST;
    }
    if (broken) {
        disconnect(border);
    }
    (void)pthread_mutex_unlock(&border->lock);
    if (broken) {
        border->setup.give_up(border->setup.ctx);
    }
    return result;
}

void border_spare(struct border *border, const char *list, const char *key, const struct error *why)
{
    if (border->setup.spared != NULL) {
        border->setup.spared(border->setup.ctx, list, key, why);
    }
}
