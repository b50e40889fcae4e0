/*
 * The files of the database, looked at before SQLite opens them. Whoever has the API process's uid can put anything in their place; what SQLite
 * must not meet (a link, a FIFO on which an open or a read waits for ever, a directory, a rollback journal beside a database in WAL mode, which
 * would be played back into it) is moved aside, and the database goes on with what is left. Called by the process whose user owns the directory.
 */
#ifndef SMARTVM_DB_FILES_H
#define SMARTVM_DB_FILES_H

#include "core/error.h"

/* A file of another user is refused, by its name. What is moved aside gets the first free name of <name>.foreign-1 … -9; beyond that it is removed. *ret_count: how many. Error: DATABASE. */
int db_files_check(const char *path, unsigned *ret_count, struct error *err);

/* The database and its -wal and -shm get other names (<name>.damaged, the one of before is replaced), so that a new one can be begun. */
int db_files_set_aside(const char *path, struct error *err);

#endif
