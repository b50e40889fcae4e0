/*
 * Removes an instance from the host: everything that a daemon with this configuration has made, and nothing else. Known by the marks in docs/architecture.md,
 * "Identity on the host": so it works without the database, too, or with a damaged one, whatever was done halfway, and again.
 *
 * The caller has the locks and the bridge's claim, so no daemon of this instance runs. What is removed is told on standard output, a line each; what can't be
 * removed on standard error, and the rest is removed all the same. The state (database, images, key) goes last, and only if all else is gone: what is on record
 * there is needed for that.
 */
#ifndef SMARTVM_WORKER_PURGE_PURGE_H
#define SMARTVM_WORKER_PURGE_PURGE_H

#include "core/config.h"
#include "core/error.h"

struct purge {
    const struct config *config;
    bool has_state; /* state_dir is that of a daemon: it was there, with its lock, before it was locked now */
    bool has_run;   /* likewise run_dir */
};

/* SYSTEM: something is left. */
int purge_run(const struct purge *purge, struct error *err);

#endif
