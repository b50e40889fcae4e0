/*
 * The SQLite store: the only place with SQL. The API process and the keeper, who works for the worker, have it open, both as the unprivileged user.
 *
 * Each process has one connection, shared by its threads: every function takes the connection's lock (recursive) for its duration; a
 * transaction holds it from db_begin() to db_commit() or db_rollback(). Error of all functions: DATABASE, unless said otherwise.
 * WAL mode. The API process commits with synchronous=FULL (what is acknowledged is on disk); the keeper with NORMAL, since what the
 * worker reports is observed anew after a crash.
 */
#ifndef SMARTVM_DB_DB_H
#define SMARTVM_DB_DB_H

#include "core/error.h"
#include "core/limits.h"

#include <stdint.h>

struct db;

enum db_role { DB_KEEPER, DB_API };

/* Opens a database that has been made ready by db_make_ready(). One of another version is refused. */
int db_open(const char *path, enum db_role role, struct db **ret, struct error *err);

/*
 * Makes, migrates and, where it is not as we left it, mends the database; before anybody opens it. With `check` each page of it is looked at, which
 * takes a while: after one that was damaged. A database of a newer daemon is refused, and left as it is.
 */
struct db_mended {
    unsigned foreign_files;   /* moved aside: db/files.h */
    unsigned foreign_objects; /* dropped from the schema: db/salvage.h */
    bool is_new;              /* rows may be missing: a new database was begun with what could be read of the old one (<path>.damaged), or files were moved */
    unsigned lost;            /* rows, or places, of which nothing could be read */
};
int db_make_ready(const char *path, bool check, struct db_mended *ret, struct error *err);

/* Has SQLite said that the file is damaged, since it was opened? */
bool db_is_damaged(struct db *db);

void db_close(struct db *db); /* harmless on NULL */

int db_begin(struct db *db, struct error *err);  /* BEGIN IMMEDIATE; does not nest */
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

/*
 * Which request the writes from now on are of; each row of something that is wanted keeps that of its last change, for the log. "" for those of the
 * daemon itself. For a connection that one thread uses.
 */
void db_set_request(struct db *db, const char *request);

/* Does the database answer? For readiness. */
int db_check(struct db *db, struct error *err);

/* Number of migrations that this daemon knows; PRAGMA user_version of a migrated database. */
int db_schema_version(void);

#endif
