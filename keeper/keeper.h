/*
 * The keeper: an unprivileged process that runs all SQL for the worker, so that root never opens a file that somebody else may write. It answers the
 * messages of core/message.h by db/, one after the other, and does nothing of its own. It ends when the worker ends.
 */
#ifndef SMARTVM_KEEPER_KEEPER_H
#define SMARTVM_KEEPER_KEEPER_H

#include "core/error.h"
#include "db/db.h"

/* How the process ends. With KEEPER_DAMAGED the database has to be looked through before the next one goes on with it. */
enum keeper_end { KEEPER_ENDED = 0, KEEPER_FAILED = 1, KEEPER_DAMAGED = 3 };

/* Answers what comes over `socket` until the other end is gone. */
enum keeper_end keeper_run(struct db *db, int socket);

#endif
