#include "db/interfaces.h"

#include "db/statement.h"

int interfaces_mac_taken(struct db *db, struct mac mac, bool *ret, struct error *err)
{
    DB_LOCKED(db);
    char text[MAC_TEXT_MAX];
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT 1 FROM interfaces WHERE mac = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, mac_format(mac, text));
    enum statement_result result = statement_step(db, stmt, err);
    *ret = result == STATEMENT_ROW;
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
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
