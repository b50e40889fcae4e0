#include "db/network.h"

#include "core/clock.h"
#include "db/column.h"

#include <stdio.h>
#include <string.h>

/* What can't be what it says counts as not set. */
static int read_row(sqlite3_stmt *stmt, struct network_overrides *ret, struct error *err)
{
    bool failed = false;
    const char *subnet = column_peek(stmt, "subnet", &failed);
    const char *uplink = column_peek(stmt, "uplink", &failed);
    if (failed) { /* an override that is not read is not one that is not there */
        return error_oom(err);
    }
    ret->has_subnet = subnet != NULL && network_subnet_parse(subnet, &ret->subnet, NULL) == 0;
    ret->has_uplink = uplink != NULL && network_uplink_check(uplink, "", NULL) == 0;
    ret->damaged = ret->has_subnet != (subnet != NULL) || ret->has_uplink != (uplink != NULL) || column_int(stmt, "lease_quarantine_s") < 0 ||
                   column_int(stmt, "lease_quarantine_s") > LEASE_QUARANTINE_MAX_S;
    if (ret->has_uplink && strcmp(uplink, UPLINK_DEFAULT) != 0) {
        memcpy(ret->uplink, uplink, strlen(uplink) + 1);
    }
    ret->has_masquerade = !column_is_null(stmt, "masquerade");
    ret->masquerade = column_bool(stmt, "masquerade");
    ret->has_quarantine = !column_is_null(stmt, "lease_quarantine_s") && column_int(stmt, "lease_quarantine_s") >= 0 &&
                          column_int(stmt, "lease_quarantine_s") <= LEASE_QUARANTINE_MAX_S;
    ret->lease_quarantine_s = ret->has_quarantine ? (unsigned)column_int(stmt, "lease_quarantine_s") : 0;
    ret->generation = column_int(stmt, "generation");
    return 0;
}

int network_overrides_get(struct db *db, struct network_overrides *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT subnet, uplink, masquerade, lease_quarantine_s, generation FROM network WHERE id = 1", err);
    if (stmt == NULL) {
        return -1;
    }
    memset(ret, 0, sizeof *ret);
    enum statement_result result = statement_step(db, stmt, err);
    if (result == STATEMENT_DONE) {
        return 0;
    }
    return result == STATEMENT_ROW ? read_row(stmt, ret, err) : -1;
}

int network_overrides_set(struct db *db, struct network_overrides *overrides, struct error *err)
{
    DB_LOCKED(db);
    char subnet[CIDR_TEXT_MAX];
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "INSERT INTO network (id, subnet, uplink, masquerade, lease_quarantine_s, generation, updated_ms)"
                                         " VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET subnet = ?1, uplink = ?2,"
                                         " masquerade = ?3, lease_quarantine_s = ?4, generation = ?5, updated_ms = ?6",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    if (overrides->has_subnet) {
        statement_bind_text(stmt, 1, ipv4_net_format(overrides->subnet, subnet));
    }
    if (overrides->has_uplink) {
        statement_bind_text(stmt, 2, overrides->uplink[0] != '\0' ? overrides->uplink : UPLINK_DEFAULT);
    }
    if (overrides->has_masquerade) {
        (void)sqlite3_bind_int(stmt, 3, overrides->masquerade);
    }
    if (overrides->has_quarantine) {
        (void)sqlite3_bind_int64(stmt, 4, overrides->lease_quarantine_s);
    }
    (void)sqlite3_bind_int64(stmt, 5, overrides->generation + 1);
    (void)sqlite3_bind_int64(stmt, 6, clock_wall_ms());
    if (statement_run(db, stmt, err) != 0) {
        return -1;
    }
    overrides->generation++;
    return 0;
}

static int list_addresses(struct db *db, sqlite3_stmt *stmt, size_t limit, struct network_address_row *ret, size_t *ret_count, size_t *ret_total,
                          struct error *err)
{
    enum statement_result result = STATEMENT_DONE;
    *ret_count = 0;
    *ret_total = 0;
    while ((result = statement_step(db, stmt, err)) == STATEMENT_ROW) {
        if (*ret_count < limit) {
            struct network_address_row *row = &ret[(*ret_count)++];
            if (column_copy(stmt, "id", row->vm, sizeof row->vm, err) != 0) {
                return -1;
            }
            row->address = (uint32_t)column_int(stmt, "address");
        }
        (*ret_total)++;
    }
    return result == STATEMENT_DONE ? 0 : -1;
}

int network_addresses_outside(struct db *db, uint32_t first, uint32_t last, size_t limit, struct network_address_row *ret, size_t *ret_count, size_t *ret_total,
                              struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT v.id, min(i.address) AS address FROM interfaces i JOIN vms v ON v.uid = i.vm_uid"
                                         " WHERE i.address NOT BETWEEN ?1 AND ?2 GROUP BY v.uid ORDER BY v.id",
                                         err);
    if (stmt == NULL) {
        return -1;
    }
    (void)sqlite3_bind_int64(stmt, 1, first);
    (void)sqlite3_bind_int64(stmt, 2, last);
    return list_addresses(db, stmt, limit, ret, ret_count, ret_total, err);
}

int network_addresses_in_use(struct db *db, size_t limit, struct network_address_row *ret, size_t *ret_count, size_t *ret_total, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db,
                                         "SELECT v.id, min(i.address) AS address FROM interfaces i JOIN vms v ON v.uid = i.vm_uid"
                                         " WHERE v.state NOT IN ('stopped', 'failed') GROUP BY v.uid ORDER BY v.id",
                                         err);
    return stmt == NULL ? -1 : list_addresses(db, stmt, limit, ret, ret_count, ret_total, err);
}
