#include "api/wait.h"

#include "api/idempotency.h"
#include "api/problem.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/clock.h"

#include <stdio.h>
#include <string.h>

enum { LOCATION_MAX = API_KEY_MAX };

struct wait_state {
    struct origin origin;
    const struct wait_subject *subject;
    enum write_kind kind;
    int64_t identity;
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
    if (reply_json(reply, status, &look->body, err) != 0) {
        return -1;
    }
    reply_header(reply, "ETag", look->etag);
    return 0;
}

static int reply_written(const struct wait_subject *subject, enum write_kind kind, const char *id, int status,
                         struct look *look, struct api_reply *reply, struct error *err)
{
    char location[LOCATION_MAX];
    if (look_reply(look, status, reply, err) != 0) {
        return -1;
    }
    if (kind == WRITE_CREATE) {
        format_location(subject, id, location);
        reply_header(reply, "Location", location);
    }
    return 0;
}

static int store(struct api *api, const struct origin *origin, const struct wait_subject *subject,
                 enum write_kind kind, const char *id, int status, const struct look *look, struct error *err)
{
    char location[LOCATION_MAX];
    if (look->body.failed) {
        return error_oom(err);
    }
    format_location(subject, id, location);
    return idempotency_store(api, origin, status, kind == WRITE_CREATE ? location : NULL, look->body.data,
                             err);
}

int written_store(struct api *api, const struct origin *origin, const struct written *written,
                  struct error *err)
{
    int status = status_of(written->kind, written->look->settled, false);
    return store(api, origin, written->subject, written->kind, written->id, status, written->look, err);
}

/* The answer when the wait is over. Fails when the resource was deleted while its change was waited for. */
static int finish(struct api *api, struct wait_state *state, struct look *look, struct api_reply *reply,
                  struct error *err)
{
    if (look->gone && state->kind == WRITE_DELETE) {
        reply_empty(reply, 204);
        return 0;
    }
    if (look->gone) {
        return error_set(err, ERR_NOT_FOUND, "%s%s was deleted in the meantime", state->subject->path,
                         state->id);
    }
    int status = status_of(state->kind, look->settled, true);
    /* A failure leaves the first answer stored, which is true as well. */
    (void)store(api, &state->origin, state->subject, state->kind, state->id, status, look, NULL);
    return reply_written(state->subject, state->kind, state->id, status, look, reply, err);
}

static bool poll_wait(struct api *api, struct api_reply *reply, bool expired)
{
    struct wait_state *state = reply->state;
    struct error error;
    AUTO_LOOK look = {0};
    int result = state->subject->look(api, state->id, state->identity, expired, &look, &error);
    if (!expired && (result != 0 || (!look.gone && !look.settled))) {
        return false; /* the database may be back before the time is over */
    }
    /* Filling the reply frees what it was. */
    AUTO_FREE struct wait_state *taken = TAKE_PTR(state);
    reply->state = NULL;
    if (result != 0 || finish(api, taken, &look, reply, &error) != 0) {
        problem_reply(reply, taken->origin.request_id, &error, NULL);
    }
    return true;
}

static int begin_wait(const struct origin *origin, const struct written *written, struct api_reply *reply,
                      struct error *err)
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

int written_reply(const struct origin *origin, const struct written *written, struct api_reply *reply,
                  struct error *err)
{
    if (origin->wait_ms > 0 && !written->look->settled) {
        return begin_wait(origin, written, reply, err);
    }
    int status = status_of(written->kind, written->look->settled, false);
    return reply_written(written->subject, written->kind, written->id, status, written->look, reply, err);
}
