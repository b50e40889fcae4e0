/* Inside db/ only: the schema, as a list of migrations that is only ever appended to. */
#ifndef SMARTVM_DB_MIGRATE_H
#define SMARTVM_DB_MIGRATE_H

#include "core/error.h"

#include <sqlite3.h>

/* Brings the database to the newest version, each migration in a transaction of its own. */
int migrate_up(sqlite3 *sqlite, int *ret_rc, struct error *err); /* *ret_rc: SQLite's code of what failed, SQLITE_OK for a newer database; may be NULL */

/* The version that it is at; one that there is not counts as the newest. */
int migrate_version(sqlite3 *sqlite, int *ret, struct error *err);
/* The same as migrate_up(), up to this version. */
int migrate_to(sqlite3 *sqlite, int version, int *ret_rc, struct error *err);

/* Refuses a database that is not of just this version. */
int migrate_check(sqlite3 *sqlite, struct error *err);

#endif
