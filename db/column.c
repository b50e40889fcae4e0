#include "db/column.h"

#include <stdlib.h>
#include <string.h>

/* Where the next column is looked for first: behind the one that was read last. Any value is right. */
static _Thread_local int expected;

static int index_of(sqlite3_stmt *stmt, const char *name)
{
    const int count = sqlite3_data_count(stmt);
    for (int i = 0; i < count; i++) {
        const int at = (expected + i) % count;
        const char *found = sqlite3_column_name(stmt, at);
        if (found != NULL && strcmp(found, name) == 0) {
            expected = at + 1;
            return at;
        }
    }
#ifdef SMARTVM_FAULTS
    abort();
#else
    return count; /* behind the last one SQLite reads NULL */
#endif
}

int64_t column_int(sqlite3_stmt *stmt, const char *name)
{
    return sqlite3_column_int64(stmt, index_of(stmt, name));
}

bool column_bool(sqlite3_stmt *stmt, const char *name)
{
    return column_int(stmt, name) != 0;
}

bool column_is_null(sqlite3_stmt *stmt, const char *name)
{
    return sqlite3_column_type(stmt, index_of(stmt, name)) == SQLITE_NULL;
}

char *column_text(sqlite3_stmt *stmt, const char *name, bool *failed)
{
    return statement_text(stmt, index_of(stmt, name), failed);
}

const char *column_peek(sqlite3_stmt *stmt, const char *name, bool *failed)
{
    return statement_peek(stmt, index_of(stmt, name), failed);
}

int column_copy(sqlite3_stmt *stmt, const char *name, char *buf, size_t size, struct error *err)
{
    return statement_copy(stmt, index_of(stmt, name), buf, size, err);
}

void *column_blob(sqlite3_stmt *stmt, const char *name, size_t *ret_bytes, bool *failed)
{
    const int at = index_of(stmt, name);
    const bool is_null = sqlite3_column_type(stmt, at) == SQLITE_NULL;
    const void *bytes = sqlite3_column_blob(stmt, at);
    const size_t count = bytes != NULL ? (size_t)sqlite3_column_bytes(stmt, at) : 0;
    void *copy = count > 0 ? malloc(count) : NULL;
    *failed = *failed || (bytes == NULL && !is_null) || (count > 0 && copy == NULL);
    if (copy != NULL) {
        memcpy(copy, bytes, count);
    }
    *ret_bytes = copy != NULL ? count : 0;
    return copy;
}
