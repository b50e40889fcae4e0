/* Commit-confirm, and what the worker notes of the whole. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "db/events.h"
#include "db/firewall.h"
#include "db/firewall_internal.h"
#include "db/statement.h"

#include <stdio.h>
#include <string.h>

static int run(struct db *db, sqlite3_stmt *stmt, struct error *err)
{
    return stmt == NULL ? -1 : statement_run(db, stmt, err);
}

static int confirm_policies(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(
        db, "UPDATE firewall_policies SET previous = NULL, confirm_until_ms = 0 WHERE confirm_until_ms > ?", err);
    if (stmt != NULL) {
        (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    }
    return run(db, stmt, err);
}

static int confirm_sets(struct db *db, struct error *err)
{
    AUTO_STATEMENT *stmt =
        statement_get(db, "UPDATE firewall_sets SET previous = NULL, confirm_until_ms = 0 WHERE confirm_until_ms > ?", err);
    if (stmt != NULL) {
        (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    }
    return run(db, stmt, err);
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
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE firewall_policies SET policy = previous, previous = NULL, confirm_until_ms = 0,"
                                         " generation = ?2, updated_ms = ?3 WHERE confirm_until_ms > 0 AND (confirm_until_ms <= ?1 OR confirm_until_ms > ?4)",
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
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE firewall_sets SET addresses = ifnull(previous, '[]'), previous = NULL, confirm_until_ms = 0,"
                                         " generation = ?2, updated_ms = ?3 WHERE confirm_until_ms > 0 AND (confirm_until_ms <= ?1 OR confirm_until_ms > ?4)",
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
    return run(db, policies, err);
}

static int roll_back(struct db *db, int64_t now_ms, size_t *ret_count, struct error *err)
{
    int64_t generation = 0;
    char data[64];
    if (firewall_next_generation(db, &generation, err) != 0 ||
        roll_back_policies(db, now_ms, generation, ret_count, err) != 0 ||
        roll_back_sets(db, now_ms, generation, ret_count, err) != 0 || drop_empty(db, err) != 0) {
        return -1;
    }
    (void)snprintf(data, sizeof data, "{\"changes\":%zu}", *ret_count);
    return events_add(db, "firewall.rolled_back", "firewall", "", data, err);
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
                                         "SELECT ifnull(min(confirm_until_ms), 0) FROM"
                                         " (SELECT confirm_until_ms FROM firewall_policies WHERE confirm_until_ms > 0"
                                         " UNION ALL SELECT confirm_until_ms FROM firewall_sets WHERE confirm_until_ms > 0)",
                                         err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret_ms = sqlite3_column_int64(stmt, 0);
    return 0;
}

int firewall_observed_get(struct db *db, struct firewall_observed *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT generation, observed_generation, error, since_ms FROM firewall_state", err);
    memset(ret, 0, sizeof *ret);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    ret->wanted = sqlite3_column_int64(stmt, 0);
    ret->generation = sqlite3_column_int64(stmt, 1);
    (void)snprintf(ret->error, sizeof ret->error, "%s", (const char *)sqlite3_column_text(stmt, 2));
    ret->since_ms = sqlite3_column_int64(stmt, 3);
    return 0;
}

int firewall_observed_set(struct db *db, int64_t generation, const char *error, bool *ret_changed, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE firewall_state SET since_ms = CASE WHEN error <> ?2 THEN ?3 ELSE since_ms END,"
                                         " observed_generation = ?1, error = ?2"
                                         " WHERE observed_generation <> ?1 OR error <> ?2",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, generation);
    statement_bind_text(stmt, 2, error);
    (void)sqlite3_bind_int64(stmt, 3, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    *ret_changed = db_changes(db) > 0;
    return 0;
}
