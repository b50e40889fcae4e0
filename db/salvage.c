#include "db/salvage.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "db/handle.h"
#include "db/migrate.h"

#include <stdio.h>
#include <string.h>

enum {
    TABLES_MAX = 64,
    COLUMNS_MAX = 64,
    PLACES_BYTES = 3 * COLUMNS_MAX,
    READ_BUDGET_MS = 20000, /* a table of the old database may be a program that never ends */
    PROGRESS_STEPS = 10000,
};
/* A number given out last that is larger than this was not counted up to; one row more would be refused for ever. */
static const int64_t sequence_max = (int64_t)1 << 40;

static void finalize(sqlite3_stmt **stmt)
{
    (void)sqlite3_finalize(*stmt);
}
#define AUTO_STMT __attribute__((cleanup(finalize))) sqlite3_stmt

static void free_sqlite(char **text)
{
    sqlite3_free(*text);
}
#define AUTO_SQL __attribute__((cleanup(free_sqlite))) char

static int fail(sqlite3 *sqlite, const char *what, struct error *err)
{
    return error_set(err, ERR_DATABASE, "%s: %s", what, sqlite3_errmsg(sqlite));
}

/* The schema as the migrations make it, of the version that `of` is at. */
static int make_reference(sqlite3 *of, sqlite3 **ret, struct error *err)
{
    sqlite3 *sqlite = NULL;
    int version = 0;
    if (migrate_version(of, &version, err) != 0) {
        return -1;
    }
    if (sqlite3_open(":memory:", &sqlite) != SQLITE_OK || migrate_to(sqlite, version, NULL, err) != 0) {
        (void)sqlite3_close(sqlite);
        return error_set(err, ERR_DATABASE, "the schema could not be made in memory");
    }
    *ret = sqlite;
    return 0;
}

static sqlite3_stmt *prepare(sqlite3 *sqlite, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    return sqlite3_prepare_v2(sqlite, sql, -1, &stmt, NULL) == SQLITE_OK ? stmt : NULL;
}

static const char *text(sqlite3_stmt *stmt, int column)
{
    const char *value = (const char *)sqlite3_column_text(stmt, column);
    return value != NULL ? value : "";
}

/* Is there an object of this type, name and definition? `sql` NULL: of any. */
static bool has_object(sqlite3 *sqlite, const char *type, const char *name, const char *sql)
{
    AUTO_STMT *stmt = prepare(sqlite, "SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 AND (?3 IS NULL OR sql = ?3)");
    if (stmt == NULL) {
        return false;
    }
    (void)sqlite3_bind_text(stmt, 1, type, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 2, name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 3, sql, -1, SQLITE_STATIC);
    return sqlite3_step(stmt) == SQLITE_ROW;
}

static bool is_of_sqlite(const char *name)
{
    return strncmp(name, "sqlite_", 7) == 0;
}

/* Fills `ret_drop` (owned) with a statement for the first foreign object that can be dropped; NULL when there is none. */
static int find_foreign(sqlite3 *sqlite, sqlite3 *reference, char **ret_drop, bool *ret_whole, struct error *err)
{
    AUTO_STMT *stmt = prepare(sqlite, "SELECT type, name, sql FROM sqlite_schema ORDER BY type = 'table', rowid");
    int rc = SQLITE_ERROR;
    *ret_drop = NULL;
    while (stmt != NULL && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *type = text(stmt, 0);
        const char *name = text(stmt, 1);
        if (is_of_sqlite(name) || has_object(reference, type, name, text(stmt, 2))) {
            continue;
        }
        if (strcmp(type, "table") == 0 && has_object(reference, "table", name, NULL)) {
            *ret_whole = false;
            continue;
        }
        const char *word = strcmp(type, "trigger") == 0 ? "TRIGGER" : strcmp(type, "view") == 0 ? "VIEW" : strcmp(type, "index") == 0 ? "INDEX" : "TABLE";
        *ret_drop = sqlite3_mprintf("DROP %s \"%w\"", word, name);
        return *ret_drop != NULL ? 0 : error_oom(err);
    }
    return rc == SQLITE_DONE ? 0 : fail(sqlite, "the schema could not be read", err);
}

