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

/* STATEMENT_CONSTRAINT: with the words of db/constraint.h in *err. */
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

/*
 * The text of a column. sqlite3_column_text() gives NULL for SQL NULL and when memory is short, and the two must not be taken for each other: these
 * are the only places that call it. *failed is set when memory is short, and else left as it is.
 */
char *statement_text(sqlite3_stmt *stmt, int column, bool *failed);       /* a copy; NULL for SQL NULL */
const char *statement_peek(sqlite3_stmt *stmt, int column, bool *failed); /* until the next step; NULL for SQL NULL */
/*
 * Into a buffer. "" when it is SQL NULL or does not fit, which no column that is read by this can be unless somebody changed it by hand: who looks at
 * the row then finds it damaged, and the rows beside it are read all the same. -1 only when memory is short.
 */
int statement_copy(sqlite3_stmt *stmt, int column, char *buf, size_t size, struct error *err);

void statement_bind_text(sqlite3_stmt *stmt, int slot, const char *text); /* NULL binds NULL; `text` must outlive the step */

void statement_bind_request(struct db *db, sqlite3_stmt *stmt, int slot); /* of db_set_request() */

int db_changes(struct db *db);
int64_t db_last_rowid(struct db *db);

#endif
