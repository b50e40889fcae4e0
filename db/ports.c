#include "db/ports.h"

#include "core/cleanup.h"
#include "db/statement.h"

#include <netinet/in.h>

int ports_get(struct db *db, int64_t vm_uid, struct vm_port ret[LIMIT_PORTS], size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt =
        statement_get(db, "SELECT protocol, host_port, guest_port FROM ports WHERE vm_uid = ? ORDER BY position", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    *ret_count = 0;
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        if (*ret_count == LIMIT_PORTS) {
            return error_set(err, ERR_DATABASE, "a VM with more than %d ports is stored", (int)LIMIT_PORTS);
        }
        ret[(*ret_count)++] = (struct vm_port){.protocol = (uint8_t)sqlite3_column_int(stmt, 0),
                                               .host_port = (uint16_t)sqlite3_column_int(stmt, 1),
                                               .guest_port = (uint16_t)sqlite3_column_int(stmt, 2)};
    }
    return result == STATEMENT_DONE ? 0 : -1;
}

static int remove_all(struct db *db, int64_t vm_uid, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "DELETE FROM ports WHERE vm_uid = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    return statement_run(db, stmt, err);
}

static int refuse_taken(struct db *db, const struct vm_port *port, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(
        db, "SELECT v.id FROM ports p JOIN vms v ON v.uid = p.vm_uid WHERE p.protocol = ? AND p.host_port = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int(stmt, 1, port->protocol);
    (void)sqlite3_bind_int(stmt, 2, port->host_port);
    if (statement_step(db, stmt, err) != STATEMENT_ROW) {
        return error_set(err, ERR_DATABASE, "a port could not be stored");
    }
    return error_set(err, ERR_IN_USE, "the host's %s port %u is published by VM '%s'",
                     port->protocol == IPPROTO_TCP ? "tcp" : "udp", port->host_port, (const char *)sqlite3_column_text(stmt, 0));
}

int ports_set(struct db *db, int64_t vm_uid, const struct vm_port *ports, size_t count, size_t *ret_taken, struct error *err)
{
    DB_LOCKED(db);
    if (remove_all(db, vm_uid, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        AUTO_STATEMENT *stmt = statement_get(
            db, "INSERT INTO ports (protocol, host_port, guest_port, vm_uid, position) VALUES (?, ?, ?, ?, ?)", err);
        if (stmt == NULL) {
            return -1;
        }
        (void)sqlite3_bind_int(stmt, 1, ports[i].protocol);
        (void)sqlite3_bind_int(stmt, 2, ports[i].host_port);
        (void)sqlite3_bind_int(stmt, 3, ports[i].guest_port);
        (void)sqlite3_bind_int64(stmt, 4, vm_uid);
        (void)sqlite3_bind_int64(stmt, 5, (int64_t)i);
        enum statement_result result = statement_step(db, stmt, err);
        if (result == STATEMENT_CONSTRAINT) {
            *ret_taken = i;
            return refuse_taken(db, &ports[i], err);
        }
        if (result != STATEMENT_DONE) {
            return -1;
        }
    }
    return 0;
}

static bool make_room(struct port_row **rows, size_t count, size_t *size)
{
    if (count < *size) {
        return true;
    }
    size_t grown_size = *size == 0 ? 64 : *size * 2;
    struct port_row *grown = reallocarray(*rows, grown_size, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    *rows = grown;
    *size = grown_size;
    return true;
}

int ports_list(struct db *db, struct port_row **ret, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_FREE struct port_row *rows = NULL;
    size_t count = 0;
    size_t size = 0;
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT p.vm_uid, p.protocol, p.host_port, p.guest_port, i.address FROM ports p"
                                         " JOIN interfaces i ON i.vm_uid = p.vm_uid AND i.position = 0"
                                         " ORDER BY p.protocol, p.host_port",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        if (!make_room(&rows, count, &size)) {
            return error_oom(err);
        }
        rows[count++] = (struct port_row){.vm_uid = sqlite3_column_int64(stmt, 0),
                                          .port = {.protocol = (uint8_t)sqlite3_column_int(stmt, 1),
                                                   .host_port = (uint16_t)sqlite3_column_int(stmt, 2),
                                                   .guest_port = (uint16_t)sqlite3_column_int(stmt, 3)},
                                          .address = (uint32_t)sqlite3_column_int64(stmt, 4)};
    }
    if (result != STATEMENT_DONE) {
        return -1;
    }
    *ret = TAKE_PTR(rows);
    *ret_count = count;
    return 0;
}
