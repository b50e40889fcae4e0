/*
 * The lock that makes a state directory belong to one daemon: <state_dir>/lock, held by an open file
 * description lock, so that it ends with the last process that has the descriptor and never before. The file
 * holds the pid of the holder, for people; the lock alone decides.
 */
#ifndef SMARTVM_SERVER_LOCK_H
#define SMARTVM_SERVER_LOCK_H

#include "core/error.h"

/* The descriptor keeps the lock. CONFLICT "another smartvmd (pid N) uses <dir>" when it is held. */
int lock_acquire(const char *state_dir, int *ret_fd, struct error *err);

#endif
