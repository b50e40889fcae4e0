#include "core/together.h"

/* Called with the lock; returns with it. Serves all that waits, the caller's own request among it. */
static void lead(struct together *together)
{
    struct together_request *round = together->waiting;
    struct error error = {0};
    together->waiting = NULL;
    together->has_leader = true;
    (void)pthread_mutex_unlock(&together->lock);
    int result = together->serve(round, &error);
    (void)pthread_mutex_lock(&together->lock);
    for (struct together_request *q = round, *next = NULL; q != NULL; q = next) {
        next = q->next; /* it lives on the stack of its caller, who goes on as soon as the lock is free */
        q->result = result;
        q->error = error;
        q->done = true;
    }
    together->has_leader = false;
    (void)pthread_cond_broadcast(&together->changed);
}

int together_do(struct together *together, struct together_request *request, struct error *err)
{
    request->done = false;
    (void)pthread_mutex_lock(&together->lock);
    request->next = together->waiting;
    together->waiting = request;
    while (!request->done) {
        if (together->has_leader) {
            (void)pthread_cond_wait(&together->changed, &together->lock);
        } else {
            lead(together);
        }
    }
    (void)pthread_mutex_unlock(&together->lock);
    if (request->result != 0 && err != NULL) {
        *err = request->error;
    }
    return request->result;
}
