/* What on the host is not as it is wanted, and asking for its repair. */
#include "api/ask.h"
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/problem.h"
#include "api/reply.h"
#include "api/wait.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/repairs.h"

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

static int look_at(const struct repair_row *row, struct look *ret, struct error *err)
{
    AUTO_JSON *outcome = NULL;
    if (json_parse(row->outcome, strlen(row->outcome), &outcome, err) != 0) {
        return -1;
    }
    ret->settled = row->done_ms != 0;
    (void)snprintf(ret->etag, sizeof ret->etag, "\"%" PRId64 "-%d\"", row->id, ret->settled ? 1 : 0);
    strbuf_addf(&ret->body, "{\"id\":\"%" PRId64 "\",\"state\":\"%s\",\"requested_at\":", row->id,
                ret->settled ? "done" : "pending");
    json_out_time(&ret->body, row->requested_ms);
    strbuf_add(&ret->body, ",\"done_at\":");
    if (ret->settled) {
        json_out_time(&ret->body, row->done_ms);
    } else {
        strbuf_add(&ret->body, "null");
    }
    add_items(&ret->body, "repaired", outcome);
    add_items(&ret->body, "remaining", outcome);
    strbuf_add_char(&ret->body, '}');
    return 0;
}

static int find(struct api *api, const char *id, struct repair_row *ret, bool *ret_found, struct error *err)
{
    return repairs_get(api->db, strtoll(id, NULL, 10), ret, ret_found, err);
}

static int look_repair(struct api *api, const char *id, int64_t identity, bool whole, struct look *ret,
                       struct error *err)
{
    AUTO_REPAIR_ROW row = {0};
    bool found = false;
    (void)identity;
    (void)whole;
    if (find(api, id, &row, &found, err) != 0) {
        return -1;
    }
    ret->gone = !found;
    return found ? look_at(&row, ret, err) : 0;
}

static const struct wait_subject repair_subject = {
    .kind = "repair", .path = "/drift/repairs/", .look = look_repair};

int drift_handle_get_repair(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_REPAIR_ROW row = {0};
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

int drift_handle_repair(struct call *call, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    AUTO_REPAIR_ROW row = {0};
    AUTO_LOOK look = {0};
    char id[24];
    int64_t number = 0;
    bool found = false;
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (repairs_insert(api->db, &number, err) != 0) {
        return -1;
    }
    (void)snprintf(id, sizeof id, "%" PRId64, number);
    struct written written = {
        .subject = &repair_subject, .kind = WRITE_CREATE, .id = id, .identity = number, .look = &look};
    if (find(api, id, &row, &found, err) != 0 || look_at(&row, &look, err) != 0 ||
        written_store(api, &call->origin, &written, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "repair", id);
    return written_reply(&call->origin, &written, reply, err);
}
