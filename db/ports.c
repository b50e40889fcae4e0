#include "db/ports.h"

#include "core/array.h"
#include "core/cleanup.h"
#include "db/column.h"

#include <netinet/in.h>
#include <string.h>

static int read_port(sqlite3_stmt *stmt, struct vm_port *ret, struct error *err)
{
    char host[IP_TEXT_MAX];
    if (column_copy(stmt, "host_ip", host, sizeof host, err) != 0) {
        return -1;
    }
    *ret = (struct vm_port){.protocol = (uint8_t)column_int(stmt, "protocol"),
                            .host.version = IP_V4,
                            .host_port = (uint16_t)column_int(stmt, "host_port"),
                            .guest_port = (uint16_t)column_int(stmt, "guest_port"),
                            .count = (uint16_t)column_int(stmt, "count")};
    if (!ip_addr_parse(host, &ret->host)) {
        *ret = (struct vm_port){.host.version = IP_V4}; /* of no protocol: core/vm_row.h finds it damaged */
    }
    return 0;
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

/* An address of the host as it is stored, and the one that means all addresses of its version. */
struct place {
    char host[IP_TEXT_MAX], everywhere[IP_TEXT_MAX];
    int is_v6;
};

static struct place place_of(const struct vm_port *port)
{
    const struct ip_addr everywhere = {.version = port->host.version};
    struct place place = {.is_v6 = port->host.version == IP_V6};
    (void)ip_addr_format(&port->host, place.host);
    (void)ip_addr_format(&everywhere, place.everywhere);
    return place;
}

/* Slots 1 to 4 of a statement that looks for ports which a port of this protocol and place would meet. */
static void bind_place(sqlite3_stmt *stmt, const struct vm_port *port, const struct place *place)
{
    (void)sqlite3_bind_int(stmt, 1, port->protocol);
    (void)sqlite3_bind_int(stmt, 2, place->is_v6);
    statement_bind_text(stmt, 3, place->host);
    statement_bind_text(stmt, 4, place->everywhere);
}

/* Is one of these ports another's by now? IN_USE then. */
static int check_free(struct db *db, const struct vm_port *port, bool *ret_taken, struct error *err)
{
    const struct place place = place_of(port);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT v.id, p.host_ip, max(p.host_port, ?5) AS host_port FROM ports p JOIN vms v ON v.uid = p.vm_uid"
                                         " WHERE p.protocol = ?1 AND (instr(p.host_ip, ':') > 0) = ?2 AND (?3 = ?4 OR p.host_ip IN (?3, ?4))"
                                         " AND p.host_port < ?5 + ?6 AND p.host_port + p.count > ?5 ORDER BY p.host_port LIMIT 1",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    bind_place(stmt, port, &place);
    (void)sqlite3_bind_int(stmt, 5, port->host_port);
    (void)sqlite3_bind_int(stmt, 6, port->count);
    enum statement_result result = statement_step(db, stmt, err);
    *ret_taken = result == STATEMENT_ROW;
    if (result != STATEMENT_ROW) {
        return result == STATEMENT_DONE ? 0 : -1;
    }
    char vm[LIMIT_VM_ID_BYTES + 1];
    char host[IP_TEXT_MAX];
    if (column_copy(stmt, "id", vm, sizeof vm, err) != 0 || column_copy(stmt, "host_ip", host, sizeof host, err) != 0) {
        return -1;
    }
    bool everywhere = strcmp(host, place.everywhere) == 0;
    return error_set(err, ERR_IN_USE, "the host's %s port %d%s%s is published by VM '%s'", port->protocol == IPPROTO_TCP ? "tcp" : "udp",
                     (int)column_int(stmt, "host_port"), everywhere ? "" : " at ", everywhere ? "" : host, vm);
}

/* The first port from there on at which there are as many as there have to be that no program of the host has; behind the last one when there are not. */
static int skip_busy(const struct ports_choice *choice, const struct vm_port *port, int first)
{
    int in_a_row = 0;
    if (choice->busy == NULL) {
        return first;
    }
    for (int i = first; i <= choice->last; i++) {
        in_a_row = port_set_has(choice->busy, port->protocol, (unsigned)i) ? 0 : in_a_row + 1;
        if (in_a_row == port->count) {
            return i - port->count + 1;
        }
    }
    return choice->last + 1;
}

/* The lowest that are free, as many as there have to be one after the other. */
static int choose(struct db *db, const struct ports_choice *choice, struct vm_port *port, bool *ret_taken, struct error *err)
{
    const struct place place = place_of(port);
    enum statement_result result = STATEMENT_DONE;
    if (choice == NULL) {
        return error_set(err, ERR_INTERNAL, "a port is left open");
    }
    int first = skip_busy(choice, port, choice->first);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT host_port, count FROM ports WHERE protocol = ?1 AND (instr(host_ip, ':') > 0) = ?2"
                                         " AND (?3 = ?4 OR host_ip IN (?3, ?4)) AND host_port + count > ?5 ORDER BY host_port",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    bind_place(stmt, port, &place);
    (void)sqlite3_bind_int(stmt, 5, first);
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW && (int)column_int(stmt, "host_port") < first + port->count) {
        const int behind = (int)column_int(stmt, "host_port") + (int)column_int(stmt, "count");
        first = behind > first ? skip_busy(choice, port, behind) : first;
    }
    if (result != STATEMENT_DONE && result != STATEMENT_ROW) {
        return -1;
    }
    if (first + port->count - 1 > choice->last) {
        *ret_taken = true;
        return error_set(err, ERR_IN_USE, "there are no %u free %s ports of the host from %u to %u", port->count, port->protocol == IPPROTO_TCP ? "tcp" : "udp",
                         choice->first, choice->last);
    }
    port->host_port = (uint16_t)first;
    return 0;
}