/* Each table and index of ours is there, as it should be. */
static bool has_all(sqlite3 *sqlite, sqlite3 *reference)
{
    AUTO_STMT *stmt = prepare(reference, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL");
    while (stmt != NULL && sqlite3_step(stmt) == SQLITE_ROW) {
        if (!is_of_sqlite(text(stmt, 1)) && !has_object(sqlite, text(stmt, 0), text(stmt, 1), text(stmt, 2))) {
            return false;
        }
    }
    return stmt != NULL;
}

/* Numbers near the end of their range: the next row, an event say, would be refused for ever. */
static void mend_sequences(sqlite3 *sqlite)
{
    (void)sqlite3_exec(
        sqlite, "DELETE FROM events WHERE seq > 1099511627776; UPDATE sqlite_sequence SET seq = 0 WHERE typeof(seq) <> 'integer' OR seq > 1099511627776;", NULL,
        NULL, NULL);
}

int salvage_schema(sqlite3 *sqlite, bool *ret_whole, unsigned *ret_dropped, struct error *err)
{
    AUTO_SQLITE *reference = NULL;
    if (make_reference(sqlite, &reference, err) != 0) {
        return -1;
    }
    *ret_whole = true;
    *ret_dropped = 0;
    for (;;) {
        AUTO_SQL *drop = NULL;
        if (find_foreign(sqlite, reference, &drop, ret_whole, err) != 0) {
            return -1;
        }
        if (drop == NULL) {
            break;
        }
        if (sqlite3_exec(sqlite, drop, NULL, NULL, NULL) != SQLITE_OK) {
            *ret_whole = false;
            return 0;
        }
        ++*ret_dropped;
    }
    *ret_whole = *ret_whole && has_all(sqlite, reference);
    if (*ret_whole) {
        mend_sequences(sqlite);
    }
    return 0;
}

bool salvage_is_sound(sqlite3 *sqlite)
{
    AUTO_STMT *stmt = prepare(sqlite, "PRAGMA integrity_check(1)");
    return stmt != NULL && sqlite3_step(stmt) == SQLITE_ROW && strcmp(text(stmt, 0), "ok") == 0;
}

static int is_over(void *deadline_ms)
{
    return clock_monotonic_ms() >= *(const int64_t *)deadline_ms;
}

/* "a", "b", …: the columns of a table of ours. Owned by the caller (sqlite3_free); *ret_count: how many. */
static char *columns_of(sqlite3 *reference, const char *table, int *ret_count)
{
    AUTO_STMT *stmt = prepare(reference, "SELECT name FROM pragma_table_info(?)");
    char *list = NULL;
    *ret_count = 0;
    if (stmt != NULL) {
        (void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    }
    while (stmt != NULL && *ret_count < COLUMNS_MAX && sqlite3_step(stmt) == SQLITE_ROW) {
        char *longer = sqlite3_mprintf("%z%s\"%w\"", list, list != NULL ? ", " : "", text(stmt, 0));
        list = longer;
        ++*ret_count;
    }
    return list;
}

/* "?, ?, ?" for so many values. */
static const char *places_of(int count, char buf[PLACES_BYTES])
{
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        len += (size_t)snprintf(buf + len, (size_t)PLACES_BYTES - len, "%s", i > 0 ? ", ?" : "?");
    }
    buf[len] = '\0';
    return buf;
}

/* Copies rows until the end or the first that can't be read. */
static bool copy_rows(sqlite3_stmt *from, sqlite3_stmt *to, int columns, unsigned *lost)
{
    int rc = SQLITE_ROW;
    while ((rc = sqlite3_step(from)) == SQLITE_ROW) {
        for (int i = 0; i < columns; i++) {
            (void)sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
        }
        if (sqlite3_step(to) != SQLITE_DONE) {
            ++*lost;
        }
        (void)sqlite3_reset(to);
    }
    return rc == SQLITE_DONE;
}

/* From both ends, so that one damaged page costs what is on it. A row that a migration made gives way to the one that was there. */
static int copy_table(sqlite3 *old, sqlite3 *new, const char *table, unsigned *lost, struct error *err)
{
    char places[PLACES_BYTES];
    int count = 0;
    AUTO_SQL *columns = columns_of(new, table, &count);
    AUTO_SQL *insert = sqlite3_mprintf("INSERT OR REPLACE INTO \"%w\" (%s) VALUES (%s)", table, columns, places_of(count, places));
    AUTO_SQL *forward = sqlite3_mprintf("SELECT %s FROM \"%w\" NOT INDEXED", columns, table);
    AUTO_SQL *back = sqlite3_mprintf("SELECT %s FROM \"%w\" NOT INDEXED ORDER BY 1 DESC", columns, table);
    if (columns == NULL || insert == NULL || forward == NULL || back == NULL) {
        return error_oom(err);
    }
    AUTO_STMT *to = prepare(new, insert);
    AUTO_STMT *from = prepare(old, forward);
    if (to == NULL) {
        return fail(new, "a row could not be taken over", err);
    }
    if (!has_object(old, "table", table, NULL) || from == NULL) {
        ++*lost;
        return 0;
    }
    if (copy_rows(from, to, count, lost)) {
        return 0;
    }
    ++*lost;
    AUTO_STMT *from_end = prepare(old, back);
    if (from_end != NULL) {
        unsigned twice = 0;
        (void)copy_rows(from_end, to, count, &twice);
    }
    return 0;
}

/* Numbers that were given out stay given out, also of rows that are lost. */
static void copy_sequences(sqlite3 *old, sqlite3 *new)
{
    AUTO_STMT *from = prepare(old, "SELECT name, seq FROM sqlite_sequence WHERE typeof(name) = 'text' AND typeof(seq) = 'integer'");
    AUTO_STMT *to = prepare(new, "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1");
    AUTO_STMT *add = prepare(new, "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2 WHERE NOT EXISTS"
                                  " (SELECT 1 FROM sqlite_sequence WHERE name = ?1)");
    while (from != NULL && to != NULL && add != NULL && sqlite3_step(from) == SQLITE_ROW) {
        const int64_t seq = sqlite3_column_int64(from, 1);
        sqlite3_stmt *const both[] = {to, add};
        for (size_t i = 0; i < ARRAY_LEN(both) && seq >= 0 && seq < sequence_max && has_object(new, "table", text(from, 0), NULL); i++) {
            (void)sqlite3_bind_text(both[i], 1, text(from, 0), -1, SQLITE_TRANSIENT);
            (void)sqlite3_bind_int64(both[i], 2, seq);
            (void)sqlite3_step(both[i]);
            (void)sqlite3_reset(both[i]);
        }
    }
}

/* In the order in which they were made: what others refer to comes first. */
static int copy_tables(sqlite3 *old, sqlite3 *new, unsigned *lost, struct error *err)
{
    AUTO_STMT *tables = prepare(new, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid");
    if (tables == NULL) {
        return fail(new, "the tables could not be listed", err);
    }
    while (sqlite3_step(tables) == SQLITE_ROW) {
        if (copy_table(old, new, text(tables, 0), lost, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int salvage_rows(sqlite3 *old, sqlite3 *new, unsigned *ret_lost, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms() + READ_BUDGET_MS;
    *ret_lost = 0;
    /* A schema that can't be read as a whole is read as far as it goes. */
    (void)sqlite3_db_config(old, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    (void)sqlite3_exec(old, "PRAGMA writable_schema=ON; PRAGMA query_only=ON", NULL, NULL, NULL);
    sqlite3_progress_handler(old, PROGRESS_STEPS, is_over, &deadline_ms);
    if (sqlite3_exec(new, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        return fail(new, "rows could not be taken over", err);
    }
    int result = copy_tables(old, new, ret_lost, err);
    if (result == 0) {
        copy_sequences(old, new);
    }
    if (sqlite3_exec(new, result == 0 ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK && result == 0) {
        result = fail(new, "rows could not be taken over", err);
        (void)sqlite3_exec(new, "ROLLBACK", NULL, NULL, NULL);
    }
    sqlite3_progress_handler(old, 0, NULL, NULL);
    return result;
}
