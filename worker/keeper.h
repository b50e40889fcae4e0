/*
 * The keeper process, as the worker's main loop sees it: started, watched, ended when it does not answer or answers nonsense, and started again. Main
 * loop only, but for worker->border, over which any thread asks.
 */
#ifndef SMARTVM_WORKER_KEEPER_H
#define SMARTVM_WORKER_KEEPER_H

#include "worker/context.h"
#include "worker/setup.h"

struct keeper {
    const struct worker_setup *setup;
    struct worker *worker;
    int process;       /* a pidfd; -1: none */
    int socket;        /* to one that is not ready yet; then the border has it */
    int broken;        /* an eventfd: somebody gave up waiting for an answer */
    bool check;        /* the next one looks through the database, as it was damaged */
    int64_t spared_ms; /* since when elements that were left out are counted for the log; under the border's lock */
    unsigned spared;
    int64_t deadline_ms; /* when it is started again, or ended because it did not get ready; 0: nothing is due */
};
#define KEEPER_INIT ((struct keeper){.process = -1, .socket = -1, .broken = -1})

/* Makes worker->border, starts the first keeper and waits until it is ready; tries again for a minute. */
int keeper_open(struct worker *worker, const struct worker_setup *setup, struct keeper *ret, struct error *err);
/* Puts its descriptors into worker->epoll. */
int keeper_watch(struct keeper *keeper, struct error *err);
void keeper_close(struct keeper *keeper);

/* What to do when its descriptors are readable, and when its deadline has passed. *ret_anew: it is ready, with a new file of the database. */
void keeper_on_process(struct keeper *keeper);
void keeper_on_broken(struct keeper *keeper);
void keeper_on_socket(struct keeper *keeper, bool *ret_anew);
void keeper_on_deadline(struct keeper *keeper);

#endif
