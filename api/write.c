#include "api/write.h"

#include "api/answer_store.h"
#include "api/ask.h"
#include "api/idempotency.h"
#include "api/problem.h"
#include "api/reply.h"
#include "core/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void write_set_id(struct write *write, const char *id)
{
    (void)snprintf(write->id, sizeof write->id, "%s", id);
}

static void write_free(struct write *write)
{
    if (write->state != NULL && write->steps->free_state != NULL) {
        write->steps->free_state(write->state);
    }
    free(write->state);
    look_free(&write->look);
}

static struct written written_of(struct write *write)
{
    return (struct written){
        .subject = write->steps->subject, .kind = write->steps->kind, .id = write->id, .identity = write->identity, .goal = write->goal, .look = &write->look};
}

static int take(write_step *step, struct write *write, struct error *err)
{
    return step != NULL ? step(write, err) : 0;
}

/* What has no version has no conditions either. */
static int find(struct write *write, struct error *err)
{
    const char *version = write->version;
    if (write->steps->find == NULL) {
        return 0;
    }
    return write->steps->find(write, err) != 0 || preconditions_check(&write->call->preconditions, version[0] != '\0' ? version : NULL, err) != 0 ? -1 : 0;
}

/* In the transaction: all that a true write does, too. */
static int change(struct write *write, struct error *err)
{
    const struct write_steps *steps = write->steps;
    if (find(write, err) != 0 || take(steps->change, write, err) != 0) {
        return -1;
    }
    if (!write->is_needless && (take(steps->store, write, err) != 0 || take(steps->event, write, err) != 0)) {
        return -1;
    }
    if (steps->look(write, err) != 0) {
        return -1;
    }
    return write->look.body.failed ? error_oom(err) : 0;
}

static int store_answer(struct write *write, struct error *err)
{
    struct call *call = write->call;
    const struct written written = written_of(write);
    if (call->origin.idempotency_key[0] == '\0') {
        return 0;
    }
    if (write->steps->subject != NULL) {
        return written_store(call->api, &call->origin, &written, err);
    }
    const char *body = write->look.body.data;
    const struct answer answer = {.status = body != NULL ? 200 : 204, .body = body != NULL ? body : ""};
    return answer_store(call->api, &call->origin, &answer, err);
}

static int reply_to(struct write *write, struct api_reply *reply, struct error *err)
{
    const struct written written = written_of(write);
    if (write->steps->subject != NULL) {
        return written_reply(&write->call->origin, &written, reply, err);
    }
    if (write->look.body.len > 0) {
        return reply_json(reply, 200, &write->look.body, err);
    }
    reply_empty(reply, 204);
    return 0;
}

static int carry_out(struct write *write, struct api_reply *reply, struct error *err)
{
    struct db *db = write->call->api->db;
    if (db_begin(db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = db;
    if (change(write, err) != 0 || store_answer(write, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    if (!write->is_needless && write->steps->committed != NULL) {
        write->steps->committed(write);
    }
    return reply_to(write, reply, err);
}

/* ---- dry runs ---- */

static int status_of(struct write *write)
{
    const struct written written = written_of(write);
    if (write->steps->subject != NULL) {
        return written_status(&written);
    }
    return write->look.body.len > 0 ? 200 : 204;
}

/* As carry_out(), but that the transaction is never committed. */
static int try_out(struct write *write, struct plan_wish *ret, struct error *err)
{
    struct db *db = write->call->api->db;
    if (db_begin(db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = db;
    if (change(write, err) != 0) {
        return -1;
    }
    return write->steps->wish != NULL && !write->is_needless ? write->steps->wish(write, ret, err) : 0;
}

static int reply_plan(struct write *write, struct api_reply *reply, struct error *err)
{
    AUTO_PLAN_WISH wish = {.vm_count = 0};
    if (try_out(write, &wish, err) != 0) {
        return -1;
    }
    const struct plan plan = {.request_id = write->call->origin.request_id,
                              .etag = write->version[0] != '\0' ? write->version : NULL,
                              .status = status_of(write),
                              .changes = !write->is_needless,
                              .resource = write->look.body.len > 0 ? write->look.body.data : NULL,
                              .wish = write->steps->wish != NULL && !write->is_needless ? &wish : NULL};
    return plan_reply(&plan, reply, err);
}

static int go_on(struct write *write, struct api_reply *reply, struct error *err)
{
    return write->call->origin.dry_run ? reply_plan(write, reply, err) : carry_out(write, reply, err);
}

/* ---- what only the worker can tell ---- */

/* A write that waits for the worker. */
struct asking {
    struct call call;
    struct write write;
};

static void asking_free(void *ctx)
{
    struct asking *asking = ctx;
    if (asking != NULL) {
        write_free(&asking->write);
        call_free(&asking->call);
        free(asking);
    }
}

static void cleanup_asking(struct asking **asking)
{
    asking_free(*asking);
}
#define AUTO_ASKING __attribute__((cleanup(cleanup_asking))) struct asking

/* The same key may have been used while the question was under way. */
static int continue_with(struct asking *asking, const json_t *message, struct api_reply *reply, struct error *err)
{
    struct write *write = &asking->write;
    bool replayed = false;
    const json_t *answer = ask_answer(message, err);
    if (answer == NULL || idempotency_replay(asking->call.api, &asking->call.origin, reply, &replayed, err) != 0) {
        return -1;
    }
    if (replayed) {
        return 0;
    }
    if (write->steps->answered != NULL && write->steps->answered(write, answer, err) != 0) {
        return -1;
    }
    return go_on(write, reply, err);
}

static void answer(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_ASKING *asking = ask_take_state(reply);
    struct error err;
    db_set_request(api->db, asking->call.origin.request_id);
    if (continue_with(asking, message, reply, &err) != 0) {
        problem_reply(reply, asking->call.origin.request_id, &err, &asking->call.faults);
    }
}

/* Takes over the write and its call. */
static int ask(struct write *write, const struct write_question *question, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer, .free_state = asking_free};
    struct asking *asking = calloc(1, sizeof *asking);
    if (asking == NULL) {
        return error_oom(err);
    }
    if (ask_begin(reply, question->name, question->member, question->value, asking, &ops, err) != 0) {
        free(asking);
        return -1;
    }
    call_move(write->call, &asking->call);
    asking->write = *write;
    asking->write.call = &asking->call;
    memset(write, 0, sizeof *write);
    return 0; // NOLINT(clang-analyzer-unix.Malloc): the reply has it
}

static int begin(struct write *write, struct api_reply *reply, struct error *err)
{
    struct write_question question = {.value = NULL};
    if (take(write->steps->prepare, write, err) != 0 || (write->steps->ask != NULL && write->steps->ask(write, &question, err) != 0)) {
        return -1;
    }
    AUTO_FREE char *value = question.value;
    return value != NULL ? ask(write, &question, reply, err) : go_on(write, reply, err);
}

int write_run(struct call *call, const struct write_steps *steps, struct api_reply *reply, struct error *err)
{
    struct write write = {.call = call, .steps = steps};
    if (steps->state_size > 0) {
        write.state = calloc(1, steps->state_size);
        if (write.state == NULL) {
            return error_oom(err);
        }
    }
    int result = begin(&write, reply, err);
    if (write.steps != NULL) {
        write_free(&write);
    }
    return result;
}
