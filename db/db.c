#include "db/db.h"

#include "core/cleanup.h"
#include "core/fault.h"
#include "core/log.h"
#include "db/constraint.h"
#include "db/fault_vfs.h"
#include "db/migrate.h"
#include "db/statement.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { STATEMENTS_MAX = 128, BUSY_TIMEOUT_MS = 10000 };

struct db {
    sqlite3 *sqlite;
    pthread_mutex_t lock;
    struct {
        const char *sql;
        sqlite3_stmt *stmt;
    } cache[STATEMENTS_MAX];
    size_t cached;
    char request[REQUEST_TEXT_MAX];
    bool is_damaged;
    unsigned read_depth; /* of db_read_begin() */
    bool read_is_outer;  /* its transaction is its own */
};

void db_set_request(struct db *db, const char *request)
{
    (void)snprintf(db->request, sizeof db->request, "%s", request);
}

void statement_bind_request(struct db *db, sqlite3_stmt *stmt, int slot)
{
    statement_bind_text(stmt, slot, db->request);
}

void db_lock(struct db *db)
{
    (void)pthread_mutex_lock(&db->lock);
}

void db_unlock(struct db *db)
{
    (void)pthread_mutex_unlock(&db->lock);
}

static int db_fail(struct db *db, struct error *err, const char *what)
{
    return error_set(err, ERR_DATABASE, "%s: %s", what, sqlite3_errmsg(db->sqlite));
}

static int configure(struct db *db, enum db_role role, struct error *err)
{
    const char *pragmas = "PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"
                          "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-1024;"
                          "PRAGMA journal_size_limit=4194304;";
    const char *synchronous = role == DB_API ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;";
    (void)sqlite3_busy_timeout(db->sqlite, BUSY_TIMEOUT_MS);
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (sqlite3_exec(db->sqlite, pragmas, NULL, NULL, NULL) != SQLITE_OK || sqlite3_exec(db->sqlite, synchronous, NULL, NULL, NULL) != SQLITE_OK) {
        return db_fail(db, err, "the database could not be configured");
    }
    return 0;
}

int db_open(const char *path, enum db_role role, struct db **ret, struct error *err)
{
    struct db *db = calloc(1, sizeof *db);
    if (db == NULL) {
        return error_oom(err);
    }
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr);
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&db->lock, &attr);
    (void)pthread_mutexattr_destroy(&attr);

    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW;
    fault_vfs_install();
    int rc = sqlite3_open_v2(path, &db->sqlite, flags, NULL);
    int result = 0;
    if (rc != SQLITE_OK) {
        result = error_set(err, ERR_DATABASE, "%s: %s", path, sqlite3_errstr(rc));
    } else {
        result = configure(db, role, err);
    }
    if (result == 0) {
        result = migrate_check(db->sqlite, err);
    }
    if (result != 0) {
        db_close(db);
        return -1;
    }
    *ret = db;
    return 0;
}

void db_close(struct db *db)
{
    if (db == NULL) {
        return;
    }
    for (size_t i = 0; i < db->cached; i++) {
        (void)sqlite3_finalize(db->cache[i].stmt);
    }
    (void)sqlite3_close(db->sqlite);
    (void)pthread_mutex_destroy(&db->lock);
    free(db);
}

/* A function of its own: the statement is reset while the lock is still held. */
static int run_simple(struct db *db, const char *sql, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, sql, err);
    return stmt == NULL ? -1 : statement_run(db, stmt, err);
}

int db_begin(struct db *db, struct error *err)
{
    db_lock(db);
    if (!sqlite3_get_autocommit(db->sqlite)) {
        db_unlock(db);
        return error_set(err, ERR_INTERNAL, "a transaction was begun inside another");
    }
    if (run_simple(db, "BEGIN IMMEDIATE", err) != 0) {
        db_unlock(db);
        return -1;
    }
    return 0;
}

int db_commit(struct db *db, struct error *err)
{
    if (fault_before("db", "commit", err) != 0 || run_simple(db, "COMMIT", err) != 0) {
        db_rollback(db);
        return -1;
    }
    db_unlock(db);
    fault_after("db", "commit");
    return 0;
}

