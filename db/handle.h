/* Inside db/ only: SQLite's own handle, for what is done before a database is opened as struct db. */
#ifndef SMARTVM_DB_HANDLE_H
#define SMARTVM_DB_HANDLE_H

#include <sqlite3.h>

static inline void cleanup_sqlite(sqlite3 **sqlite)
{
    (void)sqlite3_close(*sqlite);
}
#define AUTO_SQLITE __attribute__((cleanup(cleanup_sqlite))) sqlite3

#endif
