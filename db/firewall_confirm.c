/* Commit-confirm, and what the worker notes of the whole. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "db/events.h"
#include "db/firewall.h"
#include "db/firewall_internal.h"
#include "db/column.h"

#include <stdio.h>
#include <string.h>

static int run_statement(struct db *db, sqlite3_stmt *stmt, struct error *err)
{
    return stmt == NULL ? -1 : statement_run(db, stmt, err);
}

static int confirm_policies(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE firewall_policies SET previous = NULL, confirm_until_ms = 0 WHERE confirm_until_ms > ?", err);
    if (stmt != NULL) {
        (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    }
    return run_statement(db, stmt, err);
}

static int confirm_sets(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE firewall_sets SET previous = NULL, confirm_until_ms = 0 WHERE confirm_until_ms > ?", err);
    if (stmt != NULL) {
        (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    }
    return run_statement(db, stmt, err);
}

int firewall_confirm(struct db *db, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    if (confirm_policies(db, err) != 0) {
        return -1;
    }
    *ret_count = (size_t)db_changes(db);
    if (confirm_sets(db, err) != 0) {
        return -1;
    }
    *ret_count += (size_t)db_changes(db);
    return 0;
}

static int roll_back_policies(struct db *db, int64_t now_ms, int64_t generation, size_t *ret_count, struct error *err)
{
    AUTO_STATEMENT *stmt =
        statement_get(db,
                      "UPDATE firewall_policies SET policy = previous, previous = NULL, confirm_until_ms = 0,"
                      " generation = ?2, updated_ms = ?3, applied_ms = 0 WHERE confirm_until_ms > 0 AND (confirm_until_ms <= ?1 OR confirm_until_ms > ?4)",
                      err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, now_ms);
    (void)sqlite3_bind_int64(stmt, 2, generation);
    (void)sqlite3_bind_int64(stmt, 3, now_ms);
    (void)sqlite3_bind_int64(stmt, 4, now_ms + FIREWALL_CONFIRM_MAX_MS);
    int result = statement_run(db, stmt, err);
    *ret_count += (size_t)db_changes(db);
    return result;
}

/* A set that there was not before stays, empty: a policy may name it by now. */
static int roll_back_sets(struct db *db, int64_t now_ms, int64_t generation, size_t *ret_count, struct error *err)
{
    AUTO_STATEMENT *stmt =
        statement_get(db,
                      "UPDATE firewall_sets SET addresses = ifnull(previous, '[]'), previous = NULL, confirm_until_ms = 0,"
                      " generation = ?2, updated_ms = ?3, applied_ms = 0 WHERE confirm_until_ms > 0 AND (confirm_until_ms <= ?1 OR confirm_until_ms > ?4)",
                      err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, now_ms);
    (void)sqlite3_bind_int64(stmt, 2, generation);
    (void)sqlite3_bind_int64(stmt, 3, now_ms);
    (void)sqlite3_bind_int64(stmt, 4, now_ms + FIREWALL_CONFIRM_MAX_MS);
    int result = statement_run(db, stmt, err);
    *ret_count += (size_t)db_changes(db);
    return result;
}

/* Policies that there were not before the change. */
static int drop_empty(struct db *db, struct error *err)
{
    AUTO_STATEMENT *policies = statement_get(db, "DELETE FROM firewall_policies WHERE policy IS NULL AND confirm_until_ms = 0", err);
    return run_statement(db, policies, err);
}

static int roll_back(struct db *db, int64_t now_ms, size_t *ret_count, struct error *err)
{
    int64_t generation = 0;
    char data[64];
    if (firewall_next_generation(db, &generation, err) != 0 || roll_back_policies(db, now_ms, generation, ret_count, err) != 0 ||
        roll_back_sets(db, now_ms, generation, ret_count, err) != 0 || drop_empty(db, err) != 0) {
        return -1;
    }
    (void)snprintf(data, sizeof data, "{\"changes\":%zu}", *ret_count);
    return events_add(db, EVENT_FIREWALL_ROLLED_BACK, "firewall", "", data, err);
}

int firewall_each_overdue(struct db *db, int64_t now_ms, void (*found)(const char *vm, const char *set, void *ctx), void *ctx, struct error *err)
{
    DB_LOCKED(db);
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT v.id AS vm, NULL AS name FROM firewall_policies p LEFT JOIN vms v ON v.uid = p.vm_uid"
                                         " WHERE confirm_until_ms > 0 AND (confirm_until_ms <= ?1 OR confirm_until_ms > ?2)"
                                         " UNION ALL SELECT NULL, name FROM firewall_sets"
                                         " WHERE confirm_until_ms > 0 AND (confirm_until_ms <= ?1 OR confirm_until_ms > ?2)",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, now_ms);
    (void)sqlite3_bind_int64(stmt, 2, now_ms + FIREWALL_CONFIRM_MAX_MS);
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        bool failed = false;
        const char *vm = column_peek(stmt, "vm", &failed);
        const char *set = column_peek(stmt, "name", &failed);
        if (failed) {
            return error_oom(err);
        }
        found(vm, set, ctx);
    }
    return result == STATEMENT_DONE ? 0 : -1;
}

