#include "worker/vm/console_hub.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "host/vmm/console.h"
#include "shim/protocol.h"
#include "worker/vm/guest_end.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum { BUCKETS = 1024, READ_BYTES = 65536, FLOOD_PAUSE_MS = 10, VMM_LOG_BYTES = 65536 };

struct stream {
    int fifo, log; /* -1 when not open */
};

struct console {
    int64_t uid;
    char id[64];
    struct stream guest, vmm;
    char dir[128];
    struct guest_scan scan;
    int64_t halted_ms; /* since when its last words are those of a halt; 0: they are not */
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

static struct console **find_console(struct console_hub *hub, int64_t uid)
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

/* Returns whether it is one since just now. */
static bool look_for_halt(struct console *console)
{
    const bool was_halted = console->halted_ms > 0;
    const bool is_halted = guest_end_is_halt(console->scan.tail, console->scan.tail_len);
    if (is_halted != was_halted) {
        console->halted_ms = is_halted ? clock_monotonic_ms() : 0;
    }
    return is_halted && !was_halted;
}

/* Before the bytes are in the log: who is killed in between loses a bit of console, and not what the guest came to. */
static void look_for_signs(struct console_hub *hub, struct console *console, const char *bytes, size_t len)
{
    char key[QUEUE_KEY_MAX];
    struct error err;
    const bool changed = guest_scan_add(&console->scan, bytes, len);
    if (!look_for_halt(console) && !changed) {
        return;
    }
    if (guest_sign_write(console->dir, console->scan.sign, console->scan.words, &err) != 0) {
        log_event(LOG_WARN, "vm.guest_sign_failed", "vm", console->id, "message", err.message, NULL);
    }
    (void)snprintf(key, sizeof key, "vm/%s", console->id);
    (void)queue_add(hub->worker->queue, key);
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
        if (is_guest) {
            look_for_signs(hub, console, hub->buffer, (size_t)n);
        }
        (void)console_log_append(stream->log, hub->buffer, (size_t)n, bound, &end, NULL);
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
    struct console *console = *find_console(hub, uid);
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

static void *run_hub(void *arg)
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
        rc = pthread_create(&hub->thread, NULL, run_hub, hub);
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

/* What is known of this boot already; its last bytes, since words may have been cut by the end of the daemon before this one. */
static void recall_signs(struct console *console)
{
    struct stat st;
    console->scan.sign = guest_sign_read(console->dir, &console->scan.words);
    if (console->scan.sign != GUEST_BOOTING && fstat(console->guest.log, &st) == 0) {
        off_t from = st.st_size > GUEST_TAIL_BYTES ? st.st_size - GUEST_TAIL_BYTES : 0;
        ssize_t n = pread(console->guest.log, console->scan.tail, GUEST_TAIL_BYTES, from);
        console->scan.tail_len = n > 0 ? (size_t)n : 0;
        (void)look_for_halt(console);
    }
}

/*
 * What the VM's shim kept while no daemon read. Who is killed between the copy and the removal finds it again, and tells it twice: that is better than
 * never.
 */
static void take_kept(struct console_hub *hub, struct console *console, const char *name, bool is_guest)
{
    char path[256];
    char key[QUEUE_KEY_MAX];
    uint64_t end = 0;
    ssize_t n;
    (void)snprintf(path, sizeof path, "%s/%s", console->dir, name);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    while (fd >= 0 && (n = read(fd, hub->buffer, sizeof hub->buffer)) > 0) {
        if (is_guest) {
            look_for_signs(hub, console, hub->buffer, (size_t)n);
        }
        (void)console_log_append(is_guest ? console->guest.log : console->vmm.log, hub->buffer, (size_t)n,
                                 is_guest ? hub->worker->config->vmm.console_bytes : VMM_LOG_BYTES, &end, NULL);
    }
    if (fd < 0) {
        return;
    }
    (void)unlink(path);
    (void)snprintf(key, sizeof key, "console/%s", console->id);
    worker_notify(hub->worker, key);
}

static void take_all_kept(struct console_hub *hub, struct console *console)
{
    take_kept(hub, console, SHIM_VMM_OLDER, false);
    take_kept(hub, console, SHIM_VMM, false);
    take_kept(hub, console, SHIM_CONSOLE_OLDER, true);
    take_kept(hub, console, SHIM_CONSOLE, true);
}

static int console_open(struct console *console, const char *dir, struct error *err)
{
    if (console_open_readers(dir, &console->guest.fifo, &console->vmm.fifo, err) != 0 || console_log_open(dir, "console.log", &console->guest.log, err) != 0 ||
        console_log_open(dir, "vmm.log", &console->vmm.log, err) != 0) {
        return -1;
    }
    recall_signs(console);
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
    (void)snprintf(console->dir, sizeof console->dir, "%s", dir);
    (void)pthread_mutex_lock(&hub->lock);
    int result = console_open(console, dir, err);
    if (result == 0) {
        struct console **p = find_console(hub, uid);
        console->next = *p;
        *p = console;
        take_all_kept(hub, console);
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
    struct console **p = find_console(hub, uid);
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
    struct console *console = *find_console(hub, uid);
    if (console != NULL) {
        drain_both(hub, console);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

enum guest_sign console_hub_sign(struct console_hub *hub, int64_t uid, const char **ret_words)
{
    (void)pthread_mutex_lock(&hub->lock);
    struct console *console = *find_console(hub, uid);
    enum guest_sign sign = console != NULL ? console->scan.sign : GUEST_BOOTING;
    *ret_words = console != NULL ? console->scan.words : NULL;
    (void)pthread_mutex_unlock(&hub->lock);
    return sign;
}

int64_t console_hub_halted_ms(struct console_hub *hub, int64_t uid)
{
    (void)pthread_mutex_lock(&hub->lock);
    struct console *console = *find_console(hub, uid);
    int64_t halted_ms = console != NULL ? console->halted_ms : 0;
    (void)pthread_mutex_unlock(&hub->lock);
    return halted_ms;
}
