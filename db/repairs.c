#include "db/repairs.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "db/statement.h"

#include <stdlib.h>
#include <string.h>

void repair_row_free(struct repair_row *row)
{
    free(row->outcome);
    memset(row, 0, sizeof *row);
}

static int prune(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt =
        statement_get(db, "DELETE FROM repairs WHERE id <= (SELECT max(id) FROM repairs) - ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, LIMIT_REPAIRS);
    return statement_run(db, stmt, err);
}

int repairs_insert(struct db *db, int64_t *ret_id, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "INSERT INTO repairs (requested_ms) VALUES (?)", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    *ret_id = db_last_rowid(db);
    return prune(db, err);
}

int repairs_get(struct db *db, int64_t id, struct repair_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    bool failed = false;
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT id, requested_ms, done_ms, outcome FROM repairs WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, id);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_found = result == STATEMENT_ROW;
    if (result == STATEMENT_ROW) {
        ret->id = sqlite3_column_int64(stmt, 0);
        ret->requested_ms = sqlite3_column_int64(stmt, 1);
        ret->done_ms = sqlite3_column_int64(stmt, 2);
        ret->outcome = statement_text(stmt, 3, &failed);
    }
    if (failed) {
        return error_oom(err);
    }
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

int repairs_set(struct db *db, int64_t id, const char *outcome, bool done, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE repairs SET outcome = ?, done_ms = ? WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, outcome);
    (void)sqlite3_bind_int64(stmt, 2, done ? clock_wall_ms() : 0);
    (void)sqlite3_bind_int64(stmt, 3, id);
    return statement_run(db, stmt, err);
}

int repairs_each_pending(struct db *db, void (*found)(int64_t id, void *ctx), void *ctx, struct error *err)
{
    DB_LOCKED(db);
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT id FROM repairs WHERE done_ms = 0 ORDER BY id", err);
    if (stmt == NULL) {
        return -1;
    }
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        found(sqlite3_column_int64(stmt, 0), ctx);
    }
    return result == STATEMENT_DONE ? 0 : -1;
}
