/*
 * The worker: the privileged half. It makes the host as the database wants it, and keeps it so. No network listener.
 */
#ifndef SMARTVM_WORKER_WORKER_H
#define SMARTVM_WORKER_WORKER_H

#include "worker/setup.h"

/* Runs until SIGTERM or SIGINT. VMs keep running unless stop_vms. The caller must have blocked SIGTERM, SIGINT and SIGCHLD. */
int worker_run(const struct worker_setup *setup, struct error *err);

#endif
