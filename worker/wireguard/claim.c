/* What of the host other daemons must not use at the same time. */
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <string.h>

enum { TABLE_TEXT_MAX = 16 };

static const char *table_text(uint32_t table, char buf[TABLE_TEXT_MAX])
{
    (void)snprintf(buf, TABLE_TEXT_MAX, "%u", table);
    return buf;
}

int wireguard_claim_check_table(struct worker *worker, uint32_t table, struct error *err)
{
    char text[TABLE_TEXT_MAX];
    char user[INTERFACE_NAME_MAX];
    /* By its rules, too: they outlive a daemon, and would lead its guests by our routes. */
    if (claim_check(worker->claims, CLAIM_ROUTE_TABLE, table_text(table, text), err) != 0 ||
        route_table_user(table, worker->config->network.bridge, user, err) != 0) {
        return -1;
    }
    return user[0] == '\0'
               ? 0
               : error_set(err, ERR_IN_USE, "the routing table %u is used by the routes of %s's smartvmd: choose another `route_table`", table, user);
}

/* Ours of before may have been taken by somebody else since: then what is left of it in there is his. */
static void claim_old_tables(struct wireguard_work *work)
{
    struct wireguard_record *record = &work->record;
    char text[TABLE_TEXT_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < record->table_count; i++) {
        if (claim_take(work->worker->claims, CLAIM_ROUTE_TABLE, table_text(record->tables[i], text), 0, NULL) == 0) {
            record->tables[kept++] = record->tables[i];
        }
    }
    record->table_count = kept;
}

int wireguard_claim(struct wireguard_work *work, struct error *err)
{
    struct claims *claims = work->worker->claims;
    char text[TABLE_TEXT_MAX];
    if (work->rule_count > 0 && (wireguard_claim_check_table(work->worker, work->config.route_table, err) != 0 ||
                                 claim_take(claims, CLAIM_ROUTE_TABLE, table_text(work->config.route_table, text), 0, err) != 0)) {
        return -1;
    }
    if (work->row.wanted && work->config.managed && claim_take(claims, CLAIM_TUNNEL, work->config.interface_name, 0, err) != 0) {
        return -1;
    }
    claim_old_tables(work);
    return 0;
}

void wireguard_unclaim(struct wireguard_work *work)
{
    char text[TABLE_TEXT_MAX];
    bool has_tunnel = work->row.wanted && work->config.managed;
    claim_drop_others(work->worker->claims, CLAIM_ROUTE_TABLE, work->rule_count > 0 ? table_text(work->config.route_table, text) : NULL);
    claim_drop_others(work->worker->claims, CLAIM_TUNNEL, has_tunnel ? work->config.interface_name : NULL);
}
