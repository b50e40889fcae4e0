#include "db/reservations.h"

#include "db/column.h"
#include "db/reservations_mend.h"
#include "db/statement.h"

static int read_reservation(sqlite3_stmt *stmt, struct reservation *ret)
{
    *ret = (struct reservation){.memory_mib = column_int(stmt, "memory_mib"),
                                .drive_mib = column_int(stmt, "drive_mib"),
                                .vcpus = column_int(stmt, "vcpus"),
                                .interfaces = column_int(stmt, "interfaces")};
    return 0;
}

/* Zeroes without a row. */
static int read_one(struct db *db, sqlite3_stmt *stmt, struct reservation *ret, struct error *err)
{
    enum statement_result result = statement_step(db, stmt, err);
    *ret = (struct reservation){.memory_mib = 0};
    if (result == STATEMENT_ROW) {
        return read_reservation(stmt, ret);
    }
    return result == STATEMENT_DONE ? 0 : -1;
}

int reservations_sum(struct db *db, struct reservation *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT memory_mib, drive_mib, vcpus, interfaces FROM reserved WHERE id = 1", err);
    return stmt == NULL ? -1 : read_one(db, stmt, ret, err);
}

int reservations_get(struct db *db, int64_t vm_uid, struct reservation *ret, struct reservation *ret_wanted, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT memory_mib, drive_mib, vcpus, interfaces, held_memory_mib, held_vcpus FROM reservations WHERE vm_uid = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    enum statement_result result = statement_step(db, stmt, err);
    struct reservation wanted = {.memory_mib = 0};
    *ret = wanted;
    if (result == STATEMENT_ROW) {
        const int64_t held_mib = column_int(stmt, "held_memory_mib");
        const int64_t held_vcpus = column_int(stmt, "held_vcpus");
        (void)read_reservation(stmt, &wanted);
        *ret = wanted;
        ret->memory_mib = held_mib > wanted.memory_mib ? held_mib : wanted.memory_mib;
        ret->vcpus = held_vcpus > wanted.vcpus ? held_vcpus : wanted.vcpus;
    }
    if (ret_wanted != NULL) {
        *ret_wanted = wanted;
    }
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

int reservations_set(struct db *db, int64_t vm_uid, const struct reservation *wanted, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO reservations (vm_uid, memory_mib, drive_mib, vcpus, interfaces) VALUES (?1, ?2, ?3, ?4, ?5)"
                                         " ON CONFLICT (vm_uid) DO UPDATE SET held_memory_mib = max(held_memory_mib, memory_mib),"
                                         " held_vcpus = max(held_vcpus, vcpus), memory_mib = ?2, drive_mib = ?3, vcpus = ?4, interfaces = ?5",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    (void)sqlite3_bind_int64(stmt, 2, wanted->memory_mib);
    (void)sqlite3_bind_int64(stmt, 3, wanted->drive_mib);
    (void)sqlite3_bind_int64(stmt, 4, wanted->vcpus);
    (void)sqlite3_bind_int64(stmt, 5, wanted->interfaces);
    return statement_run(db, stmt, err);
}

/* Of a document: what a process takes by it. */
#define SIZE_OF(document) "iif(json_valid(" document "), json_extract(" document ", '$.machine_config', '$.vmm'), '')"

int reservations_settle(struct db *db, int64_t vm_uid, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE reservations SET held_memory_mib = 0, held_vcpus = 0 WHERE vm_uid = ?1 AND held_memory_mib + held_vcpus > 0"
                                         " AND EXISTS (SELECT 1 FROM vms WHERE uid = ?1 AND observed_generation >= generation"
                                         " AND (boot_config = '' OR " SIZE_OF("boot_config") " = " SIZE_OF("config") "))",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    return statement_run(db, stmt, err);
}

int reservations_complete(struct db *db, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, RESERVATIONS_COMPLETE, err);
    return stmt == NULL ? -1 : statement_run(db, stmt, err);
}
