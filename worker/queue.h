/*
 * The work queue: keys of objects to look at ("vm/a", "network"). Level-triggered: it never says what to do.
 *
 * Duplicates are folded; one key is never worked on by two threads at once; a key that is added while it is worked on is worked on once more
 * afterwards. A key can be added with a delay; the earlier time counts. Threads wait on a condition: an idle queue never wakes up.
 * All functions: any thread.
 */
#ifndef SMARTVM_WORKER_QUEUE_H
#define SMARTVM_WORKER_QUEUE_H

#include "core/error.h"

#include <stdint.h>

struct queue;

enum {
    QUEUE_KEY_MAX = 160,
    QUEUE_KEYS_MAX = 65536, /* that wait at once: who names keys may be hostile; with one more, everything is looked at instead */
};

/* The key that comes when another one got lost, as there was no memory for it: look at everything. */
#define QUEUE_EVERYTHING ""

int queue_new(struct queue **ret, struct error *err);
void queue_free(struct queue *queue); /* nobody may be waiting any more */

/* False when out of memory or when the key is too long; QUEUE_EVERYTHING is then queued instead. */
bool queue_add(struct queue *queue, const char *key);
bool queue_add_after(struct queue *queue, const char *key, int64_t delay_ms);

/* Waits for a key and marks it as being worked on. False when the queue was stopped. */
bool queue_take(struct queue *queue, char key[QUEUE_KEY_MAX]);

/*
 * The work on a key is over. failed: it is tried again after a delay that doubles from 50 ms to 30 s with each failure in a row; success resets that.
 */
void queue_done(struct queue *queue, const char *key, bool failed);

/*
 * Takes a key away from those who work, without working on it: so that nothing about it changes while it is looked at. Waits until it is neither worked
 * on nor ready; false when it is not within `timeout_ms`, when the queue was stopped, or without memory. What is added meanwhile is worked on afterwards.
 */
bool queue_claim(struct queue *queue, const char *key, int64_t timeout_ms);
void queue_release(struct queue *queue, const char *key);

void queue_stop(struct queue *queue); /* wakes every waiting thread */

/* Marks what is ready or worked on now; was all of it, of every mark so far, worked on? What is added later does not count. */
void queue_mark(struct queue *queue);
bool queue_is_past_mark(struct queue *queue);

int64_t queue_backoff_ms(unsigned failures); /* the delay after so many failures in a row; for tests */

#endif
