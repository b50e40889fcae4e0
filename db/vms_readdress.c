#include "core/clock.h"
#include "db/leases.h"
#include "db/statement.h"
#include "db/vms.h"

static int update_interface(struct db *db, const struct vm_row *row, size_t index, struct error *err)
{
    const struct vm_interface *interface = &row->interfaces[index];
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE interfaces SET tap = ?3, address = ?4 WHERE vm_uid = ?1 AND position = ?2", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, row->uid);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)index);
    statement_bind_text(stmt, 3, interface->tap);
    (void)sqlite3_bind_int64(stmt, 4, interface->address);
    return statement_run(db, stmt, err);
}

static int raise_revision(struct db *db, struct vm_row *row, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE vms SET revision = revision + 1, updated_ms = ?2 WHERE uid = ?1", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, row->uid);
    (void)sqlite3_bind_int64(stmt, 2, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    row->revision++;
    return 0;
}

int vms_readdress(struct db *db, struct vm_row *row, size_t index, uint32_t old_address, struct error *err)
{
    DB_LOCKED(db);
    uint32_t address = row->interfaces[index].address;
    if (update_interface(db, row, index, err) != 0) {
        return -1;
    }
    if (address != old_address && (leases_free_one(db, row->uid, old_address, err) != 0 || leases_take(db, address, row->uid, err) != 0)) {
        return -1;
    }
    return raise_revision(db, row, err);
}
