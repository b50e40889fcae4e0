/* What the worker is given by main.c, which knows all processes of the daemon. */
#ifndef SMARTVM_WORKER_SETUP_H
#define SMARTVM_WORKER_SETUP_H

#include "core/config.h"
#include "core/error.h"

struct claims;

struct worker_setup {
    const struct config *config;
    struct claims *claims; /* see host/link/claim.h; the bridge is taken */
    bool stop_vms;         /* at the end, stop every VM too */
    /*
     * Starts the API process and returns a pidfd of it, or -1; *ret_socket is our end of its messages (core/ipc.h), owned by the caller. Called again
     * when it has died: what it may have done to its socket ended with it.
     */
    int (*start_api)(void *ctx, int *ret_socket, struct error *err);
    /*
     * Starts the keeper and returns a pidfd of it, or -1; *ret_socket is our end of the border, owned by the caller. `check`: the one before found the
     * database damaged. Called again when it has died.
     */
    int (*start_keeper)(void *ctx, bool check, int *ret_socket, struct error *err);
    /*
     * Starts an inspector (host/store/inspect.h) and returns a pidfd of it, or -1; `word` is inspection_word(), `answer` the end of a pipe that
     * inspection_tell() writes to, `out` may be -1. The descriptors stay the caller's. Any thread.
     */
    int (*start_inspector)(void *ctx, const char *word, int answer, int in, int out, struct error *err);
    void (*ready)(void *ctx); /* the API process serves and the host was looked at once: tell the service manager */
    void *ctx;
};

#endif
