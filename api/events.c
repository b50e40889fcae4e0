/* GET /events: the stored sequence as a server-sent stream. */
#include "api/event_filter.h"
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

enum {
    EVENTS_PER_READ = 64,
    LOOKS_PER_READ = 16, /* of so many events each, while none of them is wanted */
    RETRY_MS = 1000,     /* until a client that was cut off comes back */
};

struct stream {
    int64_t after; /* the last event that was looked at */
    bool follow;
    struct event_filter filter;
    struct strbuf pending; /* bytes that did not fit yet, from `sent` on */
    size_t sent;
    int64_t last_ms; /* clock_monotonic_ms() of the last bytes */
};

static void free_stream(void *state)
{
    struct stream *stream = state;
    strbuf_free(&stream->pending);
    event_filter_free(&stream->filter);
    free(stream);
}

/* Without the field `event`, so that a browser's onmessage gets it: the type is in the data. */
static void begin_event(struct strbuf *b, int64_t seq, const char *type, int64_t at_ms, const char *resource)
{
    strbuf_addf(b, "id: %" PRId64 "\ndata: {\"id\":%" PRId64 ",\"at\":", seq, seq);
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
    begin_event(b, last, event_type_name(EVENT_EVENTS_LOST), clock_wall_ms(), "/events");
    strbuf_addf(b, "{\"first\":%" PRId64 ",\"last\":%" PRId64 "}}\n\n", first, last);
}

/* *ret_more: there may be others behind those that were looked at. */
static int read_events(struct api *api, struct stream *stream, bool *ret_more)
{
    struct event_row *rows = NULL;
    size_t count = 0;
    if (events_list(api->db, stream->after, EVENTS_PER_READ, &rows, &count, NULL) != 0) {
        return -1;
    }
    *ret_more = count == EVENTS_PER_READ;
    /* The sequence has no gaps but those that trimming makes at its start. Whether a lost one was wanted is not known, so it is told always. */
    if (count > 0 && rows[0].seq > stream->after + 1) {
        add_lost(&stream->pending, stream->after + 1, rows[0].seq - 1);
    }
    for (size_t i = 0; i < count; i++) {
        if (event_filter_matches(&stream->filter, &rows[i])) {
            add_event(&stream->pending, &rows[i]);
        }
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
    bool more = true;
    for (int i = 0; i < LOOKS_PER_READ && stream->pending.len == 0 && more; i++) {
        if (read_events(api, stream, &more) != 0) {
            return -1;
        }
    }
    if (stream->pending.len == 0 && more) {
        strbuf_add(&stream->pending, ":\n"); /* a comment, so that this is asked again, and others have their turn before */
    }
    if (stream->pending.len == 0 && !stream->follow) {
        return -1;
    }
    if (stream->pending.len == 0 && clock_monotonic_ms() - stream->last_ms >= API_HEARTBEAT_MS) {
        /* An id alone is no event; a client that comes back goes on from here, though nothing of what was looked at was for it. */
        strbuf_addf(&stream->pending, ": keep-alive\nid: %" PRId64 "\n\n", stream->after);
    }
    if (stream->pending.failed) {
        return -1;
    }
    return stream->pending.len > 0 ? (ssize_t)send_pending(stream, buf, size) : 0;
}

/*
 * After which event to begin: a browser that comes back sends Last-Event-ID beside the `after` that it was told to begin with. A number that was never
 * given can only be of another database: from now on.
 */
static int find_start(const struct call *call, int64_t *ret, struct error *err)
{
    const char *last_id = json_get_string(call->parameters, "Last-Event-ID");
    int64_t first = 0;
    int64_t last = 0;
    if (events_range(call->api->db, &first, &last, err) != 0) {
        return -1;
    }
    int64_t asked = last_id != NULL ? strtoll(last_id, NULL, 10) : json_get_int(call->parameters, "after", last);
    *ret = asked < last ? asked : last;
    return 0;
}

void events_check(struct call *call)
{
    struct event_filter ignored = {.type_count = 0};
    event_filter_read(call, &ignored);
    event_filter_free(&ignored);
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
    event_filter_read(call, &stream->filter);
    stream->after = after;
    strbuf_addf(&stream->pending, "retry: %d\n\n", RETRY_MS);
    stream->follow = json_get_bool(call->parameters, "follow", true);
    stream->last_ms = clock_monotonic_ms();
    reply->kind = API_REPLY_STREAM;
    reply->status = 200;
    reply->media_type = "text/event-stream";
    reply_header(reply, "Cache-Control", "no-store");
    reply_header(reply, "X-Accel-Buffering", "no"); /* what a proxy of nginx's kind would hold back */
    (void)snprintf(reply->key, sizeof reply->key, "events");
    reply->state = stream;
    reply->ops = &ops;
    return 0;
}
