#include "db/events.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "db/column.h"

#include <stdio.h>

enum { TRIM_EVERY = 256 };

static int trim(struct db *db, int64_t last, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM events WHERE seq <= ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, last - LIMIT_EVENTS);
    return statement_run(db, stmt, err);
}

int events_add(struct db *db, enum event_type type, const char *kind, const char *id, const char *data, struct error *err)
{
    DB_LOCKED(db);
    char resource[256];
    AUTO_STATEMENT *stmt = statement_get(db, "INSERT INTO events (at_ms, type, resource, data) VALUES (?, ?, ?, ?)", err);
    if (stmt == NULL) {
        return -1;
    }
    if (id[0] != '\0') {
        (void)snprintf(resource, sizeof resource, "/%ss/%s", kind, id);
    } else {
        (void)snprintf(resource, sizeof resource, "/%s", kind);
    }
    (void)sqlite3_bind_int64(stmt, 1, clock_wall_ms());
    statement_bind_text(stmt, 2, event_type_name(type));
    statement_bind_text(stmt, 3, resource);
    statement_bind_text(stmt, 4, data);
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    int64_t seq = db_last_rowid(db);
    return seq % TRIM_EVERY == 0 ? trim(db, seq, err) : 0;
}

int events_list(struct db *db, int64_t after, size_t limit, struct event_row **ret, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT seq, at_ms, type, resource, data FROM events WHERE seq > ? ORDER BY seq LIMIT ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, after);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)limit);
    struct event_row *rows = calloc(limit > 0 ? limit : 1, sizeof *rows);
    if (rows == NULL) {
        return error_oom(err);
    }
    size_t count = 0;
    bool failed = false;
    enum statement_result result = STATEMENT_ROW;
    while (!failed && (result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        struct event_row *row = &rows[count++];
        row->seq = column_int(stmt, "seq");
        row->at_ms = column_int(stmt, "at_ms");
        row->type = column_text(stmt, "type", &failed);
        row->resource = column_text(stmt, "resource", &failed);
        row->data = column_text(stmt, "data", &failed);
    }
    if (failed || result != STATEMENT_DONE) {
        events_list_free(rows, count);
        return failed ? error_oom(err) : -1;
    }
    *ret = rows;
    *ret_count = count;
    return 0;
}

void events_list_free(struct event_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(rows[i].type);
        free(rows[i].resource);
        free(rows[i].data);
    }
    free(rows);
}

int events_range(struct db *db, int64_t *ret_first, int64_t *ret_last, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT coalesce((SELECT min(seq) FROM events), 0) AS first,"
                                         " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS last",
                                         err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret_first = column_int(stmt, "first");
    *ret_last = column_int(stmt, "last");
    return 0;
}
