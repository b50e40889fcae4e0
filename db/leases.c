#include "db/leases.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "db/column.h"

#include <stdio.h>

static int pick_unused(struct db *db, uint32_t first, uint32_t last, bool *ret_found, uint32_t *ret, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT max(address) AS highest FROM leases WHERE address BETWEEN ? AND ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, first);
    (void)sqlite3_bind_int64(stmt, 2, last);
    if (statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    int64_t next = column_is_null(stmt, "highest") ? first : column_int(stmt, "highest") + 1;
    *ret_found = next <= last;
    *ret = (uint32_t)next;
    return 0;
}

int leases_pick(struct db *db, uint32_t first, uint32_t last, int64_t quarantine_ms, uint32_t *ret, struct error *err)
{
    DB_LOCKED(db);
    bool found = false;
    if (first > last) {
        return error_set(err, ERR_IP_EXHAUSTED, "the subnet has no address for guests");
    }
    if (pick_unused(db, first, last, &found, ret, err) != 0) {
        return -1;
    }
    if (found) {
        return 0;
    }
    /* A freeing time in the future means that the clock was set back: such an address is not held for that. */
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT address FROM leases WHERE vm_uid IS NULL AND address BETWEEN ?1 AND ?2"
                                         " AND (freed_ms <= ?3 - ?4 OR freed_ms > ?3) ORDER BY freed_ms LIMIT 1",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, first);
    (void)sqlite3_bind_int64(stmt, 2, last);
    (void)sqlite3_bind_int64(stmt, 3, clock_wall_ms());
    (void)sqlite3_bind_int64(stmt, 4, quarantine_ms);
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_DONE) {
        return error_set(err, ERR_IP_EXHAUSTED, "all %u addresses of the subnet are in use or in quarantine", last - first + 1);
    }
    if (result != STATEMENT_ROW) {
        return -1;
    }
    *ret = (uint32_t)column_int(stmt, "address");
    return 0;
}

int leases_take(struct db *db, uint32_t address, int64_t vm_uid, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO leases (address, vm_uid) VALUES (?1, ?2)"
                                         " ON CONFLICT (address) DO UPDATE SET vm_uid = ?2 WHERE vm_uid IS NULL",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, address);
    (void)sqlite3_bind_int64(stmt, 2, vm_uid);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    if (db_changes(db) != 1) {
        return error_set(err, ERR_INTERNAL, "an address was handed out twice");
    }
    return 0;
}

int leases_free(struct db *db, int64_t vm_uid, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE leases SET vm_uid = NULL, freed_ms = ?2 WHERE vm_uid = ?1", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    (void)sqlite3_bind_int64(stmt, 2, clock_wall_ms());
    return statement_run(db, stmt, err);
}

int leases_free_one(struct db *db, int64_t vm_uid, uint32_t address, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE leases SET vm_uid = NULL, freed_ms = ?3 WHERE vm_uid = ?1 AND address = ?2", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    (void)sqlite3_bind_int64(stmt, 2, address);
    (void)sqlite3_bind_int64(stmt, 3, clock_wall_ms());
    return statement_run(db, stmt, err);
}

int leases_count(struct db *db, int64_t quarantine_ms, int64_t *ret_used, int64_t *ret_quarantined, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT count(vm_uid) AS used, count(*) FILTER (WHERE vm_uid IS NULL AND"
                                         " freed_ms > ?1 - ?2 AND freed_ms <= ?1) AS quarantined FROM leases",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    (void)sqlite3_bind_int64(stmt, 2, quarantine_ms);
    if (statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret_used = column_int(stmt, "used");
    *ret_quarantined = column_int(stmt, "quarantined");
    return 0;
}

/* "" for a lease that nobody has. */
static int copy_column(sqlite3_stmt *stmt, const char *column, char *buf, size_t size, struct error *err)
{
    buf[0] = '\0';
    return column_is_null(stmt, column) ? 0 : column_copy(stmt, column, buf, size, err);
}

static int read_lease(sqlite3_stmt *stmt, struct lease_row *row, struct error *err)
{
    row->address = (uint32_t)column_int(stmt, "address");
    row->leased = column_bool(stmt, "leased");
    row->freed_ms = column_int(stmt, "freed_ms");
    return copy_column(stmt, "id", row->vm, sizeof row->vm, err) != 0 || copy_column(stmt, "iface_id", row->iface_id, sizeof row->iface_id, err) != 0 ||
                   copy_column(stmt, "mac", row->mac, sizeof row->mac, err) != 0
               ? -1
               : 0;
}

int leases_list(struct db *db, uint32_t after, int64_t quarantine_ms, size_t limit, struct lease_row **ret, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT l.address, l.vm_uid IS NOT NULL AS leased, l.freed_ms, v.id, i.iface_id, i.mac FROM leases l"
                                         " LEFT JOIN interfaces i ON i.address = l.address LEFT JOIN vms v ON v.uid = i.vm_uid"
                                         " WHERE l.address > ?1 AND (l.vm_uid IS NOT NULL OR (l.freed_ms > ?2 - ?3 AND l.freed_ms <= ?2))"
                                         " ORDER BY l.address LIMIT ?4",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    AUTO_FREE struct lease_row *rows = calloc(limit > 0 ? limit : 1, sizeof *rows);
    if (rows == NULL) {
        return error_oom(err);
    }
    (void)sqlite3_bind_int64(stmt, 1, after);
    (void)sqlite3_bind_int64(stmt, 2, clock_wall_ms());
    (void)sqlite3_bind_int64(stmt, 3, quarantine_ms);
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)limit);
    size_t count = 0;
    enum statement_result result = STATEMENT_DONE;
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        if (read_lease(stmt, &rows[count++], err) != 0) {
            return -1; // NOLINT(clang-analyzer-unix.Malloc): freed by its cleanup
        }
    }
    if (result != STATEMENT_DONE) {
        return -1; // NOLINT(clang-analyzer-unix.Malloc): freed by its cleanup
    }
    *ret = TAKE_PTR(rows);
    *ret_count = count;
    return 0;
}
