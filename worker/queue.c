#include "worker/queue.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { BUCKETS = 1024, BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 30000 };

enum entry_place { PLACE_NONE, PLACE_READY, PLACE_DELAYED };

struct entry {
    char key[QUEUE_KEY_MAX];
    struct entry *chain; /* in its bucket */
    struct entry *next;  /* in ready or delayed */
    enum entry_place place;
    int64_t due_ms; /* when delayed */
    bool working;
    bool marked, working_marked; /* by queue_mark(): the time that waits, and the one that is under way */
    unsigned failures;
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_cond_t released; /* for who claims a key: one is not worked on any more */
    struct entry *buckets[BUCKETS];
    size_t count; /* of entries */
    struct entry *ready_first, *ready_last;
    struct entry *delayed;    /* by due_ms */
    struct entry *everything; /* of QUEUE_EVERYTHING: made at once, so that it needs no memory later */
    size_t working;
    size_t marked; /* and not done yet */
    bool stopped;
};

static struct entry **bucket_of(struct queue *queue, const char *key)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (const char *p = key; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * 16777619U;
    }
    return &queue->buckets[hash % BUCKETS];
}

static struct entry *find_entry(struct queue *queue, const char *key)
{
    struct entry *entry = *bucket_of(queue, key);
    while (entry != NULL && strcmp(entry->key, key) != 0) {
        entry = entry->chain;
    }
    return entry;
}

static struct entry *find_or_make(struct queue *queue, const char *key)
{
    struct entry *entry = find_entry(queue, key);
    if (entry != NULL || strlen(key) >= QUEUE_KEY_MAX || queue->count == QUEUE_KEYS_MAX) {
        return entry;
    }
    entry = calloc(1, sizeof *entry);
    if (entry != NULL) {
        queue->count++;
        struct entry **bucket = bucket_of(queue, key);
        memcpy(entry->key, key, strlen(key) + 1);
        entry->chain = *bucket;
        *bucket = entry;
    }
    return entry;
}

static void forget(struct queue *queue, struct entry *entry)
{
    if (entry == queue->everything) {
        return;
    }
    struct entry **p = bucket_of(queue, entry->key);
    while (*p != entry) {
        p = &(*p)->chain;
    }
    *p = entry->chain;
    queue->count--;
    free(entry);
}

static void push_ready(struct queue *queue, struct entry *entry)
{
    entry->place = PLACE_READY;
    entry->next = NULL;
    if (queue->ready_last != NULL) {
        queue->ready_last->next = entry;
    } else {
        queue->ready_first = entry;
    }
    queue->ready_last = entry;
}

static struct entry *pop_ready(struct queue *queue)
{
    struct entry *entry = queue->ready_first;
    if (entry != NULL) {
        queue->ready_first = entry->next;
        if (queue->ready_first == NULL) {
            queue->ready_last = NULL;
        }
        entry->place = PLACE_NONE;
    }
    return entry;
}

static void unlink_delayed(struct queue *queue, struct entry *entry)
{
    struct entry **p = &queue->delayed;
    while (*p != entry) {
        p = &(*p)->next;
    }
    *p = entry->next;
    entry->place = PLACE_NONE;
}

static void push_delayed(struct queue *queue, struct entry *entry, int64_t due_ms)
{
    struct entry **p = &queue->delayed;
    entry->place = PLACE_DELAYED;
    entry->due_ms = due_ms;
    while (*p != NULL && (*p)->due_ms <= due_ms) {
        p = &(*p)->next;
    }
    entry->next = *p;
    *p = entry;
}

int queue_new(struct queue **ret, struct error *err)
{
    struct queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return error_oom(err);
    }
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_cond_init(&queue->changed, &attr);
    (void)pthread_cond_init(&queue->released, &attr);
    (void)pthread_condattr_destroy(&attr);
    queue->everything = find_or_make(queue, QUEUE_EVERYTHING);
    if (queue->everything == NULL) {
        queue_free(queue);
        return error_oom(err);
    }
    *ret = queue;
    return 0;
}

