/*
 * The SQLite store: the only place with SQL, and the only interface between the API process and the worker for what is wanted.
 *
 * Each process has one connection, shared by its threads: every function takes the connection's lock (recursive) for its duration; a
 * transaction holds it from db_begin() to db_commit() or db_rollback(). Error of all functions: DATABASE, unless said otherwise.
 * WAL mode. The API process commits with synchronous=FULL (what is acknowledged is on disk); the worker with NORMAL, since what it
 * writes is observed anew after a crash.
 */
#ifndef SMARTVM_DB_DB_H
#define SMARTVM_DB_DB_H

#include "core/error.h"

#include <stdint.h>

struct db;

enum db_role { DB_WORKER, DB_API };

/* Opens, and migrates to the newest schema when the role is the worker's. A database of a newer daemon is refused. */
int db_open(const char *path, enum db_role role, struct db **ret, struct error *err);
void db_close(struct db *db); /* harmless on NULL */

int db_begin(struct db *db, struct error *err); /* BEGIN IMMEDIATE; does not nest */
int db_commit(struct db *db, struct error *err); /* on failure the transaction has been rolled back */
void db_rollback(struct db *db);                 /* harmless when none is open in this thread's scope */

/* Reads of one moment: what other processes commit meanwhile is not seen. Nests, also inside a transaction, which it is then a part of. */
int db_read_begin(struct db *db, struct error *err);
void db_read_end(struct db *db);
static inline void cleanup_db_read(struct db **db)
{
    db_read_end(*db);
}
#define AUTO_DB_READ __attribute__((cleanup(cleanup_db_read), unused)) struct db

/* Does the database answer? For readiness. */
int db_check(struct db *db, struct error *err);

/* Number of migrations that this daemon knows; PRAGMA user_version of a migrated database. */
int db_schema_version(void);

#endif
