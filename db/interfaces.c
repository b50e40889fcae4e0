#include "db/interfaces.h"

#include "core/cleanup.h"
#include "db/statement.h"

#include <string.h>

int interfaces_mac_taken(struct db *db, struct mac mac, bool *ret, struct error *err)
{
    DB_LOCKED(db);
    char text[MAC_TEXT_MAX];
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT 1 FROM interfaces WHERE mac = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, mac_format(mac, text));
    return statement_gives_row(db, stmt, ret, err);
}

int interfaces_vm_changes(struct db *db, uint32_t address, bool *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT 1 FROM interfaces i JOIN vms v ON v.uid = i.vm_uid"
                                         " WHERE i.address = ? AND i.position = 0 AND v.generation <> v.observed_generation",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, address);
    return statement_gives_row(db, stmt, ret, err);
}

int interfaces_vm_of_tap(struct db *db, const char *tap, char **ret, struct error *err)
{
    DB_LOCKED(db);
    bool failed = false;
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT v.id FROM interfaces i JOIN vms v ON v.uid = i.vm_uid WHERE i.tap = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, tap);
    enum statement_result result = statement_step(db, stmt, err);
    *ret = result == STATEMENT_ROW ? statement_text(stmt, 0, &failed) : NULL;
    if (failed) {
        return error_oom(err);
    }
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

static int read_row(sqlite3_stmt *stmt, struct interface_row *ret, struct error *err)
{
    const char *vm = (const char *)sqlite3_column_text(stmt, 1);
    const char *tap = (const char *)sqlite3_column_text(stmt, 2);
    const char *mac = (const char *)sqlite3_column_text(stmt, 3);
    if (vm == NULL || strlen(vm) >= sizeof ret->vm || tap == NULL || strlen(tap) >= sizeof ret->tap || mac == NULL ||
        !mac_parse(mac, &ret->mac)) {
        return error_set(err, ERR_DATABASE, "an interface is stored that can't be one");
    }
    ret->vm_uid = sqlite3_column_int64(stmt, 0);
    memcpy(ret->vm, vm, strlen(vm) + 1);
    memcpy(ret->tap, tap, strlen(tap) + 1);
    ret->address = (uint32_t)sqlite3_column_int64(stmt, 4);
    return 0;
}

int interfaces_list(struct db *db, struct interface_row **ret, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_FREE struct interface_row *rows = NULL;
    size_t count = 0;
    size_t size = 0;
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt = statement_get(
        db,
        "SELECT i.vm_uid, v.id, i.tap, i.mac, i.address FROM interfaces i JOIN vms v ON v.uid = i.vm_uid ORDER BY i.tap",
        err);
    if (stmt == NULL) {
        return -1;
    }
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        if (count == size) {
            size = size == 0 ? 64 : size * 2;
            struct interface_row *grown = reallocarray(rows, size, sizeof *grown);
            if (grown == NULL) {
                return error_oom(err);
            }
            rows = grown;
        }
        if (read_row(stmt, &rows[count], err) != 0) {
            return -1;
        }
        count++;
    }
    if (result != STATEMENT_DONE) {
        return -1;
    }
    *ret = TAKE_PTR(rows);
    *ret_count = count;
    return 0;
}
