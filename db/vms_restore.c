/* A VM that runs, and whose row was lost with a damaged database, gets it back. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "db/events.h"
#include "db/images.h"
#include "db/ports.h"
#include "db/reservations.h"
#include "db/statement.h"
#include "db/vms.h"

#include <string.h>

static int put_back_image(struct db *db, const char *id, const struct image_row *image, struct error *err)
{
    AUTO_IMAGE_ROW stored = {0};
    bool found = false;
    if (images_get(db, id, &stored, &found, err) != 0) {
        return -1;
    }
    if (found) {
        return 0;
    }
    if (image == NULL || strcmp(image->id, id) != 0) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "there is no image '%s'", id);
    }
    struct image_row given = *image; /* what it points to stays the caller's */
    return images_insert(db, &given, err) != 0 ? -1 : images_set_observed(db, image, err);
}

/* What vms_insert() makes anew is set as it was. */
static int put_back(struct db *db, const struct vm_row *row, int64_t given_uid, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE vms SET boot_wanted = ?2, boot_done = ?3, generation = ?4, state = ?5, observed = ?6,"
                                         " stop_timeout_ms = ?7, created_ms = ?8 WHERE uid = ?1",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, given_uid);
    (void)sqlite3_bind_int64(stmt, 2, row->boot_wanted);
    (void)sqlite3_bind_int64(stmt, 3, row->boot_done);
    (void)sqlite3_bind_int64(stmt, 4, row->generation + 1);
    statement_bind_text(stmt, 5, vm_state_name(row->state));
    statement_bind_text(stmt, 6, row->observed);
    (void)sqlite3_bind_int64(stmt, 7, row->stop_timeout_ms);
    (void)sqlite3_bind_int64(stmt, 8, row->created_ms);
    return statement_run(db, stmt, err);
}

/* Those that nobody else has by now; the others leave the document, too. */
static int put_back_ports(struct db *db, struct vm_row *row, struct error *err)
{
    struct vm_config *config = &row->config;
    for (;;) {
        size_t taken = config->port_count;
        struct error why = {0};
        if (ports_set(db, row->uid, config->ports, config->port_count, NULL, &taken, &why) == 0) {
            return vms_write_config(db, row, err);
        }
        if (why.code != ERR_IN_USE || taken >= config->port_count) {
            return error_set(err, why.code, "%s", why.message);
        }
        memmove(&config->ports[taken], &config->ports[taken + 1], (--config->port_count - taken) * sizeof config->ports[0]);
    }
}

/* A row of this number that has another id gets its own back. *ret_done false: there is no such row. */
static int put_back_id(struct db *db, const struct vm_row *row, bool *ret_done, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE vms SET id = ?2, revision = revision + 1 WHERE uid = ?1", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, row->uid);
    statement_bind_text(stmt, 2, row->id);
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_CONSTRAINT) {
        return error_set(err, ERR_ALREADY_EXISTS, "a VM with the id '%s' exists", row->id);
    }
    *ret_done = result == STATEMENT_DONE && db_changes(db) > 0;
    return result == STATEMENT_DONE ? 0 : -1;
}

/* Numbers are given out once: one that was, and has no row, is of a VM that was deleted. */
static int was_given_out(struct db *db, int64_t uid, bool *ret, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT 1 FROM sqlite_sequence WHERE name = 'vms' AND seq >= ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, uid);
    return statement_gives_row(db, stmt, ret, err);
}

/* What is left of it without its row: nothing keeps a hostile hand from leaving it. */
static int remove_rests(struct db *db, int64_t uid, struct error *err)
{
    static const char *const statements[] = {"DELETE FROM interfaces WHERE vm_uid = ?", "DELETE FROM ports WHERE vm_uid = ?",
                                             "DELETE FROM leases WHERE vm_uid = ?", "DELETE FROM reservations WHERE vm_uid = ?"};
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        AUTO_STATEMENT *stmt = statement_get(db, statements[i], err);
        if (stmt == NULL) {
            return -1;
        }
        (void)sqlite3_bind_int64(stmt, 1, uid);
        if (statement_run(db, stmt, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int insert_whole(struct db *db, struct vm_row *row, const struct image_row *image, struct error *err)
{
    const struct vm_row before = *row;
    if (remove_rests(db, row->uid, err) != 0 || put_back_image(db, row->image, image, err) != 0 || vms_insert(db, row, err) != 0 ||
        put_back(db, &before, row->uid, err) != 0) {
        return -1;
    }
    return put_back_ports(db, row, err) == 0 ? reservations_complete(db, err) : -1;
}

static int insert(struct db *db, const struct vm_row *row, const struct image_row *image, bool force, struct error *err)
{
    bool deleted = false;
    if (!force && was_given_out(db, row->uid, &deleted, err) != 0) {
        return -1;
    }
    if (deleted) {
        return error_set(err, ERR_NOT_FOUND, "VM '%s', number %lld, was deleted", row->id, (long long)row->uid);
    }
    struct vm_row given = *row; /* what it points to stays the caller's, but for the document */
    memset(&given.config, 0, sizeof given.config);
    if (vm_row_read_config(&given, err) != 0) {
        return -1;
    }
    given.config_text = NULL;
    int result = insert_whole(db, &given, image, err);
    vm_config_free(&given.config);
    free(given.config_text);
    return result;
}

int vms_restore(struct db *db, const struct vm_row *row, const struct image_row *image, bool force, struct error *err)
{
    bool done = false;
    if (db_begin(db, err) != 0) {
        return -1;
    }
    if (put_back_id(db, row, &done, err) != 0 || (!done && insert(db, row, image, force, err) != 0) ||
        events_add(db, EVENT_VM_RESTORED, "vm", row->id, "{}", err) != 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}
