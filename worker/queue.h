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

enum { QUEUE_KEY_MAX = 96 };

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

void queue_stop(struct queue *queue); /* wakes every waiting thread */

/* Marks what is ready or worked on now; was all of it, of every mark so far, worked on? What is added later does not count. */
void queue_mark(struct queue *queue);
bool queue_is_past_mark(struct queue *queue);

/* Is there neither a key that is ready nor one that is worked on? (Delayed ones do not count.) For tests. */
bool queue_is_idle(struct queue *queue);

int64_t queue_backoff_ms(unsigned failures); /* the delay after so many failures in a row; for tests */

#endif
