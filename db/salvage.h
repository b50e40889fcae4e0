/*
 * What to do about a database that is not as we left it: objects of the schema that nobody of ours made (a trigger, a view, a table), a table
 * that was replaced, pages that are damaged. All of this can be done by whoever has the API process's uid; it costs at most what is stored in
 * the damaged place, and never the start of the daemon.
 */
#ifndef SMARTVM_DB_SALVAGE_H
#define SMARTVM_DB_SALVAGE_H

#include "core/error.h"

#include <sqlite3.h>

/*
 * Compares the schema with the one that the migrations make up to the version that `sqlite` is at, by the text of each object. Foreign triggers, views
 * and indexes are dropped. *ret_whole false: a table of ours is missing or is another one, so everything has to be salvaged.
 * *ret_dropped: how many objects went.
 */
int salvage_schema(sqlite3 *sqlite, bool *ret_whole, unsigned *ret_dropped, struct error *err);

/* Is each page and each index in order? Takes a while with a large one: only when something was found to be wrong. */
bool salvage_is_sound(sqlite3 *sqlite);

/*
 * Copies each row of our tables that can be read, and that the table allows, from `old` (opened, of whatever state) into `new` (migrated to the version of `old`, empty), in
 * one transaction. *ret_lost: how many rows, as far as they could be counted, could not be taken over.
 */
int salvage_rows(sqlite3 *old, sqlite3 *new, unsigned *ret_lost, struct error *err);

#endif
