/* IPv6 for guests, where it is chosen: the bridge's address, and forwarding. */
#include "core/cleanup.h"
#include "db/facts.h"
#include "host/bridge_ipv6.h"
#include "worker/network_work.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char fact[] = "forwarded6_uplink";

static const struct ip_addr *wanted_address(const struct network_work *work)
{
    return network_has_ipv6(&work->settings) ? &work->settings.gateway6 : NULL;
}

int network_ipv6_observe(struct network_work *work, struct error *err)
{
    struct network_observed *seen = &work->observed;
    AUTO_FREE char *recorded = NULL;
    _Static_assert((int)BRIDGE_IPV6_FOUND_MAX <= (int)NETWORK_FOUND_MAX, "what the driver says fits");
    seen->ipv6_wanted = network_has_ipv6(&work->settings);
    /* A foreign bridge is left alone. */
    if ((work->bridge_index != 0 || !seen->bridge_present) &&
        bridge_ipv6_check(work->bridge, wanted_address(work), work->settings.subnet6.prefix, seen->ipv6_found, err) != 0) {
        return -1;
    }
    (void)ipv6_forwarding_get(work->bridge, &seen->bridge_forwards6, NULL);
    if (seen->uplink_present) {
        (void)ipv6_forwarding_get(seen->uplink, &seen->uplink_forwards6, NULL);
    }
    if (facts_get(work->worker->db, fact, &recorded, NULL) == 0 && recorded != NULL) {
        (void)snprintf(seen->forwarded6_uplink, sizeof seen->forwarded6_uplink, "%s", recorded);
    }
    return 0;
}

int network_ipv6_set_address(struct network_work *work, struct error *err)
{
    return bridge_ipv6_ensure(work->bridge, wanted_address(work), work->settings.subnet6.prefix, err);
}

int network_ipv6_forward_uplink(struct network_work *work, struct error *err)
{
    /* On record first, as for IPv4. */
    return facts_set(work->worker->db, fact, work->observed.uplink, NULL, err) == 0
               ? ipv6_forwarding_set(work->observed.uplink, true, err)
               : -1;
}

int network_ipv6_unforward(struct network_work *work, struct error *err)
{
    struct error why = {.sys_errno = 0};
    if (ipv6_forwarding_set(work->observed.forwarded6_uplink, false, &why) != 0 && why.sys_errno != ENOENT) {
        *err = why;
        return -1;
    }
    return facts_set(work->worker->db, fact, "", NULL, err);
}
