#include "api/idempotency.h"

#include "api/digest.h"
#include "api/problem.h"
#include "api/reply.h"
#include "api/wait.h"
#include "core/json.h"
#include "db/idempotency.h"

#include <stdio.h>
#include <string.h>

#define AUTO_IDEMPOTENCY_ROW __attribute__((cleanup(idempotency_row_free))) struct idempotency_row

/* Method, path, query and body, each part ended by what it cannot contain. `wait` and `wait_for` only say how
 * the answer comes. */
static int make_fingerprint(struct call *call, struct error *err)
{
    AUTO_STRBUF text = STRBUF_INIT;
    strbuf_add(&text, call->route.operation->method);
    for (size_t i = 0; i < call->target.segment_count; i++) {
        strbuf_add_char(&text, '/');
        strbuf_add(&text, call->target.segments[i]);
    }
    for (size_t i = 0; i < call->target.query_count; i++) {
        if (strcmp(call->target.query[i].name, "wait") != 0 && strcmp(call->target.query[i].name, "wait_for") != 0) {
            strbuf_addf(&text, "\n%s\n%s", call->target.query[i].name, call->target.query[i].value);
        }
    }
    strbuf_add(&text, "\n\n\n");
    if (call->request->body != NULL) {
        strbuf_add_bytes(&text, call->request->body, call->request->body_len);
    }
    return text.failed ? error_oom(err) : digest_hex(text.data, text.len, call->origin.fingerprint, err);
}

int idempotency_read(struct call *call, struct error *err)
{
    const char *key = json_get_string(call->parameters, "Idempotency-Key");
    if (key == NULL) {
        return 0;
    }
    (void)snprintf(call->origin.idempotency_key, sizeof call->origin.idempotency_key, "%s", key);
    return make_fingerprint(call, err);
}

static int replay(const struct idempotency_row *row, struct api_reply *reply, struct error *err)
{
    AUTO_STRBUF body = STRBUF_INIT;
    strbuf_add(&body, row->body);
    if (reply_body(reply, row->status, row->status >= 400 ? PROBLEM_MEDIA_TYPE : "application/json", &body, err) != 0) {
        return -1;
    }
    if (row->location != NULL) {
        reply_header(reply, "Location", row->location);
    }
    if (row->etag != NULL) {
        reply_header(reply, "ETag", row->etag);
    }
    reply_replayed(reply);
    return 0;
}

int idempotency_replay(struct api *api, const struct origin *origin, struct api_reply *reply, bool *ret_replayed, struct error *err)
{
    AUTO_IDEMPOTENCY_ROW row = {0};
    bool resumed = false;
    *ret_replayed = false;
    if (origin->idempotency_key[0] != '\0' && idempotency_get(api->db, origin->idempotency_key, &row, ret_replayed, err) != 0) {
        return -1;
    }
    if (!*ret_replayed) {
        return 0;
    }
    if (strcmp(row.fingerprint, origin->fingerprint) != 0) {
        return error_set(err, ERR_IDEMPOTENCY_KEY_REUSED, "this Idempotency-Key was used with another method, path, query or body");
    }
    if (origin->wait_ms > 0 && row.pending.path != NULL && wait_resume(api, origin, &row.pending, reply, &resumed, err) != 0) {
        return -1;
    }
    return resumed ? 0 : replay(&row, reply, err);
}
