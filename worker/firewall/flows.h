/*
 * Which tracked flows the policies would not let begin. Pure. Flows from and to the host itself are not theirs to decide. So is a flow between
 * others, of which no end is a VM.
 */
#ifndef SMARTVM_WORKER_FIREWALL_FLOWS_H
#define SMARTVM_WORKER_FIREWALL_FLOWS_H

#include "host/nft/conntrack.h"
#include "worker/firewall/wanted.h"

struct firewall_flows {
    const struct firewall_wanted *wanted;
    struct firewall_address *addresses; /* of VMs, sorted; owned */
    size_t address_count;
    struct ip_addr *local; /* of the host, sorted; owned */
    size_t local_count;
};

/* Takes over `local` (also on failure); *ret refers to `wanted`. Error: OUT_OF_MEMORY. */
int firewall_flows_make(const struct firewall_wanted *wanted, struct ip_addr *local, size_t local_count, struct firewall_flows *ret, struct error *err);
void firewall_flows_free(struct firewall_flows *flows); /* harmless on zeroes */

/* For conntrack_cut(); ctx is a struct firewall_flows. */
bool firewall_flows_forbid(const struct conntrack_flow *flow, void *ctx);

#endif
