#include "db/allocate.h"

#include "db/leases.h"
#include "db/column.h"

#include <stdio.h>
#include <string.h>

/* The highest address of the first `count` interfaces that is in [first, last]. */
static bool highest_picked(const struct vm_row *row, size_t count, uint32_t first, uint32_t last, uint32_t *ret)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        uint32_t address = row->interfaces[i].address;
        if (address >= first && address <= last && (!found || address > *ret)) {
            *ret = address;
            found = true;
        }
    }
    return found;
}

static int exhausted(struct db *db, size_t asked, uint32_t total, int64_t quarantine_ms, struct error *err)
{
    int64_t used = 0;
    int64_t quarantined = 0;
    if (leases_count(db, quarantine_ms, &used, &quarantined, err) != 0) {
        return -1;
    }
    return error_set(err, ERR_IP_EXHAUSTED, "all %u addresses for guests are in use or in quarantine: %zu asked for, %lld reserved, %lld in quarantine", total,
                     asked, (long long)used, (long long)quarantined);
}

/* Picking takes nothing, inserting the VM does: so one VM's addresses are picked from the gaps between those
 * it has. */
int allocate_address(struct db *db, const struct network_settings *settings, const struct vm_row *row, size_t picked, uint32_t *ret, struct error *err)
{
    struct error why;
    uint32_t first = 0;
    uint32_t last = 0;
    int64_t quarantine_ms = (int64_t)settings->lease_quarantine_s * 1000;
    network_guest_range(settings->subnet, &first, &last);
    uint32_t total = last - first + 1;
    for (bool below = true; below;) {
        uint32_t highest = first;
        below = highest_picked(row, picked, first, last, &highest);
        uint32_t from = below ? highest + 1 : first;
        if (from <= last) {
            if (leases_pick(db, from, last, quarantine_ms, ret, &why) == 0) {
                return 0;
            }
            if (why.code != ERR_IP_EXHAUSTED) {
                return error_set(err, why.code, "%s", why.message);
            }
        }
        last = highest - 1;
    }
    return exhausted(db, row->interface_count - picked, total, quarantine_ms, err);
}

/* The smallest number of at least `from` whose name no interface has. */
static int free_number(struct db *db, const char *prefix, uint32_t from, bool *ret_found, uint32_t *ret, struct error *err)
{
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt =
        statement_get(db,
                      "WITH taken (number) AS (SELECT CAST(substr(tap, length(?1) + 1) AS INTEGER) FROM interfaces"
                      " WHERE substr(tap, 1, length(?1)) = ?1), candidates (number) AS (SELECT ?2 UNION SELECT number + 1 FROM taken)"
                      " SELECT min(number) AS lowest FROM candidates WHERE number BETWEEN ?2 AND ?3 AND number NOT IN (SELECT number FROM taken)",
                      err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, prefix);
    (void)sqlite3_bind_int64(stmt, 2, from);
    (void)sqlite3_bind_int64(stmt, 3, TAP_NUMBER_MAX);
    if (statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret_found = !column_is_null(stmt, "lowest");
    *ret = (uint32_t)column_int(stmt, "lowest");
    return 0;
}

static int name_is_taken(struct db *db, const struct vm_row *row, size_t index, const char *name, bool *ret, struct error *err)
{
    for (size_t i = 0; i < row->interface_count; i++) {
        if (i != index && strcmp(row->interfaces[i].tap, name) == 0) {
            *ret = true;
            return 0;
        }
    }
    DB_LOCKED(db);
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT 1 FROM interfaces WHERE tap = ?", err);
    if (stmt == NULL) {
        return -1;
    }
    statement_bind_text(stmt, 1, name);
    return statement_gives_row(db, stmt, ret, err);
}

int allocate_tap(struct db *db, const struct network_settings *settings, struct vm_row *row, size_t index, struct error *err)
{
    enum { FIRST = 2 };
    uint32_t number = row->interfaces[index].address - settings->subnet.address;
    bool found = number >= FIRST && number <= TAP_NUMBER_MAX;
    for (bool from_start = false;;) {
        char name[2 * INTERFACE_NAME_MAX];
        bool taken = true;
        (void)snprintf(name, sizeof name, "%s%u", settings->tap_prefix, number);
        if (found && name_is_taken(db, row, index, name, &taken, err) != 0) {
            return -1;
        }
        if (!taken) {
            memcpy(row->interfaces[index].tap, name, INTERFACE_NAME_MAX - 1); /* the prefix leaves room for the number */
            row->interfaces[index].tap[INTERFACE_NAME_MAX - 1] = '\0';
            return 0;
        }
        if (!found && from_start) {
            return error_set(err, ERR_TOO_MANY_REQUESTS, "there are more TAPs than names for them");
        }
        from_start = from_start || !found;
        if (free_number(db, settings->tap_prefix, found ? number + 1 : FIRST, &found, &number, err) != 0) {
            return -1;
        }
    }
}
