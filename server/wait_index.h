/*
 * What is held until a key changes or a deadline passes: an index by key and a heap by deadline over the same
 * entries. Entries belong to the caller and are only linked here; nothing is allocated per entry but a heap
 * slot.
 */
#ifndef SMARTVM_SERVER_WAIT_INDEX_H
#define SMARTVM_SERVER_WAIT_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct waiter {
    const char *key;     /* NULL: only the deadline counts. Must not change while it is in */
    int64_t deadline_ms; /* clock_monotonic_ms() */
    /* private */
    bool is_in;
    size_t heap_index;
    struct waiter *next;
    struct waiter **link;
};

enum { WAITERS_BUCKETS = 1024 };

struct waiters {
    struct waiter *buckets[WAITERS_BUCKETS];
    struct waiter **heap;
    size_t count;
};

int waiters_add(struct waiters *waiters, struct waiter *waiter);     /* -1 when out of memory */
void waiters_remove(struct waiters *waiters, struct waiter *waiter); /* harmless on one that is not in */

/* Takes out all entries of a key ("" = all that have a key) and puts them before `list`, linked by `next`. */
struct waiter *waiters_take_key(struct waiters *waiters, const char *key, struct waiter *list);

/* Takes out the entry with the earliest deadline if that has passed; else NULL. */
struct waiter *waiters_take_due(struct waiters *waiters, int64_t now_ms);
struct waiter *waiters_take_any(struct waiters *waiters); /* NULL when empty */

int64_t waiters_next_deadline(const struct waiters *waiters); /* INT64_MAX when empty */
void waiters_free(struct waiters *waiters);                   /* the entries stay the caller's */

#endif
