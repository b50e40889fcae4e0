/*
 * By which links guests leave the host: the uplink, and the tunnel where one is wanted; the tunnel alone where nothing may leave beside it. The
 * firewall refuses every other one, whatever the routes say (chain from_guest), so this holds without the tunnel and its routes, too.
 */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/wireguard.h"
#include "db/wireguard.h"
#include "worker/network_work.h"

#include <stdio.h>
#include <string.h>

static unsigned mtu_of(const struct network_work *work, const struct wireguard *config)
{
    if (config->managed) {
        return wireguard_mtu(config);
    }
    for (size_t i = 0; i < work->link_count; i++) {
        if (strcmp(work->links[i].name, config->interface_name) == 0) {
            return work->links[i].mtu;
        }
    }
    return 0;
}

int network_egress_load(struct network_work *work, struct error *err)
{
    AUTO_WIREGUARD_ROW row = {0};
    AUTO_WIREGUARD config = {.managed = false};
    AUTO_JSON *document = NULL;
    if (wireguard_row_get(work->worker->db, &row, err) != 0) {
        return -1;
    }
    work->egress = (struct network_egress){.generation = row.generation};
    if (!row.wanted) {
        return 0;
    }
    if (json_parse(row.document, strlen(row.document), &document, err) != 0 || wireguard_load(document, NULL, &config, err) != 0) {
        return -1;
    }
    memcpy(work->egress.tunnel, config.interface_name, sizeof work->egress.tunnel);
    work->egress.all = config.route_all;
    work->egress.tunnel_only = config.route_all && config.fail_closed;
    work->egress.mtu = mtu_of(work, &config);
    return 0;
}

/* The generation alone says nothing: most changes are of peers. */
bool network_egress_moved(const struct network_work *work)
{
    const struct network_egress *before = &work->memory.egress;
    const struct network_egress *now = &work->egress;
    return strcmp(before->tunnel, now->tunnel) != 0 || before->all != now->all ||
           before->tunnel_only != now->tunnel_only || before->mtu != now->mtu;
}

size_t network_uplinks(const struct network_work *work, const char *ret[NETWORK_UPLINKS_MAX])
{
    size_t count = 0;
    if (work->egress.tunnel[0] != '\0') {
        ret[count++] = work->egress.tunnel;
    }
    if (work->observed.uplink[0] != '\0' && !work->egress.tunnel_only && strcmp(work->observed.uplink, work->egress.tunnel) != 0) {
        ret[count++] = work->observed.uplink;
    }
    return count;
}

static bool holds(char (*names)[INTERFACE_NAME_MAX], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

int network_uplinks_observe(struct network_work *work, struct error *err)
{
    const char *wanted[NETWORK_UPLINKS_MAX];
    size_t wanted_count = network_uplinks(work, wanted);
    AUTO_FREE char(*seen)[INTERFACE_NAME_MAX] = NULL;
    size_t count = 0;
    if (nft_uplinks_list(work->worker->mark, &seen, &count, err) != 0) {
        return -1;
    }
    bool same = count == wanted_count;
    for (size_t i = 0; i < wanted_count; i++) {
        same = same && holds(seen, count, wanted[i]);
    }
    if (!same) {
        (void)snprintf(work->observed.uplinks_found, sizeof work->observed.uplinks_found, "set uplink holds %s%s, not %s%s%s",
                       count > 0 ? seen[0] : "nothing", count > 1 ? " and others" : "", wanted_count > 0 ? wanted[0] : "nothing",
                       wanted_count > 1 ? " and " : "", wanted_count > 1 ? wanted[1] : "");
    }
    return 0;
}
