#include "db/firewall.h"

#include "core/array.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "db/firewall_internal.h"
#include "db/column.h"

#include <stdio.h>
#include <string.h>

static int read_row(sqlite3_stmt *stmt, bool is_set, struct firewall_row *ret, struct error *err)
{
    bool failed = false;
    memset(ret, 0, sizeof *ret);
    if (is_set) {
        ret->name = column_text(stmt, "name", &failed);
    } else {
        ret->vm_uid = column_int(stmt, "id");
    }
    ret->text = column_text(stmt, is_set ? "addresses" : "policy", &failed);
    ret->generation = column_int(stmt, "generation");
    ret->confirm_until_ms = column_int(stmt, "confirm_until_ms");
    ret->updated_ms = column_int(stmt, "updated_ms");
    ret->applied_ms = column_int(stmt, "applied_ms");
    if (failed) {
        firewall_row_free(ret);
        return error_oom(err);
    }
    return 0;
}

static int get_one(struct db *db, sqlite3_stmt *stmt, bool is_set, struct firewall_row *ret, bool *ret_found, struct error *err)
{
    enum statement_result result = statement_step(db, stmt, err);
    *ret_found = result == STATEMENT_ROW;
    if (result == STATEMENT_DONE) {
        return 0;
    }
    return result == STATEMENT_ROW ? read_row(stmt, is_set, ret, err) : -1;
}

int firewall_policy_get(struct db *db, int64_t vm_uid, struct firewall_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT id, policy, generation, confirm_until_ms, updated_ms, applied_ms FROM firewall_policies WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    return get_one(db, stmt, false, ret, ret_found, err);
}

int firewall_set_get(struct db *db, const char *name, struct firewall_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT name, addresses, generation, confirm_until_ms, updated_ms, applied_ms FROM firewall_sets WHERE name = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, name);
    return get_one(db, stmt, true, ret, ret_found, err);
}

int firewall_next_generation(struct db *db, int64_t *ret, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE firewall_state SET generation = generation + 1,"
                                         " since_ms = iif(observed_generation >= generation, ?, since_ms) RETURNING generation",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    enum statement_result result = statement_step(db, stmt, err);
    if (result != STATEMENT_ROW) {
        return result == STATEMENT_DONE ? error_set(err, ERR_DATABASE, "the firewall has no state") : -1;
    }
    *ret = column_int(stmt, "generation");
    return 0;
}

static int put(struct db *db, sqlite3_stmt *stmt, const char *text, int64_t generation, int64_t confirm_until_ms, struct error *err)
{
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 2, text);
    (void)sqlite3_bind_int64(stmt, 3, generation);
    (void)sqlite3_bind_int64(stmt, 4, confirm_until_ms);
    (void)sqlite3_bind_int64(stmt, 5, clock_wall_ms());
    return statement_run(db, stmt, err);
}

/* `previous` is what was there before the first change that still waits; with no deadline nothing waits any more. */
int firewall_policy_put(struct db *db, int64_t vm_uid, const char *text, int64_t confirm_until_ms, int64_t *ret_generation, struct error *err)
{
    DB_LOCKED(db);
    if (firewall_next_generation(db, ret_generation, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO firewall_policies (id, vm_uid, policy, generation, confirm_until_ms, updated_ms)"
                                         " VALUES (?1, nullif(?1, 0), ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET"
                                         " previous = CASE WHEN ?4 = 0 THEN NULL WHEN confirm_until_ms > 0 THEN previous ELSE policy END,"
                                         " policy = ?2, generation = ?3, confirm_until_ms = ?4, updated_ms = ?5, applied_ms = 0",
                                         err);
    if (stmt != NULL) {
        (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    }
    return put(db, stmt, text, *ret_generation, confirm_until_ms, err);
}

int firewall_set_put(struct db *db, const char *name, const char *text, int64_t confirm_until_ms, int64_t *ret_generation, struct error *err)
{
    DB_LOCKED(db);
    if (firewall_next_generation(db, ret_generation, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO firewall_sets (name, addresses, generation, confirm_until_ms, updated_ms)"
                                         " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET"
                                         " previous = CASE WHEN ?4 = 0 THEN NULL WHEN confirm_until_ms > 0 THEN previous ELSE addresses END,"
                                         " addresses = ?2, generation = ?3, confirm_until_ms = ?4, updated_ms = ?5, applied_ms = 0",
                                         err);
    if (stmt != NULL) {
        statement_bind_text(stmt, 1, name);
    }
    return put(db, stmt, text, *ret_generation, confirm_until_ms, err);
}

int firewall_policy_remove(struct db *db, int64_t vm_uid, int64_t *ret_generation, struct error *err)
{
    DB_LOCKED(db);
    if (firewall_next_generation(db, ret_generation, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM firewall_policies WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    return statement_run(db, stmt, err);
}

int firewall_set_remove(struct db *db, const char *name, int64_t *ret_generation, struct error *err)
{
    DB_LOCKED(db);
    if (firewall_next_generation(db, ret_generation, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM firewall_sets WHERE name = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, name);
    return statement_run(db, stmt, err);
}

static int load(struct db *db, sqlite3_stmt *stmt, bool is_set, struct firewall_row **ret, size_t *ret_count, struct error *err)
{
    enum statement_result result = STATEMENT_FAILED;
    while (stmt != NULL && (result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        struct firewall_row *grown = array_grow(*ret, *ret_count, sizeof *grown);
        if (grown == NULL) {
            return error_oom(err);
        }
        *ret = grown;
        if (read_row(stmt, is_set, &(*ret)[*ret_count], err) != 0) {
            return -1;
        }
        (*ret_count)++;
    }
    return result == STATEMENT_DONE ? 0 : -1;
}

static int load_policies(struct db *db, struct firewall_rows *ret, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(
        db, "SELECT id, policy, generation, confirm_until_ms, updated_ms, applied_ms FROM firewall_policies WHERE policy IS NOT NULL ORDER BY id", err);
    return load(db, stmt, false, &ret->policies, &ret->policy_count, err);
}

static int load_sets(struct db *db, struct firewall_rows *ret, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(
        db, "SELECT name, addresses, generation, confirm_until_ms, updated_ms, applied_ms FROM firewall_sets WHERE addresses IS NOT NULL ORDER BY name", err);
    return load(db, stmt, true, &ret->sets, &ret->set_count, err);
}

int firewall_load(struct db *db, struct firewall_rows *ret, struct error *err)
{
    struct firewall_observed observed;
    memset(ret, 0, sizeof *ret);
    if (db_read_begin(db, err) != 0) {
        return -1;
    }
    AUTO_DB_READ *read = db;
    if (firewall_observed_get(db, &observed, err) != 0) {
        return -1;
    }
    ret->generation = observed.wanted;
    if (load_policies(db, ret, err) != 0 || load_sets(db, ret, err) != 0) {
        firewall_rows_free(ret);
        return -1;
    }
    return 0;
}

int firewall_sets_count(struct db *db, int64_t *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT count(*) AS count FROM firewall_sets WHERE addresses IS NOT NULL", err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = column_int(stmt, "count");
    return 0;
}

int firewall_set_is_used(struct db *db, const char *name, bool *ret, struct error *err)
{
    DB_LOCKED(db);
    char word[64];
    (void)snprintf(word, sizeof word, "\"@%.40s\"", name);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT count(*) AS uses FROM firewall_policies WHERE instr(policy, ?1) > 0 OR instr(ifnull(previous, ''), ?1) > 0", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, word);
    if (statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = column_int(stmt, "uses") > 0;
    return 0;
}
