/*
 * The unprivileged processes of the daemon: the same binary, executed anew by the worker with descriptors at fixed places, so that nothing of the
 * privileged process's memory comes along. Each gives up every privilege before it reads a byte of what others say.
 */
#ifndef SMARTVM_SERVER_CHILD_H
#define SMARTVM_SERVER_CHILD_H

#include "core/config.h"
#include "core/error.h"

#include <sys/types.h>

enum {
    CHILD_FD_WORKER = 3, /* the socket to the worker */
    CHILD_FD_CONFIG = 4, /* a memfd with config_to_json() */
    CHILD_FD_MORE = 5,   /* the others follow */
    CHILD_FDS_MAX = 10,
};

/*
 * In the worker: executes "smartvmd FLAG PARENT WORD" with these descriptors, which stay the caller's. Returns a pidfd, owned by the caller, or -1, when
 * the child has no other descriptors of ours any more. Safe in a process with threads.
 */
int child_start(const char *flag, const char *word, const int *fds, size_t count, struct error *err);

/* A memfd with the text, read-only from then on. -1 on failure. */
int child_config_fd(const char *text, struct error *err);

/* In the new process: what `argv` says, "FLAG PARENT WORD"; false when it was not started by a worker. */
bool child_arguments(int argc, char **argv, pid_t *ret_parent, const char **ret_word);

/* In the new process: the configuration of CHILD_FD_CONFIG, which is closed. */
int child_read_config(struct config **ret, struct error *err);

#endif
