/* A database for a test: made ready and opened as the keeper has it. */
#ifndef SMARTVM_TESTS_UNIT_DB_READY_H
#define SMARTVM_TESTS_UNIT_DB_READY_H

#include "db/db.h"

static inline int open_ready(const char *path, struct db **ret, struct error *err)
{
    struct db_mended mended;
    return db_make_ready(path, false, &mended, err) != 0 ? -1 : db_open(path, DB_KEEPER, ret, err);
}

#endif
