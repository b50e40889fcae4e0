#include "api/wait.h"

#include "api/answer_store.h"
#include "api/problem.h"
#include "api/reply.h"
#include "api/wait_subjects.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/condition.h"
#include "core/json.h"

#include <stdio.h>
#include <string.h>

enum { LOCATION_MAX = API_KEY_MAX };

struct wait_state {
    struct origin origin;
    const struct wait_subject *subject;
    enum write_kind kind;
    int64_t identity;
    struct wait_goal goal;
    char id[]; /* with its terminator */
};

void look_free(struct look *look)
{
    strbuf_free(&look->body);
}

static int status_of(enum write_kind kind, bool settled, bool waited)
{
    switch (kind) {
    case WRITE_CREATE:
        return settled || !waited ? 201 : 202;
    case WRITE_CHANGE:
        return settled ? 200 : 202;
    case WRITE_DELETE:
        break;
    }
    return 202;
}

static void format_location(const struct wait_subject *subject, const char *id, char *buf)
{
    (void)snprintf(buf, LOCATION_MAX, "%s%s", subject->path, id);
}

int look_reply(struct look *look, int status, struct api_reply *reply, struct error *err)
{
    if (!look->body.failed && look->body.len > 0) {
        etag_add_digest(look->etag, look->body.data, look->body.len);
    }
    if (reply_json(reply, status, &look->body, err) != 0) {
        return -1;
    }
    reply_header(reply, "ETag", look->etag);
    return 0;
}

void look_fail(struct look *look, const json_t *error, enum error_code fallback, const char *message)
{
    const char *code = json_get_string(error, "code");
    const char *words = json_get_string(error, "message");
    enum error_code known = fallback;
    if (code != NULL) {
        (void)error_code_from_name(code, &known);
    }
    look->failed = true;
    (void)error_set(&look->error, known, "%s", words != NULL ? words : message);
}

void look_fail_unless_ready(struct look *look, const json_t *conditions, enum error_code fallback)
{
    const json_t *ready = condition_find(conditions, CONDITION_READY);
    const char *reason = json_get_string(ready, "reason");
    if (condition_has_status(ready, CONDITION_FALSE)) {
        enum error_code code = fallback;
        (void)error_code_from_name(reason != NULL ? reason : "", &code);
        look_fail(look, NULL, code, json_get_string(ready, "message"));
    }
}

/* The problem of a failed look in place of its body, once. */
static int make_problem(const char *request_id, struct look *look, struct error *err)
{
    AUTO_STRBUF problem = STRBUF_INIT;
    if (look->is_problem) {
        return 0;
    }
    look->is_problem = true;
    if (look->body.failed) {
        return error_oom(err);
    }
    problem_text(&problem, request_id, error_code_status_of_end(look->error.code), &look->error, NULL, look->body.data);
    if (problem.failed) {
        return error_oom(err);
    }
    struct strbuf resource = look->body;
    look->body = problem;
    problem = resource;
    return 0;
}

static int reply_written(const struct origin *origin, const struct written *written, int status, struct api_reply *reply, struct error *err)
{
    char location[LOCATION_MAX];
    if (look_reply(written->look, status, reply, err) != 0) {
        return -1;
    }
    if (written->look->is_problem) {
        reply->media_type = PROBLEM_MEDIA_TYPE;
    }
    if (written->kind == WRITE_CREATE) {
        format_location(written->subject, written->id, location);
        reply_header(reply, "Location", location);
    }
    if (origin->is_replay) {
        reply_replayed(reply);
    }
    return 0;
}

/* The status of the answer. Nobody who does not wait is told of a failure by it. */
static int conclude(const struct origin *origin, enum write_kind kind, bool waited, struct look *look, int *ret_status, struct error *err)
{
    *ret_status = status_of(kind, look->settled, waited);
    if (!look->failed || origin->wait_ms == 0) {
        return 0;
    }
    *ret_status = error_code_status_of_end(look->error.code);
    return make_problem(origin->request_id, look, err);
}

static int store(struct api *api, const struct origin *origin, const struct written *written, int status, struct error *err)
{
    const struct look *look = written->look;
    char location[LOCATION_MAX];
    char etag[ETAG_MAX];
    if (look->body.failed) {
        return error_oom(err);
    }
    format_location(written->subject, written->id, location);
    memcpy(etag, look->etag, sizeof etag);
    etag_add_digest(etag, look->body.data, look->body.len);
    struct answer answer = {.status = status, .location = written->kind == WRITE_CREATE ? location : NULL, .etag = etag, .body = look->body.data};
    if (!look->settled) {
        answer.pending = (struct idempotency_pending){.path = (char *)(uintptr_t)written->subject->path,
                                                      .id = (char *)(uintptr_t)written->id,
                                                      .identity = written->identity,
                                                      .kind = (int)written->kind,
                                                      .up = written->goal.up};
    }
    return answer_store(api, origin, &answer, err);
}

