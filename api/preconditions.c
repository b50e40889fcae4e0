#include "api/preconditions.h"

#include "api/etag.h"
#include "api/reply.h"
#include "core/strbuf.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Several lines of one name mean the same as one with commas (RFC 9110, 5.3). */
static int join(const struct api_request *request, const char *name, char **ret, struct error *err)
{
    AUTO_STRBUF value = STRBUF_INIT;
    bool found = false;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0) {
            strbuf_add(&value, found ? "," : "");
            strbuf_add(&value, request->headers[i].value);
            found = true;
        }
    }
    *ret = NULL;
    if (found) {
        strbuf_add(&value, "");
        *ret = value.len > 0 ? strbuf_take(&value) : strdup("");
    }
    return found && *ret == NULL ? error_oom(err) : 0;
}

int preconditions_read(const struct api_request *request, struct preconditions *ret, struct error *err)
{
    return join(request, "If-Match", &ret->if_match, err) != 0 || join(request, "If-None-Match", &ret->if_none_match, err) != 0 ? -1 : 0;
}

void preconditions_free(struct preconditions *preconditions)
{
    free(preconditions->if_match);
    free(preconditions->if_none_match);
    *preconditions = (struct preconditions){NULL, NULL};
}

int preconditions_check(const struct preconditions *preconditions, const char *version, struct error *err)
{
    const char *if_match = preconditions->if_match;
    const char *if_none_match = preconditions->if_none_match;
    if (if_match != NULL && version == NULL) {
        return error_set(err, ERR_PRECONDITION_FAILED, "If-Match asks for a resource that there is not");
    }
    if (if_match != NULL && !etag_matches(if_match, version, ETAG_STRONG)) {
        return error_set(err, ERR_PRECONDITION_FAILED, "If-Match asks for another version: the ETag is %s now", version);
    }
    if (if_none_match != NULL && version != NULL && etag_matches(if_none_match, version, ETAG_WEAK)) {
        return strcmp(if_none_match, "*") == 0
                   ? error_set(err, ERR_PRECONDITION_FAILED, "If-None-Match asks for no such resource, and there is one, with the ETag %s", version)
                   : error_set(err, ERR_PRECONDITION_FAILED, "If-None-Match asks for another version: the ETag is %s now", version);
    }
    return 0;
}

/* ---- of GET and HEAD, whose reply has its tag by now ---- */

static const char *reply_tag(const struct api_reply *reply)
{
    for (size_t i = 0; i < reply->header_count; i++) {
        if (strcmp(reply->headers[i].name, "ETag") == 0) {
            return reply->headers[i].value;
        }
    }
    return NULL;
}

static bool is_read(const struct api_request *request)
{
    return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

static void finish_read(struct api *api, const struct api_request *request, const struct preconditions *given, const char *tag, struct api_reply *reply)
{
    const struct preconditions match_alone = {given->if_match, NULL};
    struct error err;
    if (preconditions_check(&match_alone, tag, &err) != 0) {
        api_reply_free(reply);
        api_reply_problem(api, reply, request, err.code, err.message);
    } else if (given->if_none_match != NULL && etag_matches_whole(given->if_none_match, tag)) {
        reply_not_modified(reply);
    }
}

void api_finish(struct api *api, const struct api_request *request, struct api_reply *reply)
{
    struct preconditions given = {NULL, NULL};
    const char *tag = reply_tag(reply);
    if (reply->kind != API_REPLY_BODY || reply->status != 200 || tag == NULL || !is_read(request)) {
        return;
    }
    if (preconditions_read(request, &given, NULL) == 0) { /* without memory the whole answer is as good */
        finish_read(api, request, &given, tag, reply);
    }
    preconditions_free(&given);
}
