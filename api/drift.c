/* What on the host is not as it is wanted, and asking for its repair. */
#include "api/drift.h"

#include "api/ask.h"
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/problem.h"
#include "api/reply.h"
#include "api/write.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/tasks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer_drift(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_FREE struct origin *origin = ask_take_state(reply);
    AUTO_STRBUF b = STRBUF_INIT;
    struct error error;
    (void)api;
    const json_t *answer = ask_answer(message, &error);
    AUTO_FREE char *text = answer != NULL ? json_text(answer) : NULL;
    if (answer != NULL && text == NULL) {
        (void)error_oom(&error);
    }
    strbuf_add(&b, text != NULL ? text : "");
    if (text == NULL || reply_json(reply, 200, &b, &error) != 0) {
        problem_reply(reply, origin->request_id, &error, NULL);
    }
}

int drift_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_drift, .free_state = free};
    AUTO_FREE struct origin *origin = malloc(sizeof *origin);
    if (origin == NULL) {
        return error_oom(err);
    }
    *origin = call->origin;
    if (ask_begin(reply, "drift", "scope", "all", origin, &ops, err) != 0) {
        return -1;
    }
    (void)TAKE_PTR(origin);
    return 0;
}

static void add_items(struct strbuf *b, const char *name, const json_t *outcome)
{
    const json_t *items = json_object_get(outcome, name);
    AUTO_FREE char *text = items != NULL ? json_text(items) : NULL;
    strbuf_addf(b, ",\"%s\":", name);
    strbuf_add(b, text != NULL ? text : "[]");
}

/* What can be repaired and was not, within the time that a repair has. What nobody but a person can repair ("none") is no failure of it. */
static void fail_if_any_remains(const json_t *remaining, struct look *ret)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach(remaining, i, item)
    {
        const char *operation = json_get_string(item, "operation");
        if (operation != NULL && strcmp(operation, "none") != 0) {
            char message[256];
            const char *resource = json_get_string(item, "resource");
            (void)snprintf(message, sizeof message, "not all of it could be repaired: %.60s of %.120s is still needed", operation,
                           resource != NULL ? resource : "the host");
            look_fail(ret, NULL, ERR_CONFLICT, message);
            return;
        }
    }
}

static int look_at(const struct task_row *row, struct look *ret, struct error *err)
{
    AUTO_JSON *outcome = NULL;
    if (json_parse(row->outcome, strlen(row->outcome), &outcome, err) != 0) {
        return -1;
    }
    ret->settled = row->ended_ms != 0;
    (void)snprintf(ret->etag, sizeof ret->etag, "\"%" PRId64 "-%d\"", row->id, ret->settled ? 1 : 0);
    strbuf_addf(&ret->body, "{\"id\":\"%" PRId64 "\",\"state\":\"%s\",\"requested_at\":", row->id, ret->settled ? "done" : "pending");
    json_out_time(&ret->body, row->created_ms);
    strbuf_add(&ret->body, ",\"done_at\":");
    if (ret->settled) {
        json_out_time(&ret->body, row->ended_ms);
    } else {
        strbuf_add(&ret->body, "null");
    }
    add_items(&ret->body, "repaired", outcome);
    add_items(&ret->body, "remaining", outcome);
    strbuf_add_char(&ret->body, '}');
    if (ret->settled) {
        fail_if_any_remains(json_object_get(outcome, "remaining"), ret);
    }
    return 0;
}

static int find(struct api *api, const char *id, struct task_row *ret, bool *ret_found, struct error *err)
{
    if (tasks_get(api->db, strtoll(id, NULL, 10), ret, ret_found, err) != 0) {
        return -1;
    }
    *ret_found = *ret_found && ret->kind == TASK_REPAIR;
    return 0;
}

static int look_repair(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err)
{
    (void)goal;
    AUTO_TASK_ROW row = {0};
    bool found = false;
    (void)identity;
    (void)whole;
    if (find(api, id, &row, &found, err) != 0) {
        return -1;
    }
    ret->gone = !found;
    return found ? look_at(&row, ret, err) : 0;
}

const struct wait_subject repair_subject = {.kind = "task", .path = "/drift/repairs/", .look = look_repair};

int drift_handle_get_repair(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_TASK_ROW row = {0};
    AUTO_LOOK look = {0};
    bool found = false;
    if (find(call->api, call->id, &row, &found, err) != 0) {
        return -1;
    }
    if (!found) {
        return error_set(err, ERR_NOT_FOUND, "there is no repair '%s'", call->id);
    }
    return look_at(&row, &look, err) != 0 ? -1 : look_reply(&look, 200, reply, err);
}

static int store(struct write *write, struct error *err)
{
    char id[24];
    if (tasks_insert(write->call->api->db, TASK_REPAIR, "", &write->identity, err) != 0) {
        return -1;
    }
    (void)snprintf(id, sizeof id, "%" PRId64, write->identity);
    write_set_id(write, id);
    return 0;
}

static int look_at_new(struct write *write, struct error *err)
{
    AUTO_TASK_ROW row = {0};
    bool found = false;
    return find(write->call->api, write->id, &row, &found, err) != 0 ? -1 : look_at(&row, &write->look, err);
}

static int wish(struct write *write, struct plan_wish *ret, struct error *err)
{
    (void)write;
    (void)err;
    ret->repair = true;
    return 0;
}

static void committed(struct write *write)
{
    call_wake(write->call->api, "task", write->id);
}

int drift_handle_repair(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {
        .subject = &repair_subject, .kind = WRITE_CREATE, .store = store, .look = look_at_new, .wish = wish, .committed = committed};
    return write_run(call, &steps, reply, err);
}
