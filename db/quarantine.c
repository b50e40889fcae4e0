/* Rows that can't be what they should be: they stay as they are, and what is shown of them says so. */
#include "core/cleanup.h"
#include "db/events.h"
#include "db/images.h"
#include "db/column.h"
#include "db/vms.h"

/* `sql` writes ?2 where it is not there yet, of the row ?1. */
static int quarantine(struct db *db, const char *sql, const char *kind, enum event_type event, const char *id, const char *observed, bool *ret_changed,
                      struct error *err)
{
    if (db_begin(db, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db, sql, err);
    int result = stmt != NULL ? 0 : -1;
    if (result == 0) {
        statement_bind_text(stmt, 1, id);
        statement_bind_text(stmt, 2, observed);
        result = statement_run(db, stmt, err);
        *ret_changed = result == 0 && db_changes(db) > 0;
    }
    if (result == 0 && *ret_changed) {
        result = events_add(db, event, kind, id, "{}", err);
    }
    if (result != 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}

int vms_quarantine(struct db *db, const char *id, const char *observed, bool *ret_changed, struct error *err)
{
    return quarantine(db, "UPDATE vms SET observed = ?2, revision = revision + 1 WHERE id = ?1 AND observed IS NOT ?2", "vm", EVENT_VM_QUARANTINED, id,
                      observed, ret_changed, err);
}

int images_quarantine(struct db *db, const char *id, const char *observed, bool *ret_changed, struct error *err)
{
    return quarantine(db, "UPDATE images SET observed = ?2, revision = revision + 1 WHERE id = ?1 AND observed IS NOT ?2", "image", EVENT_IMAGE_QUARANTINED, id,
                      observed, ret_changed, err);
}

int vms_wish(struct db *db, const char *id, int64_t *ret_uid, bool *ret_deleting, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT uid, deleting FROM vms WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, id);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_uid = result == STATEMENT_ROW ? column_int(stmt, "uid") : 0;
    *ret_deleting = result == STATEMENT_ROW && column_bool(stmt, "deleting");
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}
