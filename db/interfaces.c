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
