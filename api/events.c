/* GET /events: the stored sequence as a server-sent stream. */
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "db/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS_PER_READ = 64 };

struct stream {
    int64_t after; /* the last event that was put into `pending` */
    bool follow;
    struct strbuf pending; /* bytes that did not fit yet, from `sent` on */
    size_t sent;
    int64_t last_ms; /* clock_monotonic_ms() of the last bytes */
};

static void free_stream(void *state)
{
    struct stream *stream = state;
    strbuf_free(&stream->pending);
    free(stream);
}

static void begin_event(struct strbuf *b, int64_t seq, const char *type, int64_t at_ms, const char *resource)
{
    strbuf_addf(b, "id: %" PRId64 "\nevent: %s\ndata: {\"at\":", seq, type);
    json_out_time(b, at_ms);
    strbuf_add(b, ",\"type\":");
    json_out_string(b, type);
    strbuf_add(b, ",\"resource\":");
    json_out_string(b, resource);
    strbuf_add(b, ",\"data\":");
}

static void add_event(struct strbuf *b, const struct event_row *row)
{
    begin_event(b, row->seq, row->type, row->at_ms, row->resource);
    for (const char *c = row->data; *c != '\0'; c++) {
        /* In JSON a line end is white space, in the stream it would end the data. */
        strbuf_add_char(b, *c == '\n' || *c == '\r' ? ' ' : *c);
    }
    strbuf_add(b, "}\n\n");
}

/* The events from `first` to `last` are gone from the store. A reader that comes back goes on after them. */
static void add_lost(struct strbuf *b, int64_t first, int64_t last)
{
    begin_event(b, last, "events.lost", clock_wall_ms(), "/events");
    strbuf_addf(b, "{\"first\":%" PRId64 ",\"last\":%" PRId64 "}}\n\n", first, last);
}

static int read_events(struct api *api, struct stream *stream)
{
    struct event_row *rows = NULL;
    size_t count = 0;
    if (events_list(api->db, stream->after, EVENTS_PER_READ, &rows, &count, NULL) != 0) {
        return -1;
    }
    /* The sequence has no gaps but those that trimming makes at its start. */
    if (count > 0 && rows[0].seq > stream->after + 1) {
        add_lost(&stream->pending, stream->after + 1, rows[0].seq - 1);
    }
    for (size_t i = 0; i < count; i++) {
        add_event(&stream->pending, &rows[i]);
        stream->after = rows[i].seq;
    }
    events_list_free(rows, count);
    return stream->pending.failed ? -1 : 0;
}

static size_t send_pending(struct stream *stream, char *buf, size_t size)
{
    size_t left = stream->pending.len - stream->sent;
    size_t len = left < size ? left : size;
    memcpy(buf, stream->pending.data + stream->sent, len);
    stream->sent += len;
    if (stream->sent == stream->pending.len) {
        strbuf_reset(&stream->pending);
        stream->sent = 0;
    }
    stream->last_ms = clock_monotonic_ms();
    return len;
}

static ssize_t read_stream(struct api *api, struct api_reply *reply, char *buf, size_t size)
{
    struct stream *stream = reply->state;
    if (stream->pending.len == 0 && read_events(api, stream) != 0) {
        return -1;
    }
    if (stream->pending.len == 0 && !stream->follow) {
        return -1;
    }
    if (stream->pending.len == 0 && clock_monotonic_ms() - stream->last_ms >= API_HEARTBEAT_MS) {
        strbuf_add(&stream->pending, ": keep-alive\n\n");
    }
    if (stream->pending.failed) {
        return -1;
    }
    return stream->pending.len > 0 ? (ssize_t)send_pending(stream, buf, size) : 0;
}

/* After which event to begin. A number that was never given can only be of another database: from now on. */
static int find_start(const struct call *call, int64_t *ret, struct error *err)
{
    const char *text = json_get_string(call->parameters, "Last-Event-ID");
    int64_t first = 0;
    int64_t last = 0;
    if (events_range(call->api->db, &first, &last, err) != 0) {
        return -1;
    }
    int64_t asked = text != NULL ? strtoll(text, NULL, 10) : last;
    *ret = asked < last ? asked : last;
    return 0;
}

int events_stream(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.read = read_stream, .free_state = free_stream};
    int64_t after = 0;
    if (find_start(call, &after, err) != 0) {
        return -1;
    }
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return error_oom(err);
    }
    stream->after = after;
    stream->follow = json_get_bool(call->parameters, "follow", true);
    stream->last_ms = clock_monotonic_ms();
    reply->kind = API_REPLY_STREAM;
    reply->status = 200;
    reply->media_type = "text/event-stream";
    reply_header(reply, "Cache-Control", "no-store");
    (void)snprintf(reply->key, sizeof reply->key, "events");
    reply->state = stream;
    reply->ops = &ops;
    return 0;
}
