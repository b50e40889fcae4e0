#include "core/network_settings.h"

#include "core/limits.h"

#include <stdio.h>
#include <string.h>

void network_tap_prefix(const char *bridge, char *buf)
{
    enum { BRIDGE_BYTES = 9, DIGITS = 5 };
    _Static_assert(BRIDGE_BYTES + 1 + DIGITS < INTERFACE_NAME_MAX, "a name fits");
    _Static_assert(TAP_NUMBER_MAX < 100000 && TAP_NUMBER_MAX >= LIMIT_VMS * LIMIT_INTERFACES, "there is a number for each interface");
    (void)snprintf(buf, INTERFACE_NAME_MAX, "%.*st", BRIDGE_BYTES, bridge);
}

bool network_has_address(const struct network_settings *settings, uint32_t address)
{
    uint32_t first = 0;
    uint32_t last = 0;
    network_guest_range(settings->subnet, &first, &last);
    return address >= first && address <= last;
}

bool network_has_tap(const struct network_settings *settings, const char *tap)
{
    size_t len = strlen(settings->tap_prefix);
    return strncmp(tap, settings->tap_prefix, len) == 0 && tap[len] >= '0' && tap[len] <= '9';
}

void network_guest_range(struct ipv4_net subnet, uint32_t *ret_first, uint32_t *ret_last)
{
    uint32_t broadcast = subnet.address | ~ipv4_mask(subnet.prefix);
    *ret_first = subnet.address + 2;
    *ret_last = broadcast - 1;
}

void network_settings_make(const struct config *config, const struct network_overrides *overrides, struct network_settings *ret)
{
    const char *uplink = overrides->has_uplink ? overrides->uplink : config->network.uplink;
    memset(ret, 0, sizeof *ret);
    ret->bridge = config->network.bridge;
    ret->subnet = overrides->has_subnet ? overrides->subnet : config->network.subnet;
    ret->gateway = ret->subnet.address + 1;
    ret->subnet6 = config->network.ipv6_subnet;
    ret->gateway6 = network_address6(ret, ret->gateway);
    (void)snprintf(ret->uplink, sizeof ret->uplink, "%s", uplink != NULL ? uplink : "");
    network_tap_prefix(ret->bridge, ret->tap_prefix);
    ret->masquerade = overrides->has_masquerade ? overrides->masquerade : config->network.masquerade;
    ret->lease_quarantine_s = overrides->has_quarantine ? overrides->lease_quarantine_s : config->network.lease_quarantine_s;
    ret->generation = overrides->generation;
}

int network_subnet_parse(const char *text, struct ipv4_net *ret, struct error *err)
{
    struct ipv4_net net;
    if (ipv4_net_parse(text, &net, err) != 0) {
        return -1;
    }
    if (net.prefix < SUBNET_PREFIX_MIN || net.prefix > SUBNET_PREFIX_MAX) {
        return error_set(err, ERR_INVALID_SUBNET, "the prefix of '%s' must be from %d to %d", text, (int)SUBNET_PREFIX_MIN, (int)SUBNET_PREFIX_MAX);
    }
    *ret = net;
    return 0;
}

int network_subnet6_check_room(const struct ip_net *subnet6, struct ipv4_net subnet, struct error *err)
{
    char text6[IP_NET_TEXT_MAX];
    char text[CIDR_TEXT_MAX];
    if (subnet6->address.version == IP_NONE || 128U - subnet6->prefix >= 32U - subnet.prefix) {
        return 0;
    }
    return error_set(err, ERR_INVALID_SUBNET, "the IPv6 subnet %s is too small for the addresses of %s: each guest's number there is its number here",
                     ip_net_format(subnet6, text6), ipv4_net_format(subnet, text));
}

bool network_subnet6_is_local(const struct ip_net *subnet6)
{
    return (subnet6->address.bytes[0] & 0xfe) == 0xfc;
}

int network_subnet6_parse(const char *text, struct ipv4_net subnet, struct ip_net *ret, struct error *err)
{
    struct ip_net net;
    if (ip_net_parse(text, ERR_INVALID_SUBNET, &net, err) != 0) {
        return -1;
    }
    if (net.address.version != IP_V6 || net.prefix < SUBNET6_PREFIX_MIN || net.prefix > SUBNET6_PREFIX_MAX) {
        return error_set(err, ERR_INVALID_SUBNET, "'%s' is not an IPv6 network with a prefix from %d to %d", text, (int)SUBNET6_PREFIX_MIN,
                         (int)SUBNET6_PREFIX_MAX);
    }
    if (!network_subnet6_is_local(&net) && net.address.bytes[0] >> 5 != 1) {
        return error_set(err, ERR_INVALID_SUBNET, "'%s' is neither unique local (fc00::/7) nor global (2000::/3)", text);
    }
    if (network_subnet6_check_room(&net, subnet, err) != 0) {
        return -1;
    }
    *ret = net;
    return 0;
}

bool network_has_ipv6(const struct network_settings *settings)
{
    return settings->subnet6.address.version == IP_V6;
}

struct ip_addr network_address6(const struct network_settings *settings, uint32_t address)
{
    struct ip_addr result = settings->subnet6.address;
    uint32_t number = address - settings->subnet.address;
    for (int i = 15; i >= 12 && network_has_ipv6(settings); i--, number >>= 8) {
        result.bytes[i] = (uint8_t)(result.bytes[i] | (number & 0xff));
    }
    return result;
}

uint32_t network_address4(const struct network_settings *settings, const struct ip_addr *address)
{
    const uint8_t *bytes = address->version == IP_V6 ? address->bytes + 12 : address->bytes;
    const uint8_t *base = settings->subnet6.address.bytes + 12;
    const uint32_t number = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    const uint32_t first = (uint32_t)base[0] << 24 | (uint32_t)base[1] << 16 | (uint32_t)base[2] << 8 | base[3];
    return address->version == IP_V6 ? settings->subnet.address + (number - first) : number;
}

int network_uplink_check(const char *uplink, const char *bridge, struct error *err)
{
    if (strcmp(uplink, UPLINK_DEFAULT) == 0) {
        return 0;
    }
    if (interface_name_check(uplink, err) != 0) {
        return -1;
    }
    return strcmp(uplink, bridge) != 0 ? 0 : error_set(err, ERR_INVALID_INTERFACE_NAME, "%s is the bridge of the guests, and no way out of the host", bridge);
}
