/*
 * Inside db/ only: the columns of the row that a statement has just given, by their names. A column of a table has the table's name for it; what is
 * computed, or there twice, is named by AS. A name that the statement does not have is a fault of the program: builds for tests end there, others read NULL.
 *
 * Who reads the columns in their order compares one name each; any other order is right as well. Threads as in db/statement.h.
 */
#ifndef SMARTVM_DB_COLUMN_H
#define SMARTVM_DB_COLUMN_H

#include "db/statement.h"

int64_t column_int(sqlite3_stmt *stmt, const char *name); /* 0 for SQL NULL, like the next */
bool column_bool(sqlite3_stmt *stmt, const char *name);
bool column_is_null(sqlite3_stmt *stmt, const char *name);

/* Texts, as statement_text(), statement_peek() and statement_copy() have them. */
char *column_text(sqlite3_stmt *stmt, const char *name, bool *failed);
const char *column_peek(sqlite3_stmt *stmt, const char *name, bool *failed);
int column_copy(sqlite3_stmt *stmt, const char *name, char *buf, size_t size, struct error *err);

/* A copy, owned by the caller; NULL for SQL NULL and for no bytes. */
void *column_blob(sqlite3_stmt *stmt, const char *name, size_t *ret_bytes, bool *failed);

#endif
