#include "db/tasks.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "db/column.h"

#include <stdlib.h>
#include <string.h>

static int prune(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM tasks WHERE id <= (SELECT max(id) FROM tasks) - ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, LIMIT_TASKS);
    return statement_run(db, stmt, err);
}

int tasks_insert(struct db *db, enum task_kind kind, const char *subject, int64_t *ret_id, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "INSERT INTO tasks (kind, subject, created_ms, request) VALUES (?1, ?2, ?3, ?4)", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, task_kind_name(kind));
    statement_bind_text(stmt, 2, subject);
    (void)sqlite3_bind_int64(stmt, 3, clock_wall_ms());
    statement_bind_request(db, stmt, 4);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    *ret_id = db_last_rowid(db);
    return prune(db, err);
}

int tasks_get(struct db *db, int64_t id, struct task_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    bool failed = false;
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT id, kind, subject, created_ms, ended_ms, outcome FROM tasks WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, id);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_found = result == STATEMENT_ROW;
    if (result == STATEMENT_ROW) {
        ret->id = column_int(stmt, "id");
        const char *kind = column_peek(stmt, "kind", &failed);
        ret->kind = TASK_KIND_COUNT_; /* what can't be is damage, which core/task_row.h finds */
        (void)(kind != NULL && task_kind_parse(kind, &ret->kind));
        ret->subject = column_text(stmt, "subject", &failed);
        ret->created_ms = column_int(stmt, "created_ms");
        ret->ended_ms = column_int(stmt, "ended_ms");
        ret->outcome = column_text(stmt, "outcome", &failed);
    }
    if (failed) {
        return error_oom(err);
    }
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

int tasks_report(struct db *db, int64_t id, const char *outcome, bool ended, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE tasks SET outcome = ?, ended_ms = ? WHERE id = ? AND ended_ms = 0", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, outcome);
    (void)sqlite3_bind_int64(stmt, 2, ended ? clock_wall_ms() : 0);
    (void)sqlite3_bind_int64(stmt, 3, id);
    return statement_run(db, stmt, err);
}

int tasks_each_pending(struct db *db, void (*found)(int64_t id, void *ctx), void *ctx, struct error *err)
{
    DB_LOCKED(db);
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT id FROM tasks WHERE ended_ms = 0 ORDER BY id", err);
    if (stmt == NULL) {
        return -1;
    }
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        found(column_int(stmt, "id"), ctx);
    }
    return result == STATEMENT_DONE ? 0 : -1;
}
