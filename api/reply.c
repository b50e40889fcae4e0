#include "api/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void api_reply_free(struct api_reply *reply)
{
    for (size_t i = 0; i < reply->header_count; i++) {
        free(reply->headers[i].value);
    }
    free(reply->body);
    free(reply->question);
    if (reply->has_question_fd) {
        (void)close(reply->question_fd);
    }
    if (reply->state != NULL && reply->ops != NULL && reply->ops->free_state != NULL) {
        reply->ops->free_state(reply->state);
    }
    memset(reply, 0, sizeof *reply);
}

void reply_header(struct api_reply *reply, const char *name, const char *value)
{
    char *copy = reply->header_count < API_REPLY_HEADERS_MAX ? strdup(value) : NULL;
    if (copy != NULL) {
        (void)snprintf(reply->headers[reply->header_count].name, sizeof reply->headers[0].name, "%s", name);
        reply->headers[reply->header_count++].value = copy;
    }
}

void reply_empty(struct api_reply *reply, int status)
{
    api_reply_free(reply);
    reply->kind = API_REPLY_BODY;
    reply->status = status;
}

void reply_replayed(struct api_reply *reply)
{
    reply_header(reply, "Idempotency-Replayed", "true");
}

void reply_not_modified(struct api_reply *reply)
{
    reply->status = 304;
}

void reply_static(struct api_reply *reply, int status, const char *media_type, const char *text, size_t len)
{
    reply_empty(reply, status);
    reply->media_type = media_type;
    reply->static_body = text;
    reply->body_len = len;
}

int reply_body(struct api_reply *reply, int status, const char *media_type, struct strbuf *body, struct error *err)
{
    size_t len = body->len;
    char *text = strbuf_take(body);
    if (text == NULL) {
        return error_oom(err);
    }
    reply_empty(reply, status);
    reply->media_type = media_type;
    reply->body = text;
    reply->body_len = len;
    return 0;
}

int reply_json(struct api_reply *reply, int status, struct strbuf *body, struct error *err)
{
    return reply_body(reply, status, "application/json", body, err);
}
