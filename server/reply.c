#include "server/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { STREAM_BLOCK = 4096 };

void reply_set_problem(struct request *request, enum error_code code, const char *fmt, ...)
{
    char detail[ERROR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    if (request->has_reply) {
        api_reply_free(&request->reply);
    }
    memset(&request->reply, 0, sizeof request->reply);
    request->has_reply = true;
    api_reply_problem(request->listener->server->setup->api, &request->reply, &request->api, code, detail);
}

static ssize_t read_stream(void *cls, uint64_t position, char *buf, size_t size)
{
    (void)position;
    struct request *request = cls;
    struct server *server = request->listener->server;
    if (request->is_gone) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (server->is_stopping) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    ssize_t len = request->reply.ops->read(server->setup->api, &request->reply, buf, size);
    if (len < 0) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (len == 0) {
        hold_stream(request);
    }
    return len;
}

static struct MHD_Response *make_response(struct request *request)
{
    struct api_reply *reply = &request->reply;
    if (reply->kind == API_REPLY_STREAM) {
        struct MHD_Response *stream = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, request, NULL);
        /* libmicrohttpd ends chunks also where it sent none, and so puts a body behind the head of a HEAD: its end is that of the connection. */
        if (stream != NULL && strcmp(request->api.method, "HEAD") == 0) {
            (void)MHD_set_response_options(stream, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
        }
        return stream;
    }
    if (reply->body != NULL) {
        struct MHD_Response *response = MHD_create_response_from_buffer(reply->body_len, reply->body, MHD_RESPMEM_MUST_FREE);
        if (response != NULL) {
            reply->body = NULL;
        }
        return response;
    }
    /* libmicrohttpd takes all buffers without const, and does not write to persistent ones. */
    void *borrowed = NULL;
    memcpy(&borrowed, &reply->static_body, sizeof borrowed);
    return MHD_create_response_from_buffer(borrowed != NULL ? reply->body_len : 0, borrowed, MHD_RESPMEM_PERSISTENT);
}

static bool add_headers(struct MHD_Response *response, const struct request *request)
{
    const struct api_reply *reply = &request->reply;
    bool has_caching = false;
    bool ok = reply->media_type == NULL || MHD_add_response_header(response, "Content-Type", reply->media_type) == MHD_YES;
    for (size_t i = 0; i < reply->header_count && ok; i++) {
        const char *name = reply->headers[i].name;
        has_caching = has_caching || strcasecmp(name, "Cache-Control") == 0;
        ok = MHD_add_response_header(response, name, reply->headers[i].value) == MHD_YES;
    }
    if (!has_caching) {
        ok = ok && MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES;
    }
    if (request->listener->server->is_stopping) {
        ok = ok && MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    }
    return ok && MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
           MHD_add_response_header(response, "X-Request-Id", request->api.request_id) == MHD_YES;
}

static void count_stream(struct request *request)
{
    struct server *server = request->listener->server;
    if (request->reply.kind != API_REPLY_STREAM) {
        return;
    }
    if (server->streams >= LIMIT_STREAMS) {
        reply_set_problem(request, ERR_UNAVAILABLE, "%d streams are open, and that is the limit", LIMIT_STREAMS);
        return;
    }
    server->streams++;
    request->is_stream = true;
}

/* A failure (no memory, a header that is none) closes the connection, which says more than half a reply. */
enum MHD_Result reply_queue(struct request *request)
{
    api_finish(request->listener->server->setup->api, &request->api, &request->reply);
    count_stream(request);
    struct MHD_Response *response = make_response(request);
    if (response == NULL) {
        return MHD_NO;
    }
    enum MHD_Result r = MHD_NO;
    request->phase = REQUEST_REPLIED;
    request->status = (unsigned)request->reply.status;
    if (add_headers(response, request)) {
        r = MHD_queue_response(request->connection, request->status, response);
    }
    MHD_destroy_response(response);
    return r;
}
