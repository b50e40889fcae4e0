/* The database before anybody opens it: made, migrated, mended. */
#include "core/cleanup.h"
#include "db/db.h"
#include "db/fault_vfs.h"
#include "db/files.h"
#include "db/handle.h"
#include "db/migrate.h"
#include "db/reservations_mend.h"
#include "db/salvage.h"

#include <stdio.h>
#include <string.h>

enum { BUSY_TIMEOUT_MS = 10000, PATH_BYTES = 320 };

/* Else it is the disk, or somebody's lock, or a newer database, and what there is must stay. */
static bool is_damage(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* the schema is not what a migration, or a PRAGMA, can work with */
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return true;
    default:
        return false;
    }
}

/* One of an older version is mended as what it is, so that no migration runs what somebody left in it. False: it can't go on as it is. */
static bool mend_old(sqlite3 *sqlite, struct db_mended *mended)
{
    int version = 0;
    bool whole = false;
    unsigned dropped = 0;
    if (migrate_version(sqlite, &version, NULL) != 0 || version == 0 || version == db_schema_version()) {
        return true; /* migrate_up() tells what is wrong with it */
    }
    const bool looked = salvage_schema(sqlite, &whole, &dropped, NULL) == 0;
    mended->foreign_objects += dropped;
    return looked && whole;
}

/* *ret_whole false: it can't go on as it is. */
static int look_at_database(const char *path, bool check, bool *ret_whole, struct db_mended *mended, struct error *err)
{
    AUTO_SQLITE *sqlite = NULL;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    int rc = sqlite3_open_v2(path, &sqlite, flags, NULL);
    *ret_whole = false;
    if (rc != SQLITE_OK) {
        return error_set(err, ERR_DATABASE, "%s: %s", path, sqlite3_errstr(rc));
    }
    (void)sqlite3_busy_timeout(sqlite, BUSY_TIMEOUT_MS);
    rc = sqlite3_exec(sqlite, "PRAGMA journal_mode=WAL; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON", NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        return is_damage(rc) ? 0 : error_set(err, ERR_DATABASE, "%s: %s", path, sqlite3_errmsg(sqlite));
    }
    if (!mend_old(sqlite, mended)) {
        return 0;
    }
    if (migrate_up(sqlite, &rc, err) != 0) {
        return is_damage(rc) ? 0 : -1;
    }
    unsigned dropped = 0;
    if (salvage_schema(sqlite, ret_whole, &dropped, err) != 0) {
        *ret_whole = false;
    }
    mended->foreign_objects += dropped;
    *ret_whole = *ret_whole && (!check || salvage_is_sound(sqlite));
    if (*ret_whole && reservations_mend(sqlite, &rc, err) != 0) {
        *ret_whole = false;
        return is_damage(rc) ? 0 : -1;
    }
    return 0;
}

/* Rows of an older version take the way of the migrations, in memory; where that fails, they are lost. */
static int take_over(sqlite3 *old, sqlite3 *new, struct db_mended *mended, struct error *err)
{
    AUTO_SQLITE *between = NULL;
    int version = 0;
    unsigned lost = 0;
    if (migrate_version(old, &version, NULL) != 0 || version == db_schema_version()) {
        return salvage_rows(old, new, &mended->lost, err);
    }
    if (sqlite3_open(":memory:", &between) != SQLITE_OK || migrate_to(between, version, NULL, err) != 0 || salvage_rows(old, between, &lost, err) != 0) {
        return -1;
    }
    if (migrate_up(between, NULL, NULL) != 0) {
        mended->lost++;
        return 0;
    }
    int result = salvage_rows(between, new, &mended->lost, err);
    mended->lost += lost;
    return result;
}

static int open_new(const char *path, sqlite3 **ret, struct error *err)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(path, ret, flags, NULL) != SQLITE_OK ||
        sqlite3_exec(*ret, "PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON", NULL, NULL, NULL) != SQLITE_OK) {
        return error_set(err, ERR_DATABASE, "%s: %s", path, sqlite3_errmsg(*ret));
    }
    return migrate_up(*ret, NULL, err);
}

/* A new database, with what can be read of the old one. */
static int begin_anew(const char *path, struct db_mended *mended, struct error *err)
{
    char aside[PATH_BYTES];
    AUTO_SQLITE *old = NULL;
    AUTO_SQLITE *new = NULL;
    (void)snprintf(aside, sizeof aside, "%s.damaged", path);
    if (db_files_set_aside(path, err) != 0) {
        return -1;
    }
    mended->is_new = true;
    if (open_new(path, &new, err) != 0) {
        return -1;
    }
    if (sqlite3_open_v2(aside, &old, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK) {
        mended->lost++;
        return 0;
    }
    return take_over(old, new, mended, err) == 0 ? reservations_mend(new, NULL, err) : -1;
}

int db_make_ready(const char *path, bool check, struct db_mended *ret, struct error *err)
{
    bool whole = false;
    *ret = (struct db_mended){.foreign_files = 0};
    if (strlen(path) > PATH_BYTES - 20) {
        return error_set(err, ERR_DATABASE, "the path of the database is too long");
    }
    fault_vfs_install();
    if (db_files_check(path, &ret->foreign_files, err) != 0 || look_at_database(path, check, &whole, ret, err) != 0) {
        return -1;
    }
    if (!whole) {
        return begin_anew(path, ret, err);
    }
    ret->is_new = ret->foreign_files > 0;
    return 0;
}
