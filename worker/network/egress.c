/*
 * The tunnel that guests leave by, where one is wanted. The firewall refuses every link that is not in its set `uplink` (chain from_guest), whatever the
 * routes say, so what network_uplinks() says of it holds without the tunnel and its routes, too.
 */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/wireguard.h"
#include "worker/border/wanted.h"
#include "worker/network/work.h"

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

/*
 * Where it can't be read what was wanted, guests leave by nothing at all until it can: their own links may not be what was meant. The rest of the network
 * goes on. What is wrong is told by the key "wireguard", which fails.
 */
static int close_or_fail(struct network_work *work, bool is_damaged, int64_t generation, const struct error *why, struct error *err)
{
    if (!is_damaged) { /* it will be read with the next try */
        *err = *why;
        return -1;
    }
    work->egress = (struct network_egress){.generation = generation, .all = true, .tunnel_only = true};
    return 0;
}

static int take(struct network_work *work, const struct wireguard_row *row, struct error *err)
{
    AUTO_WIREGUARD config = {.managed = false};
    AUTO_JSON *document = NULL;
    struct error why = {0};
    work->egress = (struct network_egress){.generation = row->generation};
    if (!row->wanted) {
        return 0;
    }
    if (wireguard_row_document(row, &document, &why) != 0 || wireguard_load(document, NULL, &config, &why) != 0) {
        return close_or_fail(work, why.code != ERR_OUT_OF_MEMORY, row->generation, &why, err);
    }
    memcpy(work->egress.tunnel, config.interface_name, sizeof work->egress.tunnel);
    work->egress.all = config.route_all;
    work->egress.tunnel_only = config.route_all && config.fail_closed;
    work->egress.mtu = mtu_of(work, &config);
    return 0;
}

int network_egress_load(struct network_work *work, struct error *err)
{
    AUTO_WIREGUARD_ROW row = {0};
    struct error why = {0};
    if (work->wish != NULL && work->wish->tunnel_count > 0) {
        return take(work, work->wish->tunnels, err);
    }
    if (border_wireguard_get(work->worker->border, &row, &why) != 0) {
        return close_or_fail(work, why.code == ERR_ROW_DAMAGED, work->memory.egress.generation, &why, err);
    }
    return take(work, &row, err);
}

/* The generation alone says nothing: most changes are of peers. */
bool network_egress_moved(const struct network_work *work)
{
    const struct network_egress *before = &work->memory.egress;
    const struct network_egress *now = &work->egress;
    return strcmp(before->tunnel, now->tunnel) != 0 || before->all != now->all || before->tunnel_only != now->tunnel_only || before->mtu != now->mtu;
}
