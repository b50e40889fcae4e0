#include "server/wait_index.h"

#include "core/array.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a. Keys name resources that clients chose, so a chain may be made long: the walk is bounded by
 * LIMIT_WAITERS. */
static size_t bucket_of(const char *key)
{
    uint32_t hash = 2166136261U;
    for (const char *p = key; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * 16777619U;
    }
    return hash % WAITERS_BUCKETS;
}

static void place(struct waiters *waiters, struct waiter *waiter, size_t index)
{
    waiters->heap[index] = waiter;
    waiter->heap_index = index;
}

static void sift_up(struct waiters *waiters, struct waiter *waiter, size_t index)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (waiters->heap[parent]->deadline_ms <= waiter->deadline_ms) {
            break;
        }
        place(waiters, waiters->heap[parent], index);
        index = parent;
    }
    place(waiters, waiter, index);
}

static void sift_down(struct waiters *waiters, struct waiter *waiter, size_t index)
{
    for (size_t child = 0; (child = 2 * index + 1) < waiters->count; index = child) {
        if (child + 1 < waiters->count && waiters->heap[child + 1]->deadline_ms < waiters->heap[child]->deadline_ms) {
            child++;
        }
        if (waiter->deadline_ms <= waiters->heap[child]->deadline_ms) {
            break;
        }
        place(waiters, waiters->heap[child], index);
    }
    place(waiters, waiter, index);
}

static void heap_remove(struct waiters *waiters, const struct waiter *waiter)
{
    size_t index = waiter->heap_index;
    struct waiter *last = waiters->heap[--waiters->count];
    if (last == waiter) {
        return;
    }
    if (index > 0 && waiters->heap[(index - 1) / 2]->deadline_ms > last->deadline_ms) {
        sift_up(waiters, last, index);
    } else {
        sift_down(waiters, last, index);
    }
}

static void bucket_insert(struct waiter **bucket, struct waiter *waiter)
{
    waiter->next = *bucket;
    waiter->link = bucket;
    if (*bucket != NULL) {
        (*bucket)->link = &waiter->next;
    }
    *bucket = waiter;
}

int waiters_add(struct waiters *waiters, struct waiter *waiter)
{
    struct waiter **heap = array_grow(waiters->heap, waiters->count, sizeof(struct waiter *));
    if (heap == NULL) {
        return -1;
    }
    waiters->heap = heap;
    sift_up(waiters, waiter, waiters->count++);
    if (waiter->key != NULL) {
        bucket_insert(&waiters->buckets[bucket_of(waiter->key)], waiter);
    }
    waiter->is_in = true;
    return 0;
}

void waiters_remove(struct waiters *waiters, struct waiter *waiter)
{
    if (!waiter->is_in) {
        return;
    }
    heap_remove(waiters, waiter);
    if (waiter->key != NULL) {
        *waiter->link = waiter->next;
        if (waiter->next != NULL) {
            waiter->next->link = waiter->link;
        }
    }
    waiter->next = NULL;
    waiter->is_in = false;
}

static struct waiter *take_bucket(struct waiters *waiters, size_t bucket, const char *key, struct waiter *list)
{
    struct waiter *next = NULL;
    for (struct waiter *w = waiters->buckets[bucket]; w != NULL; w = next) {
        next = w->next;
        if (key == NULL || strcmp(w->key, key) == 0) {
            waiters_remove(waiters, w);
            w->next = list;
            list = w;
        }
    }
    return list;
}

struct waiter *waiters_take_key(struct waiters *waiters, const char *key, struct waiter *list)
{
    if (*key != '\0') {
        return take_bucket(waiters, bucket_of(key), key, list);
    }
    for (size_t i = 0; i < WAITERS_BUCKETS && waiters->count > 0; i++) {
        list = take_bucket(waiters, i, NULL, list);
    }
    return list;
}

struct waiter *waiters_take_due(struct waiters *waiters, int64_t now_ms)
{
    return waiters_next_deadline(waiters) <= now_ms ? waiters_take_any(waiters) : NULL;
}

struct waiter *waiters_take_any(struct waiters *waiters)
{
    if (waiters->count == 0) {
        return NULL;
    }
    struct waiter *waiter = waiters->heap[0];
    waiters_remove(waiters, waiter);
    return waiter;
}

int64_t waiters_next_deadline(const struct waiters *waiters)
{
    return waiters->count > 0 ? waiters->heap[0]->deadline_ms : INT64_MAX;
}

void waiters_free(struct waiters *waiters)
{
    free(waiters->heap);
    waiters->heap = NULL;
    waiters->count = 0;
}
