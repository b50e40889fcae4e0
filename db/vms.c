#include "db/vms.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "db/events.h"
#include "db/leases.h"
#include "db/statement.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[VM_STATE_COUNT_] = {
    [VM_CREATING] = "creating", [VM_STOPPED] = "stopped",   [VM_STARTING] = "starting", [VM_RUNNING] = "running",
    [VM_PAUSED] = "paused",     [VM_STOPPING] = "stopping", [VM_DELETING] = "deleting", [VM_FAILED] = "failed",
};

static const char *const desired_names[VM_DESIRED_COUNT_] = {
    [VM_WANT_RUNNING] = "running", [VM_WANT_STOPPED] = "stopped", [VM_WANT_PAUSED] = "paused"};

const char *vm_state_name(enum vm_state state)
{
    return state_names[state];
}

bool vm_state_parse(const char *name, enum vm_state *ret)
{
    for (size_t i = 0; i < VM_STATE_COUNT_; i++) {
        if (strcmp(state_names[i], name) == 0) {
            *ret = (enum vm_state)i;
            return true;
        }
    }
    return false;
}

const char *vm_desired_name(enum vm_desired desired)
{
    return desired_names[desired];
}

bool vm_desired_parse(const char *name, enum vm_desired *ret)
{
    for (size_t i = 0; i < VM_DESIRED_COUNT_; i++) {
        if (strcmp(desired_names[i], name) == 0) {
            *ret = (enum vm_desired)i;
            return true;
        }
    }
    return false;
}

void vm_row_free(struct vm_row *row)
{
    free(row->id);
    free(row->image);
    free(row->boot_args);
    free(row->vmm);
    free(row->labels);
    free(row->observed);
    for (size_t i = 0; i < row->interface_count; i++) {
        free(row->interfaces[i].iface_id);
    }
    free(row->interfaces);
    memset(row, 0, sizeof *row);
}

void vms_list_free(struct vm_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        vm_row_free(&rows[i]);
    }
    free(rows);
}

#define VM_COLUMNS                                                                                           \
    "uid, id, image, desired_state, vcpu_count, mem_size_mib, boot_args, vmm, autostart, labels,"            \
    " stop_timeout_ms, boot_wanted, deleting, generation, state, observed_generation, observed, pid,"        \
    " start_time, boot_id, boot_done, revision, created_ms, updated_ms"

/* In the order of VM_COLUMNS. */
static int read_row(sqlite3_stmt *stmt, struct vm_row *row, struct error *err)
{
    bool failed = false;
    row->uid = sqlite3_column_int64(stmt, 0);
    row->id = statement_text(stmt, 1, &failed);
    row->image = statement_text(stmt, 2, &failed);
    (void)vm_desired_parse((const char *)sqlite3_column_text(stmt, 3), &row->desired);
    row->vcpu_count = (unsigned)sqlite3_column_int(stmt, 4);
    row->mem_size_mib = (unsigned)sqlite3_column_int(stmt, 5);
    row->boot_args = statement_text(stmt, 6, &failed);
    row->vmm = statement_text(stmt, 7, &failed);
    row->autostart = sqlite3_column_int(stmt, 8) != 0;
    row->labels = statement_text(stmt, 9, &failed);
    row->stop_timeout_ms = sqlite3_column_int64(stmt, 10);
    row->boot_wanted = sqlite3_column_int64(stmt, 11);
    row->deleting = sqlite3_column_int(stmt, 12) != 0;
    row->generation = sqlite3_column_int64(stmt, 13);
    (void)vm_state_parse((const char *)sqlite3_column_text(stmt, 14), &row->state);
    row->observed_generation = sqlite3_column_int64(stmt, 15);
    row->observed = statement_text(stmt, 16, &failed);
    row->pid = sqlite3_column_int64(stmt, 17);
    row->start_time = sqlite3_column_int64(stmt, 18);
    const char *boot_id = (const char *)sqlite3_column_text(stmt, 19);
    if (boot_id != NULL && strlen(boot_id) < sizeof row->boot_id) {
        memcpy(row->boot_id, boot_id, strlen(boot_id) + 1);
    }
    row->boot_done = sqlite3_column_int64(stmt, 20);
    row->revision = sqlite3_column_int64(stmt, 21);
    row->created_ms = sqlite3_column_int64(stmt, 22);
    row->updated_ms = sqlite3_column_int64(stmt, 23);
    return failed ? error_oom(err) : 0;
}

static int read_interface(sqlite3_stmt *stmt, struct vm_interface *interface, struct error *err)
{
    bool failed = false;
    const char *tap = (const char *)sqlite3_column_text(stmt, 1);
    const char *mac = (const char *)sqlite3_column_text(stmt, 2);
    if (tap == NULL || strlen(tap) >= sizeof interface->tap || mac == NULL || !mac_parse(mac, &interface->mac)) {
        return error_set(err, ERR_DATABASE, "an interface row is damaged");
    }
    memcpy(interface->tap, tap, strlen(tap) + 1);
    interface->address = (uint32_t)sqlite3_column_int64(stmt, 3);
    interface->iface_id = statement_text(stmt, 0, &failed);
    return failed ? error_oom(err) : 0;
}

