#include "db/wireguard.h"

#include "core/clock.h"
#include "db/column.h"

#include <stdlib.h>
#include <string.h>

static int read_row(sqlite3_stmt *stmt, struct wireguard_row *ret, struct error *err)
{
    bool failed = false;
    ret->generation = column_int(stmt, "generation");
    ret->wanted = column_bool(stmt, "wanted");
    ret->document = column_text(stmt, "document", &failed);
    ret->public_key = column_text(stmt, "public_key", &failed);
    ret->warnings = (unsigned)column_int(stmt, "warnings");
    ret->updated_ms = column_int(stmt, "updated_ms");
    ret->sealed = column_blob(stmt, "sealed", &ret->sealed_bytes, &failed);
    if (failed) {
        wireguard_row_free(ret);
        return error_oom(err);
    }
    return 0;
}

int wireguard_row_get(struct db *db, struct wireguard_row *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT generation, wanted, document, public_key, warnings, sealed, updated_ms FROM wireguard WHERE id = 1", err);
    if (stmt == NULL) {
        return -1;
    }
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_ROW) {
        return read_row(stmt, ret, err);
    }
    return result == STATEMENT_DONE ? 0 : -1;
}

static int read_generation(struct db *db, int64_t *ret, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT generation FROM wireguard WHERE id = 1", err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = column_int(stmt, "generation");
    return 0;
}

int wireguard_row_put(struct db *db, struct wireguard_row *row, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO wireguard (id, generation, wanted, document, public_key, warnings, sealed, updated_ms)"
                                         " VALUES (1, 1, 1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET generation = generation + 1,"
                                         " wanted = 1, document = ?1, public_key = ?2, warnings = ?3, sealed = ?4, updated_ms = ?5",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, row->document);
    statement_bind_text(stmt, 2, row->public_key);
    (void)sqlite3_bind_int64(stmt, 3, row->warnings);
    if (row->sealed != NULL) {
        (void)sqlite3_bind_blob(stmt, 4, row->sealed, (int)row->sealed_bytes, SQLITE_STATIC);
    }
    (void)sqlite3_bind_int64(stmt, 5, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    row->wanted = true;
    return read_generation(db, &row->generation, err);
}

int wireguard_row_remove(struct db *db, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE wireguard SET generation = generation + 1, wanted = 0, sealed = NULL,"
                                         " updated_ms = ? WHERE id = 1",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    return statement_run(db, stmt, err);
}
