#include "worker/telling.h"

#include "core/log.h"
#include "worker/border/wanted.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct told {
    enum event_type type;
    const char *kind; /* static */
    char id[64];
    char data[EVENT_DATA_MAX];
};

struct telling {
    pthread_mutex_t lock;
    size_t first, count;
    struct told events[EVENTS_KEPT];
};

int telling_new(struct telling **ret, struct error *err)
{
    struct telling *telling = calloc(1, sizeof *telling);
    if (telling == NULL) {
        return error_oom(err);
    }
    (void)pthread_mutex_init(&telling->lock, NULL);
    *ret = telling;
    return 0;
}

void telling_free(struct telling *telling)
{
    if (telling != NULL) {
        (void)pthread_mutex_destroy(&telling->lock);
        free(telling);
    }
}

/* JSON into a buffer of a fixed size. The quote and the brace at the end always have room. */
struct writer {
    char *buf;
    size_t len;
};
enum { END_BYTES = 3, ESCAPED_MAX = 6 };

static void append_bytes(struct writer *w, const char *bytes, size_t len)
{
    if (w->len + len < EVENT_DATA_MAX - END_BYTES) {
        memcpy(w->buf + w->len, bytes, len);
        w->len += len;
    }
}

static size_t bytes_of_character(unsigned char first)
{
    return first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
}

static void add_text(struct writer *w, const char *text)
{
    for (const char *p = text; *p != '\0' && w->len + ESCAPED_MAX < EVENT_DATA_MAX - END_BYTES;) {
        char escaped[ESCAPED_MAX + 1];
        size_t len = strnlen(p, bytes_of_character((unsigned char)*p));
        if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\') {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)(unsigned char)*p);
            append_bytes(w, escaped, ESCAPED_MAX);
        } else {
            append_bytes(w, p, len);
        }
        p += len;
    }
}

static void add_pair(struct writer *w, const char *name, const char *value)
{
    const size_t len = strlen(name);
    const bool is_boolean = len > 0 && name[len - 1] == '?';
    if (w->len + len + (size_t)2 * ESCAPED_MAX >= EVENT_DATA_MAX - END_BYTES) {
        return;
    }
    append_bytes(w, w->len > 1 ? ",\"" : "\"", w->len > 1 ? 2 : 1);
    append_bytes(w, name, is_boolean ? len - 1 : len);
    append_bytes(w, "\":", 2);
    if (is_boolean) {
        append_bytes(w, value, strlen(value));
        return;
    }
    append_bytes(w, "\"", 1);
    add_text(w, value);
    w->buf[w->len++] = '"';
}

/* With the lock held. Where there is no room, the oldest one goes. */
static struct told *make_room_for_one(struct telling *telling)
{
    if (telling->count == EVENTS_KEPT) {
        log_event(LOG_ERROR, "worker.event_lost", "type", event_type_name(telling->events[telling->first].type), NULL);
        telling->first = (telling->first + 1) % EVENTS_KEPT;
        telling->count--;
    }
    return &telling->events[(telling->first + telling->count++) % EVENTS_KEPT];
}

void tell_event(struct worker *worker, enum event_type type, const char *kind, const char *id, ...)
{
    struct telling *telling = worker->telling;
    va_list ap;
    (void)pthread_mutex_lock(&telling->lock);
    struct told *told = make_room_for_one(telling);
    struct writer w = {.buf = told->data};
    told->type = type;
    told->kind = kind;
    (void)snprintf(told->id, sizeof told->id, "%s", id);
    append_bytes(&w, "{", 1);
    va_start(ap, id);
    for (const char *name = va_arg(ap, const char *); name != NULL; name = va_arg(ap, const char *)) {
        add_pair(&w, name, va_arg(ap, const char *));
    }
    va_end(ap);
    told->data[w.len++] = '}';
    told->data[w.len] = '\0';
    (void)pthread_mutex_unlock(&telling->lock);
    if (tell_waiting(worker, NULL) != 0) {
        (void)queue_add(worker->queue, "events");
    }
}

int tell_waiting(struct worker *worker, struct error *err)
{
    struct telling *telling = worker->telling;
    size_t stored = 0;
    int result = 0;
    (void)pthread_mutex_lock(&telling->lock);
    while (telling->count > 0 && result == 0) {
        const struct told *told = &telling->events[telling->first];
        result = border_event_add(worker->border, told->type, told->kind, told->id, told->data, err);
        if (result == 0) {
            telling->first = (telling->first + 1) % EVENTS_KEPT;
            telling->count--;
            stored++;
        }
    }
    (void)pthread_mutex_unlock(&telling->lock);
    if (stored > 0) {
        worker_notify(worker, "network");
    }
    return result;
}