void db_rollback(struct db *db)
{
    (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    db_unlock(db);
}

int db_read_begin(struct db *db, struct error *err)
{
    db_lock(db);
    bool is_outer = sqlite3_get_autocommit(db->sqlite) != 0;
    if (is_outer && run_simple(db, "BEGIN", err) != 0) {
        db_unlock(db);
        return -1;
    }
    if (db->read_depth++ == 0) {
        db->read_is_outer = is_outer;
    }
    return 0;
}

void db_read_end(struct db *db)
{
    if (--db->read_depth == 0 && db->read_is_outer) {
        (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
    }
    db_unlock(db);
}

int db_check(struct db *db, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT count(*) FROM facts", err);
    if (stmt == NULL) {
        return -1;
    }
    return statement_step(db, stmt, err) == STATEMENT_ROW ? 0 : -1;
}

sqlite3_stmt *statement_get(struct db *db, const char *sql, struct error *err)
{
    for (size_t i = 0; i < db->cached; i++) {
        if (db->cache[i].sql == sql) {
            return db->cache[i].stmt;
        }
    }
    sqlite3_stmt *stmt = NULL;
    if (db->cached == STATEMENTS_MAX) {
        (void)error_set(err, ERR_INTERNAL, "more than %d statements", STATEMENTS_MAX);
        return NULL;
    }
    int rc = sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if ((rc & 0xff) == SQLITE_NOMEM) {
        (void)error_oom(err);
        return NULL;
    }
    if (rc != SQLITE_OK) {
        (void)db_fail(db, err, "a statement could not be prepared");
        return NULL;
    }
    db->cache[db->cached].sql = sql;
    db->cache[db->cached++].stmt = stmt;
    return stmt;
}

bool db_is_damaged(struct db *db)
{
    DB_LOCKED(db);
    return db->is_damaged;
}

enum statement_result statement_step(struct db *db, sqlite3_stmt *stmt, struct error *err)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        return STATEMENT_ROW;
    }
    if (rc == SQLITE_DONE) {
        return STATEMENT_DONE;
    }
    if ((rc & 0xff) == SQLITE_CONSTRAINT) {
        log_event(LOG_DEBUG, "db.constraint", "message", sqlite3_errmsg(db->sqlite), "sql", sqlite3_sql(stmt), NULL);
        (void)constraint_refuse(rc, sqlite3_errmsg(db->sqlite), err);
        return STATEMENT_CONSTRAINT;
    }
    if ((rc & 0xff) == SQLITE_NOMEM) {
        (void)error_oom(err);
        return STATEMENT_FAILED;
    }
    db->is_damaged = db->is_damaged || (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
    (void)error_set(err, ERR_DATABASE, "the database refused an operation: %s (code %d, errno %d)", sqlite3_errmsg(db->sqlite), rc,
                    sqlite3_system_errno(db->sqlite));
    return STATEMENT_FAILED;
}

int statement_run(struct db *db, sqlite3_stmt *stmt, struct error *err)
{
    return statement_step(db, stmt, err) == STATEMENT_DONE ? 0 : -1;
}

int statement_gives_row(struct db *db, sqlite3_stmt *stmt, bool *ret, struct error *err)
{
    enum statement_result result = statement_step(db, stmt, err);
    *ret = result == STATEMENT_ROW;
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

const char *statement_peek(sqlite3_stmt *stmt, int column, bool *failed)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL) {
        return NULL;
    }
    const unsigned char *text = sqlite3_column_text(stmt, column);
    *failed = *failed || text == NULL;
    return (const char *)text;
}

char *statement_text(sqlite3_stmt *stmt, int column, bool *failed)
{
    const char *text = statement_peek(stmt, column, failed);
    char *copy = text != NULL ? strdup(text) : NULL;
    *failed = *failed || (text != NULL && copy == NULL);
    return copy;
}

int statement_copy(sqlite3_stmt *stmt, int column, char *buf, size_t size, struct error *err)
{
    bool failed = false;
    const char *text = statement_peek(stmt, column, &failed);
    if (failed) {
        return error_oom(err);
    }
    const size_t len = text != NULL ? strlen(text) : 0;
    const bool fits = text != NULL && len < size;
    if (fits) {
        memcpy(buf, text, len);
    }
    buf[fits ? len : 0] = '\0';
    return 0;
}

void statement_bind_text(sqlite3_stmt *stmt, int slot, const char *text)
{
    (void)sqlite3_bind_text(stmt, slot, text, -1, SQLITE_STATIC);
}

int db_changes(struct db *db)
{
    return sqlite3_changes(db->sqlite);
}

int64_t db_last_rowid(struct db *db)
{
    return sqlite3_last_insert_rowid(db->sqlite);
}
