#include "db/facts.h"

#include "db/column.h"

int facts_get(struct db *db, const char *name, char **ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT value FROM facts WHERE name = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, name);
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_DONE) {
        *ret = NULL;
        return 0;
    }
    if (result != STATEMENT_ROW) {
        return -1;
    }
    bool failed = false;
    char *value = column_text(stmt, "value", &failed);
    if (failed) {
        return error_oom(err);
    }
    *ret = value;
    return 0;
}

int facts_set(struct db *db, const char *name, const char *value, bool *ret_changed, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO facts (name, value) VALUES (?1, ?2)"
                                         " ON CONFLICT (name) DO UPDATE SET value = ?2 WHERE value <> ?2",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, name);
    statement_bind_text(stmt, 2, value);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    if (ret_changed != NULL) {
        *ret_changed = db_changes(db) > 0;
    }
    return 0;
}
