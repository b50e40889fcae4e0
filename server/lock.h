/*
 * The lock that makes a directory belong to one daemon: a file in it, held by an open file description lock, so that it ends with the last process that has
 * the descriptor and never before. The file holds the pid of the holder, for people; the lock alone decides.
 */
#ifndef SMARTVM_SERVER_LOCK_H
#define SMARTVM_SERVER_LOCK_H

#include "core/error.h"

/* The directories of the configuration that are locked: <state_dir>/lock, <run_dir>/smartvmd.lock. */
enum lock_kind { LOCK_STATE_DIR, LOCK_RUN_DIR };

/*
 * The descriptor keeps the lock. A holder that is about to end is waited for, for a second at most; then CONFLICT "state_dir: <dir> is that of the smartvmd
 * with pid N".
 */
int lock_acquire(enum lock_kind kind, const char *dir, int *ret_fd, struct error *err);

#endif
