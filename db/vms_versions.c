/* Which version of a VM stands in its row, without reading what is large in it. */
#include "core/cleanup.h"
#include "db/column.h"
#include "db/vms.h"

#define VERSION_COLUMNS "id, uid, revision, updated_ms, state, deleting"

static int read_version(sqlite3_stmt *stmt, struct vm_version *ret, struct error *err)
{
    bool failed = false;
    const char *state = column_peek(stmt, "state", &failed);
    ret->uid = column_int(stmt, "uid");
    ret->revision = column_int(stmt, "revision");
    ret->updated_ms = column_int(stmt, "updated_ms");
    ret->deleting = column_bool(stmt, "deleting");
    ret->state = VM_STATE_COUNT_; /* what can't be is damage, which core/vm_row.h finds */
    (void)(state != NULL && vm_state_parse(state, &ret->state));
    return failed ? error_oom(err) : column_copy(stmt, "id", ret->id, sizeof ret->id, err);
}

int vms_version(struct db *db, const char *id, struct vm_version *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT " VERSION_COLUMNS " FROM vms WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, id);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_found = result == STATEMENT_ROW;
    return result == STATEMENT_DONE ? 0 : result == STATEMENT_ROW ? read_version(stmt, ret, err) : -1;
}

int vms_versions(struct db *db, const char *after, const enum vm_state *state, struct vm_version *ret, size_t room, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT " VERSION_COLUMNS " FROM vms WHERE id > ?1 AND (?2 IS NULL OR state = ?2) ORDER BY id LIMIT ?3", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, after);
    statement_bind_text(stmt, 2, state != NULL ? vm_state_name(*state) : NULL);
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)room);
    *ret_count = 0;
    for (;;) {
        enum statement_result result = *ret_count < room ? statement_step(db, stmt, err) : STATEMENT_DONE;
        if (result != STATEMENT_ROW) {
            return result == STATEMENT_DONE ? 0 : -1;
        }
        if (read_version(stmt, &ret[*ret_count], err) != 0) {
            return -1;
        }
        (*ret_count)++;
    }
}
