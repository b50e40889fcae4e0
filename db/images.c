#include "db/images.h"

#include "core/clock.h"
#include "core/cleanup.h"
#include "db/events.h"
#include "db/statement.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[IMAGE_STATE_COUNT_] = {[IMAGE_IMPORTING] = "importing",
                                                            [IMAGE_READY] = "ready",
                                                            [IMAGE_FAILED] = "failed",
                                                            [IMAGE_DELETING] = "deleting"};

const char *image_state_name(enum image_state state)
{
    return state_names[state];
}

void image_row_free(struct image_row *row)
{
    free(row->id);
    free(row->manifest);
    free(row->observed);
    free(row->kernel_sha256);
    free(row->rootfs_sha256);
    free(row->initrd_sha256);
    memset(row, 0, sizeof *row);
}

void images_list_free(struct image_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        image_row_free(&rows[i]);
    }
    free(rows);
}

#define IMAGE_COLUMNS                                                                                        \
    "id, manifest, state, observed, kernel_sha256, rootfs_sha256, initrd_sha256, revision, created_ms,"      \
    " updated_ms"

static int read_row(sqlite3_stmt *stmt, struct image_row *row, struct error *err)
{
    bool failed = false;
    row->id = statement_text(stmt, 0, &failed);
    row->manifest = statement_text(stmt, 1, &failed);
    for (size_t i = 0; i < IMAGE_STATE_COUNT_; i++) {
        if (strcmp(state_names[i], (const char *)sqlite3_column_text(stmt, 2)) == 0) {
            row->state = (enum image_state)i;
        }
    }
    row->observed = statement_text(stmt, 3, &failed);
    row->kernel_sha256 = statement_text(stmt, 4, &failed);
    row->rootfs_sha256 = statement_text(stmt, 5, &failed);
    row->initrd_sha256 = statement_text(stmt, 6, &failed);
    row->revision = sqlite3_column_int64(stmt, 7);
    row->created_ms = sqlite3_column_int64(stmt, 8);
    row->updated_ms = sqlite3_column_int64(stmt, 9);
    return failed ? error_oom(err) : 0;
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

int images_list(struct db *db, const char *after, size_t limit, struct image_row **ret, size_t *ret_count,
                struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT " IMAGE_COLUMNS " FROM images WHERE id > ? ORDER BY id LIMIT ?", err);
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
        found((const char *)sqlite3_column_text(stmt, 0), ctx);
    }
}

int images_count(struct db *db, int64_t *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT count(*) FROM images", err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = sqlite3_column_int64(stmt, 0);
    return 0;
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
    row->revision = sqlite3_column_int64(stmt, 0);
    row->created_ms = row->updated_ms = now;
    return 0;
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
    *ret_vm = result == STATEMENT_ROW ? statement_text(stmt, 0, &failed) : NULL;
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
    AUTO_STATEMENT *stmt = statement_get(
        db, "UPDATE images SET state = 'deleting', revision = revision + 1, updated_ms = ?2 WHERE id = ?1", err);
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
    return 0;
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
    if (delete_row(db, id, err) != 0 || events_add(db, "image.deleted", "image", id, "{}", err) != 0) {
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
