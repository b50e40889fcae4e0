/*
 * The directories of the daemon. <state_dir> and <run_dir> belong to root. <state_dir>/db, and the database in it, belong to the user of the API process
 * and the keeper, who alone may enter it (0700): root makes it, and never opens a thing in there again.
 */
#ifndef SMARTVM_SERVER_DIRECTORIES_H
#define SMARTVM_SERVER_DIRECTORIES_H

#include "core/config.h"
#include "core/error.h"

/* Makes what is missing. INVALID_CONFIG when the user does not exist; SYSTEM. */
int directories_make(const struct config *config, struct error *err);

/*
 * Gives <state_dir>/db to the user. One that belongs to somebody else is of an older daemon, or of another configured user: it is closed to all others first, and
 * the database's files are handed over by descriptors of regular files without further names.
 */
int directories_hand_over(const struct config *config, struct error *err);

#endif
