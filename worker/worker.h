/*
 * The worker: the privileged half. It makes the host as the database wants it, and keeps it so. No network listener.
 */
#ifndef SMARTVM_WORKER_WORKER_H
#define SMARTVM_WORKER_WORKER_H

#include "core/config.h"
#include "db/db.h"

#include <sys/types.h>

struct worker_setup {
    const struct config *config;
    struct db *db;
    int api_socket; /* our end of the socketpair */
    bool stop_vms;  /* at the end, stop every VM too */
    /* Starts the API process and returns a pidfd of it, or -1. Called again when it has died. */
    int (*start_api)(void *ctx, struct error *err);
    void (*ready)(void *ctx); /* the API process serves and the host was looked at once: tell the service manager */
    void *ctx;
};

/* Runs until SIGTERM or SIGINT. VMs keep running unless stop_vms. The caller must have blocked SIGTERM, SIGINT and SIGCHLD. */
int worker_run(const struct worker_setup *setup, struct error *err);

#endif
