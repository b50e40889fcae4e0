#include "db/interfaces.h"

#include "core/array.h"
#include "core/cleanup.h"
#include "db/column.h"

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
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT v.id FROM interfaces i JOIN vms v ON v.uid = i.vm_uid WHERE i.tap = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, tap);
    enum statement_result result = statement_step(db, stmt, err);
    *ret = result == STATEMENT_ROW ? column_text(stmt, "id", &failed) : NULL;
    if (failed) {
        return error_oom(err);
    }
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

static int read_row(sqlite3_stmt *stmt, struct interface_row *ret, struct error *err)
{
    char mac[MAC_TEXT_MAX];
    if (column_copy(stmt, "id", ret->vm, sizeof ret->vm, err) != 0 || column_copy(stmt, "tap", ret->tap, sizeof ret->tap, err) != 0 ||
        column_copy(stmt, "mac", mac, sizeof mac, err) != 0) {
        return -1;
    }
    if (!mac_parse(mac, &ret->mac)) {
        ret->tap[0] = '\0'; /* core/network_rows.h finds it damaged */
    }
    ret->vm_uid = column_int(stmt, "vm_uid");
    ret->address = (uint32_t)column_int(stmt, "address");
    return 0;
}

int interfaces_list(struct db *db, struct interface_row **ret, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_FREE struct interface_row *rows = NULL;
    size_t count = 0;
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT i.vm_uid, v.id, i.tap, i.mac, i.address FROM interfaces i JOIN vms v ON v.uid = i.vm_uid ORDER BY i.tap", err);
    if (stmt == NULL) {
        return -1;
    }
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        struct interface_row *grown = array_grow(rows, count, sizeof *grown);
        if (grown == NULL) {
            return error_oom(err);
        }
        rows = grown;
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
