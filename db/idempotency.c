#include "db/idempotency.h"

#include "core/clock.h"
#include "core/limits.h"
#include "db/column.h"
#include "db/idempotency_clock.h"

#include <stdlib.h>
#include <string.h>

enum { EXPIRED_AT_ONCE = 100 }; /* removed by one write, so that none waits for a hundred thousand */

void idempotency_row_free(struct idempotency_row *row)
{
    free(row->fingerprint);
    free(row->location);
    free(row->etag);
    free(row->body);
    free(row->pending.path);
    free(row->pending.id);
    memset(row, 0, sizeof *row);
}

/* What was made then, or before, counts no more. */
static int64_t expired_at(int64_t now_ms)
{
    return now_ms - (int64_t)LIMIT_IDEMPOTENCY_S * 1000;
}

int idempotency_get(struct db *db, const char *key, struct idempotency_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    int64_t now_ms = 0;
    if (idempotency_clock_read(db, &now_ms, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt =
        statement_get(db,
                      "SELECT fingerprint, status, location, body, etag, pending_path, pending_id, pending_identity, pending_kind, pending_up"
                      " FROM idempotency WHERE key = ? AND made_ms > ?",
                      err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, key);
    (void)sqlite3_bind_int64(stmt, 2, expired_at(now_ms));
    enum statement_result result = statement_step(db, stmt, err);
    *ret_found = result == STATEMENT_ROW;
    if (result != STATEMENT_ROW) {
        return result == STATEMENT_DONE ? 0 : -1;
    }
    bool failed = false;
    ret->fingerprint = column_text(stmt, "fingerprint", &failed);
    ret->status = (int)column_int(stmt, "status");
    ret->location = column_text(stmt, "location", &failed);
    ret->body = column_text(stmt, "body", &failed);
    ret->etag = column_text(stmt, "etag", &failed);
    ret->pending = (struct idempotency_pending){.path = column_text(stmt, "pending_path", &failed),
                                                .id = column_text(stmt, "pending_id", &failed),
                                                .identity = column_int(stmt, "pending_identity"),
                                                .kind = (int)column_int(stmt, "pending_kind"),
                                                .up = column_bool(stmt, "pending_up")};
    if (failed) {
        idempotency_row_free(ret);
        return error_oom(err);
    }
    return 0;
}

static int trim(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM idempotency WHERE rowid <= (SELECT max(rowid) FROM idempotency) - ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, LIMIT_IDEMPOTENCY_KEYS);
    return statement_run(db, stmt, err);
}

static int expire(struct db *db, const char *key, int64_t then_ms, struct error *err)
{
    AUTO_STATEMENT *own = statement_get(db, "DELETE FROM idempotency WHERE key = ? AND made_ms <= ?", err);
    AUTO_STATEMENT *others =
        statement_get(db, "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency WHERE made_ms <= ? ORDER BY made_ms LIMIT ?)", err);
    if (own == NULL || others == NULL) {
        return -1;
    }
    statement_bind_text(own, 1, key);
    (void)sqlite3_bind_int64(own, 2, then_ms);
    (void)sqlite3_bind_int64(others, 1, then_ms);
    (void)sqlite3_bind_int(others, 2, EXPIRED_AT_ONCE);
    return statement_run(db, own, err) != 0 ? -1 : statement_run(db, others, err);
}

int idempotency_put(struct db *db, const char *key, const struct idempotency_row *row, struct error *err)
{
    DB_LOCKED(db);
    int64_t now_ms = 0;
    if (idempotency_clock_note(db, &now_ms, err) != 0 || expire(db, key, expired_at(now_ms), err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt =
        statement_get(db,
                      "INSERT INTO idempotency (key, fingerprint, status, location, body, created_ms, etag, pending_path, pending_id, pending_identity,"
                      " pending_kind, pending_up, made_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
                      " ON CONFLICT (key) DO UPDATE SET status = ?3, body = ?5, etag = ?7, pending_path = ?8, pending_id = ?9, pending_identity = ?10,"
                      " pending_kind = ?11, pending_up = ?12 WHERE fingerprint = ?2",
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
    statement_bind_text(stmt, 7, row->etag);
    statement_bind_text(stmt, 8, row->pending.path);
    statement_bind_text(stmt, 9, row->pending.id);
    (void)sqlite3_bind_int64(stmt, 10, row->pending.identity);
    (void)sqlite3_bind_int(stmt, 11, row->pending.kind);
    (void)sqlite3_bind_int(stmt, 12, row->pending.up);
    (void)sqlite3_bind_int64(stmt, 13, now_ms);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    return trim(db, err);
}