static int insert(struct db *db, int64_t vm_uid, const struct vm_port *port, size_t position, struct error *err)
{
    const struct place place = place_of(port);
    AUTO_STATEMENT *stmt =
        statement_get(db, "INSERT INTO ports (vm_uid, position, protocol, host_ip, host_port, guest_port, count) VALUES (?, ?, ?, ?, ?, ?, ?)", err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, vm_uid);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)position);
    (void)sqlite3_bind_int(stmt, 3, port->protocol);
    statement_bind_text(stmt, 4, place.host);
    (void)sqlite3_bind_int(stmt, 5, port->host_port);
    (void)sqlite3_bind_int(stmt, 6, port->guest_port);
    (void)sqlite3_bind_int(stmt, 7, port->count);
    return statement_run(db, stmt, err);
}

int ports_set(struct db *db, int64_t vm_uid, struct vm_port *ports, size_t count, const struct ports_choice *choice, size_t *ret_taken, struct error *err)
{
    DB_LOCKED(db);
    if (remove_all(db, vm_uid, err) != 0) {
        return -1;
    }
    /* First those that are named, so that none of them is chosen for another. */
    for (int chosen = 0; chosen < 2; chosen++) {
        for (size_t i = 0; i < count; i++) {
            bool taken = false;
            if ((ports[i].host_port == 0) != (chosen == 1)) {
                continue;
            }
            if ((chosen == 1 ? choose(db, choice, &ports[i], &taken, err) : check_free(db, &ports[i], &taken, err)) != 0) {
                *ret_taken = taken ? i : *ret_taken;
                return -1;
            }
            if (insert(db, vm_uid, &ports[i], i, err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

int ports_list(struct db *db, struct port_row **ret, size_t *ret_count, struct error *err)
{
    DB_LOCKED(db);
    AUTO_FREE struct port_row *rows = NULL;
    size_t count = 0;
    enum statement_result result = STATEMENT_DONE;
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT p.vm_uid, i.address, p.protocol, p.host_ip, p.host_port, p.guest_port, p.count FROM ports p"
                                         " JOIN interfaces i ON i.vm_uid = p.vm_uid AND i.position = 0 WHERE p.position BETWEEN 0 AND ? - 1",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int(stmt, 1, LIMIT_PORTS); /* of a VM: what is beyond was put there by hand, and makes its row damaged */
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        struct port_row *grown = array_grow(rows, count, sizeof *grown);
        if (grown == NULL) {
            return error_oom(err);
        }
        rows = grown;
        rows[count] = (struct port_row){.vm_uid = column_int(stmt, "vm_uid"), .address = (uint32_t)column_int(stmt, "address")};
        if (read_port(stmt, &rows[count++].port, err) != 0) {
            return -1;
        }
    }
    if (result != STATEMENT_DONE) {
        return -1;
    }
    *ret = TAKE_PTR(rows);
    *ret_count = count;
    return 0;
}
