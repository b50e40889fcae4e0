#include "db/idempotency.h"

#include "core/clock.h"
#include "core/limits.h"
#include "db/statement.h"

#include <stdlib.h>
#include <string.h>

void idempotency_row_free(struct idempotency_row *row)
{
    free(row->fingerprint);
    free(row->location);
    free(row->body);
    memset(row, 0, sizeof *row);
}

int idempotency_get(struct db *db, const char *key, struct idempotency_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT fingerprint, status, location, body FROM idempotency WHERE key = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, key);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_found = result == STATEMENT_ROW;
    if (result != STATEMENT_ROW) {
        return result == STATEMENT_DONE ? 0 : -1;
    }
    bool failed = false;
    ret->fingerprint = statement_text(stmt, 0, &failed);
    ret->status = sqlite3_column_int(stmt, 1);
    ret->location = statement_text(stmt, 2, &failed);
    ret->body = statement_text(stmt, 3, &failed);
    if (failed) {
        idempotency_row_free(ret);
        return error_oom(err);
    }
    return 0;
}

static int trim(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "DELETE FROM idempotency WHERE rowid <= (SELECT max(rowid) FROM idempotency) - ?",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, LIMIT_IDEMPOTENCY_KEYS);
    return statement_run(db, stmt, err);
}

int idempotency_put(struct db *db, const char *key, const struct idempotency_row *row, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(
        db,
        "INSERT INTO idempotency (key, fingerprint, status, location, body, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        " ON CONFLICT (key) DO UPDATE SET status = ?3, body = ?5",
        err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, key);
    statement_bind_text(stmt, 2, row->fingerprint);
    (void)sqlite3_bind_int(stmt, 3, row->status);
    statement_bind_text(stmt, 4, row->location);
    statement_bind_text(stmt, 5, row->body);
    (void)sqlite3_bind_int64(stmt, 6, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    return trim(db, err);
}
