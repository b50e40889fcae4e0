#include "db/vms.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "db/column.h"
#include "db/events.h"
#include "db/leases.h"
#include "db/reservations.h"
#include "db/statement.h"

#include <stdlib.h>
#include <string.h>

/* One character more of the document than it may have tells that it is too long; somebody's gigabyte is not read. */
#define DOCUMENT(column) "substr(" column ", 1, 131073) AS " column
_Static_assert(LIMIT_VM_CONFIG_BYTES + 1 == 131073, "of DOCUMENT()");

#define VM_COLUMNS \
    "uid, id, image, desired_state, " DOCUMENT("config") ", " DOCUMENT( \
        "boot_config") ", stop_timeout_ms," \
                       " boot_wanted, deleting, generation, state, observed_generation, observed, pid, start_time, boot_id," \
                       " boot_done, revision, created_ms, updated_ms, restart_count, restart_boot, restart_streak," \
                       " restart_due_ms, restart_keeps_drives, request"

static int read_row(sqlite3_stmt *stmt, struct vm_row *row, struct error *err)
{
    bool failed = false;
    row->uid = column_int(stmt, "uid");
    row->id = column_text(stmt, "id", &failed);
    row->image = column_text(stmt, "image", &failed);
    const char *desired = column_peek(stmt, "desired_state", &failed);
    row->desired = VM_DESIRED_COUNT_; /* what can't be is damage, which core/vm_row.h finds */
    (void)(desired != NULL && vm_desired_parse(desired, &row->desired));
    row->config_text = column_text(stmt, "config", &failed);
    row->boot_config = column_text(stmt, "boot_config", &failed);
    row->stop_timeout_ms = column_int(stmt, "stop_timeout_ms");
    row->boot_wanted = column_int(stmt, "boot_wanted");
    row->deleting = column_bool(stmt, "deleting");
    row->generation = column_int(stmt, "generation");
    const char *state = column_peek(stmt, "state", &failed);
    row->state = VM_STATE_COUNT_;
    (void)(state != NULL && vm_state_parse(state, &row->state));
    row->observed_generation = column_int(stmt, "observed_generation");
    row->observed = column_text(stmt, "observed", &failed);
    row->pid = column_int(stmt, "pid");
    row->start_time = column_int(stmt, "start_time");
    row->boot_done = column_int(stmt, "boot_done");
    row->revision = column_int(stmt, "revision");
    row->created_ms = column_int(stmt, "created_ms");
    row->updated_ms = column_int(stmt, "updated_ms");
    row->restart_count = column_int(stmt, "restart_count");
    row->restart_boot = column_int(stmt, "restart_boot");
    row->restart_streak = column_int(stmt, "restart_streak");
    row->restart_due_ms = column_int(stmt, "restart_due_ms");
    row->restart_keeps_drives = column_bool(stmt, "restart_keeps_drives");
    if (failed) {
        return error_oom(err);
    }
    const char *boot_id = column_peek(stmt, "boot_id", &failed);
    const bool has_boot_id = boot_id != NULL && boot_id[0] != '\0';
    if (column_copy(stmt, "boot_id", row->boot_id, sizeof row->boot_id, err) != 0 ||
        column_copy(stmt, "request", row->request, sizeof row->request, err) != 0) {
        return -1;
    }
    if (row->boot_id[0] == '\0' && has_boot_id) {
        memcpy(row->boot_id, "?", sizeof "?"); /* too long; none would be another thing */
    }
    return 0;
}

static int read_interface(sqlite3_stmt *stmt, struct vm_interface *interface, struct error *err)
{
    bool failed = false;
    char mac[MAC_TEXT_MAX];
    if (column_copy(stmt, "tap", interface->tap, sizeof interface->tap, err) != 0 || column_copy(stmt, "mac", mac, sizeof mac, err) != 0) {
        return -1;
    }
    if (!mac_parse(mac, &interface->mac)) {
        interface->tap[0] = '\0'; /* damage, as above */
    }
    interface->address = (uint32_t)column_int(stmt, "address");
    interface->iface_id = column_text(stmt, "iface_id", &failed);
    return failed ? error_oom(err) : 0;
}

static int read_interfaces(struct db *db, struct vm_row *row, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT iface_id, tap, mac, address FROM interfaces WHERE vm_uid = ? ORDER BY position", err);
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
            row->interfaces[0].tap[0] = '\0'; /* damage, as above */
            return 0;
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
    return read_row(stmt, row, err) != 0 ? -1 : read_interfaces(db, row, err);
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

int vms_list(struct db *db, const char *after, const enum vm_state *state, size_t limit, struct vm_row **ret, size_t *ret_count, struct error *err)
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
            vm_rows_free(rows, count);
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
        bool failed = false;
        const char *id = column_peek(stmt, "id", &failed);
        if (failed) {
            return error_oom(err);
        }
        found(id, ctx);
    }
}

int vms_created(struct db *db, int64_t uid, int64_t *ret_ms, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT created_ms FROM vms WHERE uid = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    if (statement_gives_row(db, stmt, ret_found, err) != 0) {
        return -1;
    }
    *ret_ms = *ret_found ? column_int(stmt, "created_ms") : 0;
    return 0;
}

