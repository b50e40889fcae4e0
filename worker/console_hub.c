#include "worker/console_hub.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/console.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { BUCKETS = 1024, READ_BYTES = 65536, FLOOD_PAUSE_MS = 10, VMM_LOG_BYTES = 65536, TAIL_BYTES = 64 };

/* What a Linux kernel says when it can't go on (kernel/panic.c, init/do_mounts.c). */
static const char *const last_words[] = {"Unable to mount root fs", "Kernel panic - not syncing"};

struct stream {
    int fifo, log; /* -1 when not open */
};

struct console {
    int64_t uid;
    char id[64];
    struct stream guest, vmm;
    char tail[TAIL_BYTES]; /* of what the guest wrote, so that words across reads are seen */
    size_t tail_len;
    const char *panic;
    int64_t read_ms;   /* when it was read last */
    int64_t resume_ms; /* when flooded: when to read it again, else 0 */
    struct console *next;
};

struct console_hub {
    struct worker *worker;
    pthread_t thread;
    pthread_mutex_t lock;
    int epoll, wake;
    bool stopping;
    size_t paused;
    struct console *buckets[BUCKETS];
    char buffer[READ_BYTES];
};

static struct console **find(struct console_hub *hub, int64_t uid)
{
    struct console **p = &hub->buckets[(uint64_t)uid % BUCKETS];
    while (*p != NULL && (*p)->uid != uid) {
        p = &(*p)->next;
    }
    return p;
}

static void stream_close(struct stream *stream)
{
    if (stream->fifo >= 0) {
        (void)close(stream->fifo);
    }
    if (stream->log >= 0) {
        (void)close(stream->log);
    }
    stream->fifo = stream->log = -1;
}

static void look_for_panic(struct console_hub *hub, struct console *console, const char *bytes, size_t len)
{
    char joined[2 * TAIL_BYTES];
    size_t head = len < TAIL_BYTES ? len : TAIL_BYTES;
    memcpy(joined, console->tail, console->tail_len);
    memcpy(joined + console->tail_len, bytes, head);
    for (size_t i = 0; i < ARRAY_LEN(last_words) && console->panic == NULL; i++) {
        size_t words = strlen(last_words[i]);
        if (memmem(bytes, len, last_words[i], words) != NULL ||
            memmem(joined, console->tail_len + head, last_words[i], words) != NULL) {
            char key[QUEUE_KEY_MAX];
            console->panic = last_words[i];
            (void)snprintf(key, sizeof key, "vm/%s", console->id);
            (void)queue_add(hub->worker->queue, key);
        }
    }
    /* A guest writes byte by byte, so the words may come in many reads. */
    const char *last = len < TAIL_BYTES ? joined : bytes;
    const size_t last_len = len < TAIL_BYTES ? console->tail_len + len : len;
    const size_t keep = last_len < TAIL_BYTES ? last_len : TAIL_BYTES;
    memcpy(console->tail, last + last_len - keep, keep);
    console->tail_len = keep;
}

/* Reads all that is there into the log. Returns whether there was anything. */
static bool drain(struct console_hub *hub, struct stream *stream, struct console *console, bool is_guest)
{
    bool any = false;
    uint64_t bound = is_guest ? hub->worker->config->vmm.console_bytes : VMM_LOG_BYTES;
    for (int round = 0; stream->fifo >= 0 && round < 4; round++) {
        ssize_t n = read(stream->fifo, hub->buffer, sizeof hub->buffer);
        if (n <= 0) {
            break;
        }
        uint64_t end = 0;
        any = true;
        (void)console_log_append(stream->log, hub->buffer, (size_t)n, bound, &end, NULL);
        if (is_guest) {
            look_for_panic(hub, console, hub->buffer, (size_t)n);
        }
    }
    return any;
}

static void drain_both(struct console_hub *hub, struct console *console)
{
    char key[QUEUE_KEY_MAX];
    (void)drain(hub, &console->vmm, console, false);
    if (drain(hub, &console->guest, console, true)) {
        (void)snprintf(key, sizeof key, "console/%s", console->id);
        worker_notify(hub->worker, key);
    }
}

static void arm(struct console_hub *hub, struct console *console, int op)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = (uint64_t)console->uid};
    const int fds[] = {console->guest.fifo, console->vmm.fifo};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)epoll_ctl(hub->epoll, op, fds[i], &event);
        }
    }
}

static void on_readable(struct console_hub *hub, int64_t uid)
{
    struct console *console = *find(hub, uid);
    if (console == NULL || console->resume_ms != 0) {
        return;
    }
    int64_t now = clock_monotonic_ms();
    drain_both(hub, console);
    if (now - console->read_ms < FLOOD_PAUSE_MS) {
        console->resume_ms = now + FLOOD_PAUSE_MS;
        hub->paused++;
    } else {
        arm(hub, console, EPOLL_CTL_MOD);
    }
    console->read_ms = now;
}

