/* What a policy says of one packet. */
#include "core/policy.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static bool protocol_matches(enum policy_protocol wanted, uint8_t protocol)
{
    switch (wanted) {
    case POLICY_PROTOCOL_ALL:
        return true;
    case POLICY_PROTOCOL_TCP:
        return protocol == IPPROTO_TCP;
    case POLICY_PROTOCOL_UDP:
        return protocol == IPPROTO_UDP;
    case POLICY_PROTOCOL_ICMP:
        return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
    }
    return false;
}

static bool port_matches(const struct policy_rule *rule, uint16_t port)
{
    for (size_t i = 0; i < rule->port_count; i++) {
        if (port >= rule->ports[i].first && port <= rule->ports[i].last) {
            return true;
        }
    }
    return rule->port_count == 0;
}

/* Where an address lies relative to a network: bsearch() over a sorted set without overlaps. */
static int compare_to_net(const void *key, const void *element)
{
    const struct ip_addr *address = key;
    const struct ip_net *net = element;
    if (address->version != net->address.version) {
        return address->version < net->address.version ? -1 : 1;
    }
    if (ip_net_contains(net, address)) {
        return 0;
    }
    return memcmp(address->bytes, net->address.bytes, sizeof address->bytes);
}

static bool set_contains(const struct address_sets *sets, const char *name, const struct ip_addr *address)
{
    const struct address_set *set = address_sets_find(sets, name);
    return set != NULL && set->net_count > 0 && bsearch(address, set->nets, set->net_count, sizeof *set->nets, compare_to_net) != NULL;
}

static bool address_matches(const struct policy_rule *rule, const struct address_sets *sets, const struct ip_addr *address)
{
    for (size_t i = 0; i < rule->net_count; i++) {
        if (ip_net_contains(&rule->nets[i], address)) {
            return true;
        }
    }
    for (size_t i = 0; i < rule->set_count; i++) {
        if (set_contains(sets, rule->sets[i], address)) {
            return true;
        }
    }
    return rule->net_count == 0 && rule->set_count == 0;
}

bool policy_decide(const struct policy_direction *direction, const struct address_sets *sets, const struct policy_packet *packet, int *ret_rule)
{
    for (size_t i = 0; i < direction->rule_count; i++) {
        const struct policy_rule *rule = &direction->rules[i];
        if ((rule->host_port == 0 || rule->host_port == packet->host_port) && protocol_matches(rule->protocol, packet->protocol) &&
            port_matches(rule, packet->port) && address_matches(rule, sets, &packet->remote)) {
            *ret_rule = (int)i;
            return rule->allow;
        }
    }
    *ret_rule = POLICY_BY_DEFAULT;
    return direction->allow_by_default;
}
