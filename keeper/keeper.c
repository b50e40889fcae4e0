#include "keeper/keeper.h"

#include "core/cleanup.h"
#include "core/fault.h"
#include "core/frame.h"
#include "core/log.h"
#include "keeper/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int (*const handlers[MESSAGE_COUNT_])(struct db *db, const void *question, void *answer, struct error *err) = {
#define X(capitals, name, question, answer) [MESSAGE_##capitals] = keeper_##name,
    MESSAGES(X)
#undef X
};

/* Reads the question, and fills `bytes` with the answer. */
static int answer(struct db *db, const struct frame *frame, struct record_bytes *bytes, struct error *err)
{
    if (frame->kind >= MESSAGE_COUNT_) {
        return error_set(err, ERR_BAD_REQUEST, "there is no message %u", frame->kind);
    }
    const struct message_type *type = &message_types[frame->kind];
    AUTO_FREE void *question = calloc(1, type->question->size);
    AUTO_FREE void *reply = calloc(1, type->answer->size);
    if (question == NULL || reply == NULL) {
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
        return error_oom(err);
    }
    int result = record_read(type->question, frame->data, frame->len, question, NULL, NULL, err);
    if (result == 0) {
        result = fault_before("keeper", type->name, err);
        result = result == 0 ? handlers[frame->kind](db, question, reply, err) : result;
        if (result == 0) {
            fault_after("keeper", type->name);
            record_write(type->answer, reply, bytes);
        }
    }
    record_free(type->question, question);
    record_free(type->answer, reply);
    return result == 0 && bytes->failed ? error_oom(err) : result;
}

static int send_failure(int socket, uint16_t kind, const struct error *why, struct error *err)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    struct message_failure failure = {.code = why->code};
    (void)snprintf(failure.text, sizeof failure.text, "%.500s", why->message);
    record_write(&message_failure_record, &failure, &bytes);
    return frame_send(socket, kind, MESSAGE_FAILED, &bytes, -1, err);
}

enum keeper_end keeper_run(struct db *db, int socket)
{
    struct error err = {0};
    for (;;) {
        AUTO_FRAME frame = {.data = NULL};
        AUTO_RECORD_BYTES bytes = {.data = NULL};
        struct error why = {0};
        if (frame_receive(socket, &frame, -1, &err) != 0) {
            break;
        }
        int result = answer(db, &frame, &bytes, &why);
        if (result == 0 && bytes.len > FRAME_MAX) {
            result = error_set(&why, ERR_ROW_DAMAGED, "what is stored has %zu bytes, more than an answer may have", bytes.len);
        }
        result = result == 0 ? frame_send(socket, frame.kind, MESSAGE_OK, &bytes, -1, &err) : send_failure(socket, frame.kind, &why, &err);
        if (db_is_damaged(db)) {
            log_event(LOG_ERROR, "keeper.damaged", "message", "the database is damaged: what can be read of it is taken over into a new one", NULL);
            return KEEPER_DAMAGED;
        }
        if (result != 0) {
            break;
        }
    }
    if (err.sys_errno != EPIPE) {
        log_event(LOG_ERROR, "keeper.failed", "code", error_code_name(err.code), "message", err.message, NULL);
        return KEEPER_FAILED;
    }
    return KEEPER_ENDED;
}