static void resume_paused(struct console_hub *hub)
{
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < BUCKETS && hub->paused > 0; i++) {
        for (struct console *console = hub->buckets[i]; console != NULL; console = console->next) {
            if (console->resume_ms != 0 && console->resume_ms <= now) {
                console->resume_ms = 0;
                hub->paused--;
                arm(hub, console, EPOLL_CTL_MOD);
            }
        }
    }
}

static void *run(void *arg)
{
    struct console_hub *hub = arg;
    struct epoll_event events[64];
    (void)pthread_mutex_lock(&hub->lock);
    while (!hub->stopping) {
        int timeout = hub->paused > 0 ? FLOOD_PAUSE_MS : -1;
        (void)pthread_mutex_unlock(&hub->lock);
        int n = epoll_wait(hub->epoll, events, (int)ARRAY_LEN(events), timeout);
        (void)pthread_mutex_lock(&hub->lock);
        for (int i = 0; i < n; i++) {
            on_readable(hub, (int64_t)events[i].data.u64);
        }
        resume_paused(hub);
    }
    (void)pthread_mutex_unlock(&hub->lock);
    return NULL;
}

static void console_free(struct console_hub *hub, struct console *console)
{
    if (console->resume_ms != 0) {
        hub->paused--;
    }
    stream_close(&console->guest);
    stream_close(&console->vmm);
    free(console);
}

int console_hub_start(struct worker *worker, struct console_hub **ret, struct error *err)
{
    struct console_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL) {
        return error_oom(err);
    }
    hub->worker = worker;
    (void)pthread_mutex_init(&hub->lock, NULL);
    hub->epoll = epoll_create1(EPOLL_CLOEXEC);
    hub->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0};
    int rc = EMFILE;
    if (hub->epoll >= 0 && hub->wake >= 0 && epoll_ctl(hub->epoll, EPOLL_CTL_ADD, hub->wake, &event) == 0) {
        rc = pthread_create(&hub->thread, NULL, run, hub);
    }
    if (rc != 0) {
        free(hub);
        return error_sys(err, ERR_SYSTEM, rc, "the console thread could not be started");
    }
    *ret = hub;
    return 0;
}

void console_hub_stop(struct console_hub *hub)
{
    if (hub == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&hub->lock);
    hub->stopping = true;
    (void)pthread_mutex_unlock(&hub->lock);
    (void)eventfd_write(hub->wake, 1);
    (void)pthread_join(hub->thread, NULL);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (hub->buckets[i] != NULL) {
            struct console *console = hub->buckets[i];
            hub->buckets[i] = console->next;
            console_free(hub, console);
        }
    }
    (void)close(hub->epoll);
    (void)close(hub->wake);
    (void)pthread_mutex_destroy(&hub->lock);
    free(hub);
}

static int console_open(struct console *console, const char *dir, struct error *err)
{
    if (console_open_readers(dir, &console->guest.fifo, &console->vmm.fifo, err) != 0 ||
        console_log_open(dir, "console.log", &console->guest.log, err) != 0 ||
        console_log_open(dir, "vmm.log", &console->vmm.log, err) != 0) {
        return -1;
    }
    return 0;
}

int console_hub_add(struct console_hub *hub, int64_t uid, const char *id, const char *dir, struct error *err)
{
    console_hub_remove(hub, uid);
    struct console *console = calloc(1, sizeof *console);
    if (console == NULL) {
        return error_oom(err);
    }
    console->uid = uid;
    console->guest = console->vmm = (struct stream){-1, -1};
    (void)snprintf(console->id, sizeof console->id, "%s", id);
    (void)pthread_mutex_lock(&hub->lock);
    int result = console_open(console, dir, err);
    if (result == 0) {
        struct console **p = find(hub, uid);
        console->next = *p;
        *p = console;
        arm(hub, console, EPOLL_CTL_ADD);
    } else {
        console_free(hub, console);
    }
    (void)pthread_mutex_unlock(&hub->lock);
    return result;
}

void console_hub_remove(struct console_hub *hub, int64_t uid)
{
    (void)pthread_mutex_lock(&hub->lock);
    struct console **p = find(hub, uid);
    struct console *console = *p;
    if (console != NULL) {
        drain_both(hub, console);
        *p = console->next;
        console_free(hub, console);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

void console_hub_flush(struct console_hub *hub, int64_t uid)
{
    (void)pthread_mutex_lock(&hub->lock);
    struct console *console = *find(hub, uid);
    if (console != NULL) {
        drain_both(hub, console);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

bool console_hub_panicked(struct console_hub *hub, int64_t uid, const char **ret_words)
{
    (void)pthread_mutex_lock(&hub->lock);
    struct console *console = *find(hub, uid);
    *ret_words = console != NULL ? console->panic : NULL;
    (void)pthread_mutex_unlock(&hub->lock);
    return *ret_words != NULL;
}
