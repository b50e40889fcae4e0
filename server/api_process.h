/*
 * The API process (server/child.h): it gives up every privilege before it reads a byte from a client.
 */
#ifndef SMARTVM_SERVER_API_PROCESS_H
#define SMARTVM_SERVER_API_PROCESS_H

#include "core/error.h"
#include "server/listen.h"

#include <sys/types.h>

#define API_PROCESS_FLAG "--api-process"

struct api_process_setup {
    int worker_socket;                   /* the API process's end of ipc_pair() */
    int config_fd;                       /* a memfd with config_to_json() */
    const struct listen_socket *sockets; /* stay the caller's, for the next API process */
    size_t socket_count;
};

/* In the worker: starts one. Returns a pidfd, owned by the caller, or -1. Safe in a process with threads. */
int api_process_start(const struct api_process_setup *setup, struct error *err);

/* In the new process, called by main() when argv[1] is API_PROCESS_FLAG. Returns the exit status. */
int api_process_main(int argc, char **argv);

#endif