void queue_free(struct queue *queue)
{
    if (queue == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        struct entry *entry = queue->buckets[i];
        while (entry != NULL) {
            struct entry *next = entry->chain;
            free(entry);
            entry = next;
        }
    }
    (void)pthread_cond_destroy(&queue->changed);
    (void)pthread_cond_destroy(&queue->released);
    (void)pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static void add_locked(struct queue *queue, struct entry *entry, int64_t delay_ms)
{
    int64_t due_ms = clock_monotonic_ms() + delay_ms;
    if (entry->place == PLACE_READY || (entry->place == PLACE_DELAYED && entry->due_ms <= due_ms)) {
        return;
    }
    if (entry->place == PLACE_DELAYED) {
        unlink_delayed(queue, entry);
    }
    /* A key that is worked on waits for queue_done(): delayed by nothing. */
    if (delay_ms > 0 || entry->working) {
        push_delayed(queue, entry, due_ms);
    } else {
        push_ready(queue, entry);
    }
    (void)pthread_cond_signal(&queue->changed);
}

bool queue_add_after(struct queue *queue, const char *key, int64_t delay_ms)
{
    (void)pthread_mutex_lock(&queue->lock);
    struct entry *entry = find_or_make(queue, key);
    if (entry != NULL) {
        add_locked(queue, entry, delay_ms);
    } else {
        add_locked(queue, queue->everything, delay_ms + BACKOFF_FIRST_MS);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return entry != NULL;
}

bool queue_add(struct queue *queue, const char *key)
{
    return queue_add_after(queue, key, 0);
}

/* Moves what is due to ready; returns when the next one is due, or -1. Keys that are worked on stay. */
static int64_t promote(struct queue *queue)
{
    int64_t now = clock_monotonic_ms();
    struct entry **p = &queue->delayed;
    while (*p != NULL) {
        struct entry *entry = *p;
        if (entry->working) {
            p = &entry->next;
        } else if (entry->due_ms <= now) {
            *p = entry->next;
            push_ready(queue, entry);
        } else {
            return entry->due_ms;
        }
    }
    return -1;
}

static void wait_for_change(struct queue *queue, int64_t due_ms)
{
    if (due_ms < 0) {
        (void)pthread_cond_wait(&queue->changed, &queue->lock);
        return;
    }
    struct timespec until = {.tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000};
    (void)pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
}

bool queue_take(struct queue *queue, char key[QUEUE_KEY_MAX])
{
    (void)pthread_mutex_lock(&queue->lock);
    struct entry *entry = NULL;
    while (!queue->stopped) {
        int64_t due_ms = promote(queue);
        entry = pop_ready(queue);
        if (entry != NULL) {
            break;
        }
        wait_for_change(queue, due_ms);
    }
    if (entry != NULL) {
        entry->working = true;
        entry->working_marked = entry->marked;
        entry->marked = false;
        queue->working++;
        memcpy(key, entry->key, QUEUE_KEY_MAX);
        if (queue->ready_first != NULL || queue->delayed != NULL) {
            (void)pthread_cond_signal(&queue->changed);
        }
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return entry != NULL;
}

int64_t queue_backoff_ms(unsigned failures)
{
    int64_t delay = BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < failures && delay < BACKOFF_MAX_MS; i++) {
        delay *= 2;
    }
    return delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS;
}

/* With the lock held: nobody works on it any more. */
static void let_go(struct queue *queue, struct entry *entry)
{
    if (entry->place == PLACE_NONE) {
        forget(queue, entry);
    } else {
        (void)pthread_cond_signal(&queue->changed);
    }
    (void)pthread_cond_broadcast(&queue->released);
}

void queue_done(struct queue *queue, const char *key, bool failed)
{
    (void)pthread_mutex_lock(&queue->lock);
    struct entry *entry = find_entry(queue, key);
    entry->working = false;
    queue->working--;
    queue->marked -= entry->working_marked ? 1 : 0;
    entry->working_marked = false;
    if (failed) {
        entry->failures++;
        add_locked(queue, entry, queue_backoff_ms(entry->failures));
    } else {
        entry->failures = 0;
    }
    let_go(queue, entry);
    (void)pthread_mutex_unlock(&queue->lock);
}

/* With the lock held: the key's, whose time has come. NULL: somebody works on it, or is about to. */
static struct entry *find_quiet(struct queue *queue, const char *key)
{
    struct entry *entry = find_or_make(queue, key);
    return entry != NULL && !entry->working && entry->place != PLACE_READY ? entry : NULL;
}

bool queue_claim(struct queue *queue, const char *key, int64_t timeout_ms)
{
    const int64_t until_ms = clock_monotonic_ms() + timeout_ms;
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    (void)pthread_mutex_lock(&queue->lock);
    struct entry *entry = find_quiet(queue, key);
    while (entry == NULL && !queue->stopped && strlen(key) < QUEUE_KEY_MAX && clock_monotonic_ms() < until_ms) {
        (void)pthread_cond_timedwait(&queue->released, &queue->lock, &until);
        entry = find_quiet(queue, key);
    }
    if (entry != NULL) {
        entry->working = true;
        queue->working++;
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return entry != NULL;
}

void queue_release(struct queue *queue, const char *key)
{
    (void)pthread_mutex_lock(&queue->lock);
    struct entry *entry = find_entry(queue, key);
    entry->working = false;
    queue->working--;
    queue->marked -= entry->working_marked ? 1 : 0;
    entry->working_marked = false;
    let_go(queue, entry);
    (void)pthread_mutex_unlock(&queue->lock);
}

void queue_stop(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    queue->stopped = true;
    (void)pthread_cond_broadcast(&queue->changed);
    (void)pthread_cond_broadcast(&queue->released);
    (void)pthread_mutex_unlock(&queue->lock);
}

static void mark(struct queue *queue, bool *marked)
{
    queue->marked += *marked ? 0 : 1;
    *marked = true;
}

void queue_mark(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = queue->buckets[i]; entry != NULL; entry = entry->chain) {
            if (entry->place == PLACE_READY || (entry->place == PLACE_DELAYED && entry->working)) {
                mark(queue, &entry->marked);
            }
            if (entry->working) {
                mark(queue, &entry->working_marked);
            }
        }
    }
    (void)pthread_mutex_unlock(&queue->lock);
}

bool queue_is_past_mark(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    bool past = queue->marked == 0;
    (void)pthread_mutex_unlock(&queue->lock);
    return past;
}
