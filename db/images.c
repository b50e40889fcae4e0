#include "db/images.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "db/events.h"
#include "db/column.h"

#include <stdlib.h>
#include <string.h>

void images_list_free(struct image_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        image_row_free(&rows[i]);
    }
    free(rows);
}

#define IMAGE_COLUMNS \
    "id, manifest, state, observed, kernel_sha256, rootfs_sha256, initrd_sha256, revision, created_ms," \
    " updated_ms, request"

static int read_row(sqlite3_stmt *stmt, struct image_row *row, struct error *err)
{
    bool failed = false;
    row->id = column_text(stmt, "id", &failed);
    row->manifest = column_text(stmt, "manifest", &failed);
    (void)image_state_parse(column_peek(stmt, "state", &failed), &row->state);
    row->observed = column_text(stmt, "observed", &failed);
    row->kernel_sha256 = column_text(stmt, "kernel_sha256", &failed);
    row->rootfs_sha256 = column_text(stmt, "rootfs_sha256", &failed);
    row->initrd_sha256 = column_text(stmt, "initrd_sha256", &failed);
    row->revision = column_int(stmt, "revision");
    row->created_ms = column_int(stmt, "created_ms");
    row->updated_ms = column_int(stmt, "updated_ms");
    return failed ? error_oom(err) : column_copy(stmt, "request", row->request, sizeof row->request, err);
}

int images_get(struct db *db, const char *id, struct image_row *ret, bool *ret_found, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT " IMAGE_COLUMNS " FROM images WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, id);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_found = result == STATEMENT_ROW;
    if (result == STATEMENT_ROW && read_row(stmt, ret, err) != 0) {
        image_row_free(ret);
        return -1;
    }
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

int images_list(struct db *db, const char *after, size_t limit, struct image_row **ret, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT " IMAGE_COLUMNS " FROM images WHERE id > ? ORDER BY id LIMIT ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, after);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)limit);
    struct image_row *rows = calloc(limit > 0 ? limit : 1, sizeof *rows);
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
        if (result != STATEMENT_ROW || read_row(stmt, &rows[count - 1], err) != 0) {
            images_list_free(rows, count);
            return -1;
        }
    }
    *ret = rows;
    *ret_count = count;
    return 0;
}

int images_each_id(struct db *db, void (*found)(const char *id, void *ctx), void *ctx, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT id FROM images ORDER BY id", err);
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

int images_count(struct db *db, int64_t *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT count(*) AS count FROM images", err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = column_int(stmt, "count");
    return 0;
}

/* Of the change that was just written. */
static int note_request(struct db *db, const char *id, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE images SET request = ?2 WHERE id = ?1", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, id);
    statement_bind_request(db, stmt, 2);
    return statement_run(db, stmt, err);
}

int images_insert(struct db *db, struct image_row *row, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO images (id, manifest, state, created_ms, updated_ms)"
                                         " VALUES (?1, ?2, 'importing', ?3, ?3) ON CONFLICT (id) DO UPDATE SET"
                                         " manifest = ?2, state = 'importing', observed = '{}', created_ms = ?3,"
                                         " updated_ms = ?3, revision = revision + 1 WHERE state = 'failed'"
                                         " RETURNING revision",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    int64_t now = clock_wall_ms();
    statement_bind_text(stmt, 1, row->id);
    statement_bind_text(stmt, 2, row->manifest);
    (void)sqlite3_bind_int64(stmt, 3, now);
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_DONE) {
        return error_set(err, ERR_ALREADY_EXISTS, "an image with the id '%s' exists", row->id);
    }
    if (result != STATEMENT_ROW) {
        return -1;
    }
    row->state = IMAGE_IMPORTING;
    row->revision = column_int(stmt, "revision");
    row->created_ms = row->updated_ms = now;
    return note_request(db, row->id, err);
}

static int find_user(struct db *db, const char *id, char **ret_vm, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT id FROM vms WHERE image = ? LIMIT 1", err);
    if (stmt == NULL) {
        return -1;
    }
    bool failed = false;
    statement_bind_text(stmt, 1, id);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_vm = result == STATEMENT_ROW ? column_text(stmt, "id", &failed) : NULL;
    if (failed) {
        return error_oom(err);
    }
    return result == STATEMENT_ROW || result == STATEMENT_DONE ? 0 : -1;
}

int images_mark_deleting(struct db *db, struct image_row *row, struct error *err)
{
    DB_LOCKED(db);
    AUTO_FREE char *vm = NULL;
    if (find_user(db, row->id, &vm, err) != 0) {
        return -1;
    }
    if (vm != NULL) {
        return error_set(err, ERR_IN_USE, "image '%s' is used by the VM '%s'", row->id, vm);
    }
    AUTO_STATEMENT *stmt = statement_get(db, "UPDATE images SET state = 'deleting', revision = revision + 1, updated_ms = ?2 WHERE id = ?1", err);
    if (stmt == NULL) {
        return -1;
    }
    row->updated_ms = clock_wall_ms();
    statement_bind_text(stmt, 1, row->id);
    (void)sqlite3_bind_int64(stmt, 2, row->updated_ms);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    row->state = IMAGE_DELETING;
    row->revision++;
    return note_request(db, row->id, err);
}

int images_set_observed(struct db *db, const struct image_row *row, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "UPDATE images SET state = ?2, observed = ?3, kernel_sha256 = ?4,"
                                         " rootfs_sha256 = ?5, initrd_sha256 = ?6, revision = revision + 1,"
                                         " updated_ms = ?7 WHERE id = ?1 AND state <> 'deleting'",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, row->id);
    statement_bind_text(stmt, 2, image_state_name(row->state));
    statement_bind_text(stmt, 3, row->observed);
    statement_bind_text(stmt, 4, row->kernel_sha256);
    statement_bind_text(stmt, 5, row->rootfs_sha256);
    statement_bind_text(stmt, 6, row->initrd_sha256);
    (void)sqlite3_bind_int64(stmt, 7, clock_wall_ms());
    return statement_run(db, stmt, err);
}

static int delete_row(struct db *db, const char *id, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM images WHERE id = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, id);
    return statement_run(db, stmt, err);
}

int images_remove(struct db *db, const char *id, struct error *err)
{
    if (db_begin(db, err) != 0) {
        return -1;
    }
    if (delete_row(db, id, err) != 0 || events_add(db, EVENT_IMAGE_DELETED, "image", id, "{}", err) != 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}

int images_need_file(struct db *db, const char *sha256, const char *except_id, bool *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT 1 FROM images WHERE ?1 IN (kernel_sha256, rootfs_sha256, initrd_sha256)"
                                         " AND id IS NOT ?2 LIMIT 1",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, sha256);
    statement_bind_text(stmt, 2, except_id);
    return statement_gives_row(db, stmt, ret, err);
}