static int read_interfaces(struct db *db, struct vm_row *row, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(
        db, "SELECT iface_id, tap, mac, address FROM interfaces WHERE vm_uid = ? ORDER BY position", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, row->uid);
    for (;;) {
        enum statement_result result = statement_step(db, stmt, err);
        if (result != STATEMENT_ROW) {
            return result == STATEMENT_DONE ? 0 : -1;
        }
        if (row->interface_count == LIMIT_INTERFACES) {
            return error_set(err, ERR_DATABASE, "VM %s has more than %d interfaces", row->id, LIMIT_INTERFACES);
        }
        if (row->interfaces == NULL) {
            row->interfaces = calloc(LIMIT_INTERFACES, sizeof *row->interfaces);
            if (row->interfaces == NULL) {
                return error_oom(err);
            }
        }
        if (read_interface(stmt, &row->interfaces[row->interface_count], err) != 0) {
            return -1;
        }
        row->interface_count++;
    }
}

static int read_whole(struct db *db, sqlite3_stmt *stmt, struct vm_row *row, struct error *err)
{
    if (read_row(stmt, row, err) != 0 || read_interfaces(db, row, err) != 0) {
        return -1;
    }
    return ports_get(db, row->uid, row->ports, &row->port_count, err);
}

int vms_get(struct db *db, const char *id, struct vm_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT " VM_COLUMNS " FROM vms WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, id);
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_DONE) {
        *ret_found = false;
        return 0;
    }
    if (result != STATEMENT_ROW || read_whole(db, stmt, ret, err) != 0) {
        vm_row_free(ret);
        return -1;
    }
    *ret_found = true;
    return 0;
}

int vms_list(struct db *db, const char *after, const enum vm_state *state, size_t limit, struct vm_row **ret,
             size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT " VM_COLUMNS " FROM vms WHERE id > ?1 AND (?2 IS NULL OR state = ?2)"
                                         " ORDER BY id LIMIT ?3",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, after);
    statement_bind_text(stmt, 2, state != NULL ? vm_state_name(*state) : NULL);
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)limit);
    struct vm_row *rows = calloc(limit > 0 ? limit : 1, sizeof *rows);
    if (rows == NULL) {
        return error_oom(err);
    }
    size_t count = 0;
    for (;;) {
        enum statement_result result = statement_step(db, stmt, err);
        if (result == STATEMENT_DONE) {
            break;
        }
        count++;
        if (result != STATEMENT_ROW || read_whole(db, stmt, &rows[count - 1], err) != 0) {
            vms_list_free(rows, count);
            return -1;
        }
    }
    *ret = rows;
    *ret_count = count;
    return 0;
}

int vms_each_id(struct db *db, void (*found)(const char *id, void *ctx), void *ctx, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT id FROM vms ORDER BY id", err);
    if (stmt == NULL) {
        return -1;
    }
    for (;;) {
        enum statement_result result = statement_step(db, stmt, err);
        if (result != STATEMENT_ROW) {
            return result == STATEMENT_DONE ? 0 : -1;
        }
        found((const char *)sqlite3_column_text(stmt, 0), ctx);
    }
}

int vms_has(struct db *db, int64_t uid, bool *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT 1 FROM vms WHERE uid = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    return statement_gives_row(db, stmt, ret, err);
}

int vms_count(struct db *db, int64_t *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT count(*) FROM vms", err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = sqlite3_column_int64(stmt, 0);
    return 0;
}

static int insert_interface(struct db *db, int64_t uid, size_t position, const struct vm_interface *interface,
                            struct error *err)
{
    char mac[MAC_TEXT_MAX];
    AUTO_STATEMENT *stmt = statement_get(
        db, "INSERT INTO interfaces (vm_uid, position, iface_id, tap, mac, address) VALUES (?, ?, ?, ?, ?, ?)", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)position);
    statement_bind_text(stmt, 3, interface->iface_id);
    statement_bind_text(stmt, 4, interface->tap);
    statement_bind_text(stmt, 5, mac_format(interface->mac, mac));
    (void)sqlite3_bind_int64(stmt, 6, interface->address);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    return leases_take(db, interface->address, uid, err);
}

