/*
 * When to repair what somebody else breaks again and again. Pure: no clock, no system call; times are
 * milliseconds of the monotonic clock.
 *
 * Ten repairs of one kind are made at once. Each further one waits: 1 s, 2 s, 4 s, … 60 s. When nothing of the
 * kind had to be repaired for 10 s, or twice the last delay if that is longer, everything is forgotten.
 */
#ifndef SMARTVM_WORKER_REPAIR_BACKOFF_H
#define SMARTVM_WORKER_REPAIR_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    REPAIR_FREE = 10,
    REPAIR_DELAY_FIRST_MS = 1000,
    REPAIR_DELAY_MAX_MS = 60000,
    REPAIR_QUIET_MS = 10000,
};

/* One kind of repair of one object. All zeros: nothing was ever repaired. */
struct repair_backoff {
    unsigned repairs; /* since it was quiet the last time */
    int64_t last_ms;  /* when the last one was made */
    int64_t delay_ms; /* from the last one to the next */
};

/* How long a repair that is needed now has to wait; 0: not at all. */
int64_t repair_backoff_wait(const struct repair_backoff *backoff, int64_t now_ms);

/* A repair is made now. True when it is the one from which on further ones wait. */
bool repair_backoff_note(struct repair_backoff *backoff, int64_t now_ms);

/* Does somebody undo the repairs? */
bool repair_backoff_is_contested(const struct repair_backoff *backoff, int64_t now_ms);

/* When it will count as quiet if nothing happens until then; only for what is contested. */
int64_t repair_backoff_quiet_at(const struct repair_backoff *backoff);

#endif
