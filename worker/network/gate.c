/* The lock outside of nftables (host/gate/gate.h) around the guests' bridge. */
#include "worker/network/work.h"

#include <stdio.h>

static struct gate gate_of(const struct network_work *work)
{
    return (struct gate){.bridge = work->bridge, .subnet = work->settings.subnet, .ipv6 = network_has_ipv6(&work->settings)};
}

int network_gate_observe(struct network_work *work, struct error *err)
{
    const struct gate gate = gate_of(work);
    struct gate_seen seen;
    _Static_assert((int)GATE_FOUND_MAX <= (int)NETWORK_FOUND_MAX, "what the driver says fits");
    if (work->bridge_index == 0) {
        return 0; /* not there, or foreign */
    }
    if (gate_check(&gate, &seen, err) != 0) {
        return -1;
    }
    (void)snprintf(work->observed.gate_found, sizeof work->observed.gate_found, "%s", seen.found);
    (void)snprintf(work->obstacles.no_gate, sizeof work->obstacles.no_gate, "%s", seen.missing);
    (void)snprintf(work->obstacles.open_checksums, sizeof work->obstacles.open_checksums, "%s", seen.unchecked);
    return 0;
}

int network_gate_apply(struct network_work *work, struct error *err)
{
    const struct gate gate = gate_of(work);
    return gate_apply(&gate, err);
}
