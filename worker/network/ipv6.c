/* IPv6 for guests, where it is chosen: the bridge's address, and forwarding. */
#include "host/link/bridge_ipv6.h"
#include "worker/memory.h"
#include "worker/network/work.h"

#include <stdio.h>

static const struct ip_addr *wanted_address(const struct network_work *work)
{
    return network_has_ipv6(&work->settings) ? &work->settings.gateway6 : NULL;
}

int network_ipv6_observe(struct network_work *work, struct error *err)
{
    struct network_observed *seen = &work->observed;
    _Static_assert((int)BRIDGE_IPV6_FOUND_MAX <= (int)NETWORK_FOUND_MAX, "what the driver says fits");
    seen->ipv6_wanted = network_has_ipv6(&work->settings);
    /* A foreign bridge is left alone. */
    if ((work->bridge_index != 0 || !seen->bridge_present) &&
        bridge_ipv6_check(work->bridge, wanted_address(work), work->settings.subnet6.prefix, seen->ipv6_found, err) != 0) {
        return -1;
    }
    (void)ipv6_forwarding_get(work->bridge, &seen->bridge_forwards6, NULL);
    return network_find_idle(work, ipv6_forwarding_get, MEMORY_FORWARDED6_UPLINKS, &seen->idle6_uplinks, &seen->forwarded6_uplinks, err);
}

int network_ipv6_set_address(struct network_work *work, struct error *err)
{
    return bridge_ipv6_ensure(work->bridge, wanted_address(work), work->settings.subnet6.prefix, err);
}

int network_ipv6_forward_uplink(struct network_work *work, struct error *err)
{
    return network_forward(work, ipv6_forwarding_set, MEMORY_FORWARDED6_UPLINKS, &work->observed.idle6_uplinks, &work->observed.forwarded6_uplinks, err);
}

int network_ipv6_unforward(struct network_work *work, struct error *err)
{
    static const struct interface_names none = {.count = 0};
    return network_unforward(work, ipv6_forwarding_set, MEMORY_FORWARDED6_UPLINKS, work->observed.ipv6_wanted ? &work->observed.uplinks : &none,
                             &work->observed.forwarded6_uplinks, err);
}
