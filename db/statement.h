/*
 * Inside db/ only: prepared statements, bound by slot and read by column, cached by the address of their (static) text.
 * A statement is used between statement_get() and statement_done(); both with the connection's lock held.
 */
#ifndef SMARTVM_DB_STATEMENT_H
#define SMARTVM_DB_STATEMENT_H

#include "db/db.h"

#include <sqlite3.h>

void db_lock(struct db *db);
void db_unlock(struct db *db);
static inline void cleanup_db_unlock(struct db **db)
{
    db_unlock(*db);
}
#define DB_LOCKED(db) __attribute__((cleanup(cleanup_db_unlock), unused)) struct db *locked_ = (db_lock(db), (db))

/* NULL on failure. `sql` must be a string literal. */
sqlite3_stmt *statement_get(struct db *db, const char *sql, struct error *err);

enum statement_result { STATEMENT_ROW, STATEMENT_DONE, STATEMENT_CONSTRAINT, STATEMENT_FAILED };
enum statement_result statement_step(struct db *db, sqlite3_stmt *stmt, struct error *err);

static inline void cleanup_statement(sqlite3_stmt **stmt)
{
    if (*stmt != NULL) {
        (void)sqlite3_reset(*stmt);
        (void)sqlite3_clear_bindings(*stmt);
    }
}
#define AUTO_STATEMENT __attribute__((cleanup(cleanup_statement))) sqlite3_stmt

/* Runs a statement that gives no row. 0, or -1; a violated constraint is a failure as well. */
int statement_run(struct db *db, sqlite3_stmt *stmt, struct error *err);

/* Does the statement give a row? */
int statement_gives_row(struct db *db, sqlite3_stmt *stmt, bool *ret, struct error *err);

/* The text of a column, copied; NULL for SQL NULL. *failed is set when out of memory. */
char *statement_text(sqlite3_stmt *stmt, int column, bool *failed);

void statement_bind_text(sqlite3_stmt *stmt, int slot, const char *text); /* NULL binds NULL; `text` must outlive the step */

int db_changes(struct db *db);
int64_t db_last_rowid(struct db *db);

#endif
