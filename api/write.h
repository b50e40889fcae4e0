/*
 * Inside api/ only: the way that every write of the API takes. An operation is a row of steps; the driver does the rest, always in this order:
 *
 *   prepare what is wanted, from the request, before anything is locked
 *   ask     what only the worker can tell
 *   begin   the transaction
 *   find    what there is, and its version
 *           If-Match and If-None-Match
 *   change  what is wanted, in memory; here it is refused what can't be
 *   store   what was changed, and the event of it
 *   look    at the resource as it is now
 *           the answer is stored under the Idempotency-Key
 *   commit
 *   wake    the worker
 *           the answer, or a wait for what the worker makes of it
 *
 * With `dry_run` all of it is done up to the look; then everything is taken back, and the answer is the plan: api/plan.h.
 */
#ifndef SMARTVM_API_WRITE_H
#define SMARTVM_API_WRITE_H

#include "api/plan.h"
#include "api/wait.h"
#include "core/plan_wish.h"

struct write;
typedef int write_step(struct write *write, struct error *err);

/* What the worker is asked first. */
struct write_question {
    const char *name, *member; /* literals */
    char *value;               /* owned; NULL: nothing has to be asked */
};

struct write_steps {
    const struct wait_subject *subject; /* NULL: the answer is what `look` has put into the body, 204 without one */
    enum write_kind kind;
    size_t state_size;               /* of write->state: what the steps tell each other */
    void (*free_state)(void *state); /* what the state points to; NULL: nothing */
    write_step *prepare;
    int (*ask)(struct write *write, struct write_question *ret, struct error *err);
    int (*answered)(struct write *write, const json_t *answer, struct error *err);
    /* In the transaction. All but `look` may be NULL. */
    write_step *find, *change, *store, *event, *look;
    /* In the transaction of a dry run, after `look`: what the planners have to know. NULL: nothing on the host changes by this. */
    int (*wish)(struct write *write, struct plan_wish *ret, struct error *err);
    /* What was stored is on disk. */
    void (*committed)(struct write *write);
};

struct write {
    struct call *call; /* the request; in an answer of the worker, a copy without the request itself */
    const struct write_steps *steps;
    void *state;
    char version[ETAG_MAX]; /* by `find`; "": there is none yet */
    bool is_needless;       /* by `change`: all is so already, so that nothing is stored, told or woken */
    char id[API_KEY_MAX];   /* of the resource; "" where there is one alone */
    int64_t identity;       /* see struct wait_subject */
    struct wait_goal goal;
    struct look look;
};

int write_run(struct call *call, const struct write_steps *steps, struct api_reply *reply, struct error *err);

/* For steps: *write's id. */
void write_set_id(struct write *write, const char *id);

#endif
