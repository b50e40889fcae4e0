/*
 * The table of the reconcilers: what kinds of keys there are ("vm/a", "network"), in which queue they wait, and who works on them. Any thread.
 */
#ifndef SMARTVM_WORKER_RECONCILERS_H
#define SMARTVM_WORKER_RECONCILERS_H

#include "worker/context.h"

/* Works on a key that came out of a queue. An error means that it should be tried again later. BAD_REQUEST for a key of no kind. */
int reconcile_key(struct worker *worker, const char *key, struct error *err);

/* Queues a key that the API process names; one that is none is dropped. "" means everything. */
void reconcilers_wake(struct worker *worker, const char *key);

/* Puts back the rows that VMs which run have lost. At start, before anything is swept, and when the database had to be begun anew. */
int reconcilers_restore(struct worker *worker, struct error *err);

/* Queues each key of each kind. */
int reconcilers_queue_all(struct worker *worker, struct error *err);

/* The same, and marks them: the daemon is ready when all of them were worked on, whatever clients ask for meanwhile. */
int reconcilers_look_before_ready(struct worker *worker, struct error *err);

/* Queues each VM. */
int reconcilers_queue_vms(struct worker *worker, struct error *err);

#endif