int vms_insert(struct db *db, struct vm_row *row, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db,
                      "INSERT INTO vms (id, image, desired_state, vcpu_count, mem_size_mib, boot_args, vmm, autostart,"
                      " labels, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
                      err);
    if (stmt == NULL) {
        return -1;
    }
    int64_t now = clock_wall_ms();
    statement_bind_text(stmt, 1, row->id);
    statement_bind_text(stmt, 2, row->image);
    statement_bind_text(stmt, 3, vm_desired_name(row->desired));
    (void)sqlite3_bind_int64(stmt, 4, row->vcpu_count);
    (void)sqlite3_bind_int64(stmt, 5, row->mem_size_mib);
    statement_bind_text(stmt, 6, row->boot_args);
    statement_bind_text(stmt, 7, row->vmm);
    (void)sqlite3_bind_int(stmt, 8, row->autostart);
    statement_bind_text(stmt, 9, row->labels);
    (void)sqlite3_bind_int64(stmt, 10, now);
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_CONSTRAINT) {
        return error_set(err, ERR_ALREADY_EXISTS, "a VM with the id '%s' exists", row->id);
    }
    if (result != STATEMENT_DONE) {
        return -1;
    }
    row->uid = db_last_rowid(db);
    row->state = VM_CREATING;
    row->stop_timeout_ms = -1;
    row->boot_wanted = 1;
    row->generation = row->revision = 1;
    row->created_ms = row->updated_ms = now;
    for (size_t i = 0; i < row->interface_count; i++) {
        if (insert_interface(db, row->uid, i, &row->interfaces[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

int vms_update_wanted(struct db *db, struct vm_row *row, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(
        db,
        "UPDATE vms SET desired_state = ?2, vcpu_count = ?3, mem_size_mib = ?4, boot_args = ?5, vmm = ?6,"
        " autostart = ?7, labels = ?8, stop_timeout_ms = ?9, boot_wanted = ?10, deleting = ?11,"
        " generation = generation + 1, revision = revision + 1, updated_ms = ?12 WHERE uid = ?1",
        err);
    if (stmt == NULL) {
        return -1;
    }
    row->updated_ms = clock_wall_ms();
    (void)sqlite3_bind_int64(stmt, 1, row->uid);
    statement_bind_text(stmt, 2, vm_desired_name(row->desired));
    (void)sqlite3_bind_int64(stmt, 3, row->vcpu_count);
    (void)sqlite3_bind_int64(stmt, 4, row->mem_size_mib);
    statement_bind_text(stmt, 5, row->boot_args);
    statement_bind_text(stmt, 6, row->vmm);
    (void)sqlite3_bind_int(stmt, 7, row->autostart);
    statement_bind_text(stmt, 8, row->labels);
    (void)sqlite3_bind_int64(stmt, 9, row->stop_timeout_ms);
    (void)sqlite3_bind_int64(stmt, 10, row->boot_wanted);
    (void)sqlite3_bind_int(stmt, 11, row->deleting);
    (void)sqlite3_bind_int64(stmt, 12, row->updated_ms);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    row->generation++;
    row->revision++;
    return 0;
}

int vms_set_observed(struct db *db, int64_t uid, const struct vm_observation *observation, bool *ret_changed,
                     struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(
        db,
        "UPDATE vms SET state = ?2, observed_generation = ?3, observed = ?4, pid = ?5, start_time = ?6,"
        " boot_id = ?7, boot_done = ?8, revision = revision + 1, updated_ms = ?9 WHERE uid = ?1"
        " AND NOT (state = ?2 AND observed_generation = ?3 AND observed = ?4 AND pid = ?5 AND start_time = ?6"
        " AND boot_id = ?7 AND boot_done = ?8)",
        err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    statement_bind_text(stmt, 2, vm_state_name(observation->state));
    (void)sqlite3_bind_int64(stmt, 3, observation->observed_generation);
    statement_bind_text(stmt, 4, observation->observed);
    (void)sqlite3_bind_int64(stmt, 5, observation->pid);
    (void)sqlite3_bind_int64(stmt, 6, observation->start_time);
    statement_bind_text(stmt, 7, observation->boot_id);
    (void)sqlite3_bind_int64(stmt, 8, observation->boot_done);
    (void)sqlite3_bind_int64(stmt, 9, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    *ret_changed = db_changes(db) > 0;
    return 0;
}

int vms_give_up_running(struct db *db, int64_t uid, int64_t generation, bool *ret_changed, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE vms SET desired_state = 'stopped', generation = generation + 1,"
                                         " revision = revision + 1, updated_ms = ?3"
                                         " WHERE uid = ?1 AND generation = ?2 AND desired_state <> 'stopped'",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    (void)sqlite3_bind_int64(stmt, 2, generation);
    (void)sqlite3_bind_int64(stmt, 3, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    *ret_changed = db_changes(db) > 0;
    return 0;
}

static int delete_row(struct db *db, int64_t uid, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM vms WHERE uid = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    return statement_run(db, stmt, err);
}

int vms_remove(struct db *db, const struct vm_row *row, struct error *err)
{
    if (db_begin(db, err) != 0) {
        return -1;
    }
    if (leases_free(db, row->uid, err) != 0 || delete_row(db, row->uid, err) != 0 ||
        events_add(db, "vm.deleted", "vm", row->id, "{}", err) != 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}