int firewall_roll_back(struct db *db, int64_t now_ms, size_t *ret_count, struct error *err)
{
    int64_t deadline_ms = 0;
    *ret_count = 0;
    if (firewall_next_deadline(db, &deadline_ms, err) != 0) {
        return -1;
    }
    /* A deadline that is too far away was set before the clock was put back: how much time is left is not known, so none is. */
    if (deadline_ms == 0 || (deadline_ms > now_ms && deadline_ms <= now_ms + FIREWALL_CONFIRM_MAX_MS)) {
        return 0;
    }
    if (db_begin(db, err) != 0) {
        return -1;
    }
    int result = roll_back(db, now_ms, ret_count, err);
    if (result != 0 || *ret_count == 0) { /* confirmed at the last moment */
        db_rollback(db);
        return result;
    }
    return db_commit(db, err);
}

int firewall_next_deadline(struct db *db, int64_t *ret_ms, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT ifnull(min(confirm_until_ms), 0) AS deadline_ms FROM"
                                         " (SELECT confirm_until_ms FROM firewall_policies WHERE confirm_until_ms > 0"
                                         " UNION ALL SELECT confirm_until_ms FROM firewall_sets WHERE confirm_until_ms > 0)",
                                         err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret_ms = column_int(stmt, "deadline_ms");
    return 0;
}

/* Without these the firewall can't be set up at all, so what can't be is as if it never was. */
static int64_t read_counter(sqlite3_stmt *stmt, const char *name)
{
    int64_t value = column_int(stmt, name);
    return value >= 0 && value < INT64_MAX / 2 ? value : 0;
}

int firewall_observed_get(struct db *db, struct firewall_observed *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT generation, observed_generation, error, since_ms, error_code, attempted_generation FROM firewall_state", err);
    memset(ret, 0, sizeof *ret);
    enum statement_result result = stmt != NULL ? statement_step(db, stmt, err) : STATEMENT_FAILED;
    if (result != STATEMENT_ROW) {
        return result == STATEMENT_DONE ? 0 : -1; /* somebody took the row away: nothing was ever wanted */
    }
    ret->wanted = read_counter(stmt, "generation");
    ret->generation = read_counter(stmt, "observed_generation");
    ret->since_ms = read_counter(stmt, "since_ms");
    ret->attempted = read_counter(stmt, "attempted_generation");
    return column_copy(stmt, "error", ret->error, sizeof ret->error, err) == 0 ? column_copy(stmt, "error_code", ret->error_code, sizeof ret->error_code, err)
                                                                               : -1;
}

/* What is in force now, and was not before. */
static int note_applied(struct db *db, const char *sql, int64_t generation, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, sql, err);
    if (stmt != NULL) {
        (void)sqlite3_bind_int64(stmt, 1, generation);
        (void)sqlite3_bind_int64(stmt, 2, clock_wall_ms());
    }
    return run_statement(db, stmt, err);
}

int firewall_observed_set(struct db *db, const struct firewall_observed *observed, bool *ret_changed, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE firewall_state SET since_ms = iif(iif(observed_generation >= generation, 2, error <> '')"
                                         " <> iif(?1 >= generation, 2, ?2 <> ''), ?3, since_ms),"
                                         " observed_generation = ?1, error = ?2, error_code = ?4, attempted_generation = ?5"
                                         " WHERE observed_generation <> ?1 OR error <> ?2 OR error_code <> ?4 OR attempted_generation <> ?5",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, observed->generation);
    statement_bind_text(stmt, 2, observed->error);
    (void)sqlite3_bind_int64(stmt, 3, clock_wall_ms());
    statement_bind_text(stmt, 4, observed->error_code);
    (void)sqlite3_bind_int64(stmt, 5, observed->attempted);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    *ret_changed = db_changes(db) > 0;
    return note_applied(db, "UPDATE firewall_policies SET applied_ms = ?2 WHERE applied_ms = 0 AND generation <= ?1", observed->generation, err) != 0 ||
                   note_applied(db, "UPDATE firewall_sets SET applied_ms = ?2 WHERE applied_ms = 0 AND generation <= ?1", observed->generation, err) != 0
               ? -1
               : 0;
}
