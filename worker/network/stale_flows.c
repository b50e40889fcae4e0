#include "worker/network/stale_flows.h"

#include <stdlib.h>
#include <string.h>

static int compare_addresses(const void *a, const void *b)
{
    const struct ip_addr *x = a;
    const struct ip_addr *y = b;
    return x->version != y->version ? (int)x->version - (int)y->version : memcmp(x->bytes, y->bytes, sizeof x->bytes);
}

void stale_flows_sort(struct ip_addr *addresses, size_t count)
{
    if (count > 0) {
        qsort(addresses, count, sizeof *addresses, compare_addresses);
    }
}

static bool holds(const struct ip_addr *addresses, size_t count, const struct ip_addr *address)
{
    return count > 0 && bsearch(address, addresses, count, sizeof *addresses, compare_addresses) != NULL;
}

static bool is_loopback(const struct ip_addr *address)
{
    static const uint8_t last[16] = {[15] = 1};
    return address->version == IP_V4 ? address->bytes[0] == 127 : memcmp(address->bytes, last, sizeof last) == 0;
}

static bool is_local(const struct stale_flows *judge, const struct ip_addr *address)
{
    return is_loopback(address) || holds(judge->local, judge->local_count, address);
}

/* The number of the guests' subnet that it is in; -1 for none. The gateway is the host's. */
static int guest_subnet(const struct stale_flows *judge, const struct ip_addr *address)
{
    for (int i = 0; i < 2; i++) {
        if (judge->subnets[i].address.version != IP_NONE && ip_net_contains(&judge->subnets[i], address)) {
            return is_local(judge, address) ? -1 : i;
        }
    }
    return -1;
}

static const struct nft_port *find_port(const struct nft_port *ports, size_t count, const struct conntrack_flow *flow)
{
    struct nft_port key = {.protocol = flow->protocol, .host_port = flow->asked_port, .host = flow->asked};
    const struct nft_port *found = count > 0 ? bsearch(&key, ports, count, sizeof *ports, nft_port_compare) : NULL;
    if (found != NULL || count == 0) {
        return found;
    }
    key.host = (struct ip_addr){.version = flow->asked.version}; /* at every address */
    return bsearch(&key, ports, count, sizeof *ports, nft_port_compare);
}

/* What guests send is never translated, and what is not sent to the host, or to ::1, neither. */
static bool is_led_elsewhere(const struct stale_flows *judge, const struct conntrack_flow *flow)
{
    const bool to_guest = flow->published && guest_subnet(judge, &flow->destination) >= 0;
    const bool loopback6 = flow->asked.version == IP_V6 && is_loopback(&flow->asked);
    if (guest_subnet(judge, &flow->source) >= 0 || !is_local(judge, &flow->asked) || loopback6) {
        return false;
    }
    const struct nft_port *port = find_port(judge->ports, judge->port_count, flow);
    if (port != NULL) {
        const bool as_wanted = flow->port == port->guest_port && ip_addr_equal(&flow->destination, &port->address);
        return !as_wanted && (to_guest || !flow->published);
    }
    return to_guest && (judge->ports_all || find_port(judge->ports_before, judge->port_before_count, flow) != NULL);
}

static bool is_shown_otherwise(const struct stale_flows *judge, const struct conntrack_flow *flow)
{
    const int subnet = guest_subnet(judge, &flow->source);
    const bool as_itself = ip_addr_equal(&flow->shown, &flow->source);
    if (!judge->masquerade) {
        return false;
    }
    if (subnet < 0) { /* a guest could not answer the host's loopback */
        return is_loopback(&flow->source) && as_itself && guest_subnet(judge, &flow->destination) >= 0;
    }
    if (is_local(judge, &flow->destination) || guest_subnet(judge, &flow->destination) >= 0) {
        return false;
    }
    const bool as_host = !as_itself && is_local(judge, &flow->shown);
    if (!judge->masqueraded[subnet]) {
        return judge->masquerade_off && as_host;
    }
    return as_itself || (as_host && !holds(judge->uplinks, judge->uplink_count, &flow->shown));
}

static int compare_to_range(const void *key, const void *element)
{
    const struct ip_addr *address = key;
    const struct ip_range *range = element;
    if (compare_addresses(address, &range->first) < 0) {
        return -1;
    }
    return compare_addresses(address, &range->last) > 0;
}

static bool is_closed(const struct stale_flows *judge, const struct conntrack_flow *flow)
{
    return judge->closed_count > 0 && guest_subnet(judge, &flow->source) >= 0 && !is_local(judge, &flow->destination) &&
           bsearch(&flow->destination, judge->closed, judge->closed_count, sizeof *judge->closed, compare_to_range) != NULL;
}

static bool has_ended(const struct stale_flows *judge, const struct conntrack_flow *flow)
{
    return holds(judge->ended, judge->ended_count, &flow->source) || holds(judge->ended, judge->ended_count, &flow->destination);
}

bool stale_flows_judge(const struct conntrack_flow *flow, void *ctx)
{
    const struct stale_flows *judge = ctx;
    return has_ended(judge, flow) || is_led_elsewhere(judge, flow) || is_shown_otherwise(judge, flow) || is_closed(judge, flow);
}