int vms_count(struct db *db, int64_t *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT count(*) AS count FROM vms", err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = column_int(stmt, "count");
    return 0;
}

static int insert_interface(struct db *db, int64_t uid, size_t position, const struct vm_interface *interface, struct error *err)
{
    char mac[MAC_TEXT_MAX];
    AUTO_STATEMENT *stmt = statement_get(db, "INSERT INTO interfaces (vm_uid, position, iface_id, tap, mac, address) VALUES (?, ?, ?, ?, ?, ?)", err);
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

/* Of the change that was just written. */
static int note_request(struct db *db, int64_t uid, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE vms SET request = ?2 WHERE uid = ?1", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    statement_bind_request(db, stmt, 2);
    return statement_run(db, stmt, err);
}

/* Of the document as it is in `config`. */
static int make_text(struct vm_row *row, struct error *err)
{
    char *text = NULL;
    if (vm_config_text(&row->config, &text, err) != 0) {
        return -1;
    }
    free(row->config_text);
    row->config_text = text;
    return 0;
}

int vms_insert(struct db *db, struct vm_row *row, struct error *err)
{
    DB_LOCKED(db);
    if (make_text(row, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO vms (uid, id, image, desired_state, config, created_ms, updated_ms)"
                                         " VALUES (nullif(?6, 0), ?1, ?2, ?3, ?4, ?5, ?5)",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    int64_t now = clock_wall_ms();
    statement_bind_text(stmt, 1, row->id);
    statement_bind_text(stmt, 2, row->config.image);
    statement_bind_text(stmt, 3, vm_desired_name(row->desired));
    statement_bind_text(stmt, 4, row->config_text);
    (void)sqlite3_bind_int64(stmt, 5, now);
    (void)sqlite3_bind_int64(stmt, 6, row->uid);
    if (statement_run(db, stmt, err) != 0) {
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
    return note_request(db, row->uid, err);
}

int vms_write_config(struct db *db, struct vm_row *row, struct error *err)
{
    DB_LOCKED(db);
    if (make_text(row, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE vms SET config = ?2 WHERE uid = ?1", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, row->uid);
    statement_bind_text(stmt, 2, row->config_text);
    return statement_run(db, stmt, err);
}

int vms_update_wanted(struct db *db, struct vm_row *row, struct error *err)
{
    DB_LOCKED(db);
    if (!row->is_damaged && vms_write_config(db, row, err) != 0) {
        return -1;
    }
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE vms SET desired_state = ?2, stop_timeout_ms = ?3, boot_wanted = ?4, deleting = ?5,"
                                         " generation = generation + 1, revision = revision + 1, updated_ms = ?6 WHERE uid = ?1",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    row->updated_ms = clock_wall_ms();
    (void)sqlite3_bind_int64(stmt, 1, row->uid);
    statement_bind_text(stmt, 2, vm_desired_name(row->desired));
    (void)sqlite3_bind_int64(stmt, 3, row->stop_timeout_ms);
    (void)sqlite3_bind_int64(stmt, 4, row->boot_wanted);
    (void)sqlite3_bind_int(stmt, 5, row->deleting);
    (void)sqlite3_bind_int64(stmt, 6, row->updated_ms);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    row->generation++;
    row->revision++;
    return note_request(db, row->uid, err);
}

int vms_set_observed(struct db *db, int64_t uid, const struct vm_observation *observation, bool *ret_changed, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE vms SET state = ?2, observed_generation = ?3, observed = ?4, pid = ?5, start_time = ?6,"
                                         " boot_id = ?7, boot_done = ?8, boot_config = ?10, revision = revision + 1, updated_ms = ?9 WHERE uid = ?1"
                                         " AND NOT (state = ?2 AND observed_generation = ?3 AND observed = ?4 AND pid = ?5 AND start_time = ?6"
                                         " AND boot_id = ?7 AND boot_done = ?8 AND boot_config = ?10)",
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
    statement_bind_text(stmt, 10, observation->boot_config);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    *ret_changed = db_changes(db) > 0;
    return *ret_changed ? reservations_settle(db, uid, err) : 0;
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

int vms_want_restart(struct db *db, int64_t uid, const struct vm_restart *restart, bool *ret_changed, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE vms SET boot_wanted = ?2, restart_boot = ?2, restart_count = restart_count + 1, restart_streak = ?3,"
                                         " restart_due_ms = ?4, restart_keeps_drives = ?5, revision = revision + 1, updated_ms = ?6"
                                         " WHERE uid = ?1 AND boot_wanted = ?2 - 1 AND desired_state <> 'stopped' AND deleting = 0",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    (void)sqlite3_bind_int64(stmt, 2, restart->boot);
    (void)sqlite3_bind_int64(stmt, 3, restart->streak);
    (void)sqlite3_bind_int64(stmt, 4, restart->due_ms);
    (void)sqlite3_bind_int(stmt, 5, restart->keeps_drives);
    (void)sqlite3_bind_int64(stmt, 6, clock_wall_ms());
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
    if (leases_free(db, row->uid, err) != 0 || delete_row(db, row->uid, err) != 0 || events_add(db, EVENT_VM_DELETED, "vm", row->id, "{}", err) != 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}
