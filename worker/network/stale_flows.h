/*
 * Which tracked flows would be decided otherwise if they began now: flows keep what was decided of their first packet, so a client that goes on
 * sending from one port would never see a port that was published meanwhile. Pure. Policies are judged by worker/firewall/flows.h.
 *
 *   translation  to a published port, and led elsewhere, or not led at all; led to a guest by a port that is published no more
 *   masquerade   from a guest to the outside under its own address, or under one of the host's that is not of the uplink
 *   closed       from a guest to a network that guests don't reach
 *   ended        from or to an address whose VM runs no more
 *
 * What others have translated elsewhere than to guests is theirs, and stays.
 */
#ifndef SMARTVM_WORKER_NETWORK_STALE_FLOWS_H
#define SMARTVM_WORKER_NETWORK_STALE_FLOWS_H

#include "core/ip_range.h"
#include "core/net_addr.h"
#include "host/nft/conntrack.h"
#include "host/nft/ports.h"

struct stale_flows {
    struct ip_net subnets[2];    /* of guests; version IP_NONE for none */
    bool masqueraded[2];         /* guests of that subnet appear with an address of the uplink */
    const struct ip_addr *local; /* of the host, sorted by stale_flows_sort() */
    size_t local_count;

    /* Published ports, by nft_port_compare(), none twice: those that lead somewhere, and those that led there before. */
    const struct nft_port *ports, *ports_before;
    size_t port_count, port_before_count;
    bool ports_all; /* `ports` are all that are published: whatever else is led to a guest is stale */

    bool masquerade;               /* judge it: */
    bool masquerade_off;           /* also what is masqueraded although it should not be (others may do that) */
    const struct ip_addr *uplinks; /* of the links that guests leave by, sorted */
    size_t uplink_count;

    const struct ip_range *closed; /* sorted, neither overlapping nor adjacent */
    size_t closed_count;

    const struct ip_addr *ended; /* sorted */
    size_t ended_count;
};

void stale_flows_sort(struct ip_addr *addresses, size_t count);

/* For conntrack_cut(); ctx is a struct stale_flows. */
bool stale_flows_judge(const struct conntrack_flow *flow, void *ctx);

#endif