int written_status(const struct written *written)
{
    return status_of(written->kind, written->look->settled, false);
}

int written_store(struct api *api, const struct origin *origin, const struct written *written, struct error *err)
{
    int status = 0;
    if (conclude(origin, written->kind, false, written->look, &status, err) != 0) {
        return -1;
    }
    return store(api, origin, written, status, err);
}

/* The answer when the wait is over. Fails when the resource was deleted while its change was waited for. */
static int finish(struct api *api, const struct origin *origin, const struct written *written, struct api_reply *reply, struct error *err)
{
    if (written->look->gone && written->kind == WRITE_DELETE) {
        reply_empty(reply, 204);
        return 0;
    }
    if (written->look->gone) {
        return error_set(err, ERR_NOT_FOUND, "%s%s was deleted in the meantime", written->subject->path, written->id);
    }
    int status = 0;
    if (conclude(origin, written->kind, true, written->look, &status, err) != 0) {
        return -1;
    }
    /* A failure leaves the first answer stored, which is true as well. */
    (void)store(api, origin, written, status, NULL);
    return reply_written(origin, written, status, reply, err);
}

static bool poll_wait(struct api *api, struct api_reply *reply, bool expired)
{
    struct wait_state *state = reply->state;
    struct error error;
    AUTO_LOOK look = {0};
    int result = state->subject->look(api, state->id, state->identity, &state->goal, expired, &look, &error);
    if (!expired && (result != 0 || (!look.gone && !look.settled))) {
        return false; /* the database may be back before the time is over */
    }
    /* Filling the reply frees what it was. */
    AUTO_FREE struct wait_state *taken = TAKE_PTR(state);
    reply->state = NULL;
    const struct written written = {
        .subject = taken->subject, .kind = taken->kind, .id = taken->id, .identity = taken->identity, .goal = taken->goal, .look = &look};
    if (result != 0 || finish(api, &taken->origin, &written, reply, &error) != 0) {
        problem_reply(reply, taken->origin.request_id, &error, NULL);
    }
    return true;
}

static int begin_wait(const struct origin *origin, const struct written *written, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.poll = poll_wait, .free_state = free};
    size_t len = strlen(written->id) + 1;
    struct wait_state *state = calloc(1, sizeof *state + len);
    if (state == NULL) {
        return error_oom(err);
    }
    state->origin = *origin;
    state->subject = written->subject;
    state->kind = written->kind;
    state->identity = written->identity;
    state->goal = written->goal;
    memcpy(state->id, written->id, len);
    api_reply_free(reply);
    reply->kind = API_REPLY_WAIT;
    const char *slash = written->id[0] != '\0' ? "/" : ""; /* what there is one of has no id */
    (void)snprintf(reply->key, sizeof reply->key, "%s%s%s", written->subject->kind, slash, written->id);
    reply->deadline_ms = clock_monotonic_ms() + origin->wait_ms;
    reply->state = state;
    reply->ops = &ops;
    return 0;
}

int written_reply(const struct origin *origin, const struct written *written, struct api_reply *reply, struct error *err)
{
    if (origin->wait_ms > 0 && !written->look->settled) {
        return begin_wait(origin, written, reply, err);
    }
    int status = 0;
    if (conclude(origin, written->kind, false, written->look, &status, err) != 0) {
        return -1;
    }
    return reply_written(origin, written, status, reply, err);
}

int wait_resume(struct api *api, const struct origin *origin, const struct idempotency_pending *pending, struct api_reply *reply, bool *ret_resumed,
                struct error *err)
{
    AUTO_LOOK look = {0};
    struct origin replay = *origin;
    const struct written written = {.subject = wait_subject_find(pending->path),
                                    .kind = pending->kind == WRITE_CREATE || pending->kind == WRITE_CHANGE ? (enum write_kind)pending->kind : WRITE_DELETE,
                                    .id = pending->id,
                                    .identity = pending->identity,
                                    .goal = {.up = pending->up, .guest = pending->up && origin->wait_for_guest},
                                    .look = &look};
    replay.is_replay = true;
    *ret_resumed = false;
    if (written.subject == NULL || written.id == NULL) {
        return 0;
    }
    if (written.subject->look(api, written.id, written.identity, &written.goal, true, &look, err) != 0) {
        return -1;
    }
    *ret_resumed = !look.gone;
    if (look.gone) {
        return 0;
    }
    return look.settled ? finish(api, &replay, &written, reply, err) : begin_wait(&replay, &written, reply, err);
}
