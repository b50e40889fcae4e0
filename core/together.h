/*
 * Work that costs the same for one as for many, done for all who ask at the same time: who comes first serves all that wait, who comes while it is
 * being done is served by the next round, and so everybody by work that began after they asked. Any thread.
 */
#ifndef SMARTVM_CORE_TOGETHER_H
#define SMARTVM_CORE_TOGETHER_H

#include "core/error.h"

#include <pthread.h>
#include <stdbool.h>

/* What one caller wants. It lives on the caller's stack, as the first member of what the caller asks for, until together_do() returns. */
struct together_request {
    struct together_request *next; /* of the same round; NULL: the last */
    bool done;
    int result;
    struct error error;
};

struct together {
    /* The work for all requests of a round, with no lock held. Returns 0, or -1 with *err set, which every caller of the round gets. */
    int (*serve)(struct together_request *round, struct error *err);
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct together_request *waiting; /* newest first */
    bool has_leader;
};

#define TOGETHER_INIT(work) \
    { \
        .serve = (work), .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER \
    }

/* Waits until the work was done for this request, by this thread or by another one. Returns what the work returned. */
int together_do(struct together *together, struct together_request *request, struct error *err);

#endif
