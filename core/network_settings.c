#include "core/network_settings.h"

#include <stdio.h>
#include <string.h>

void network_tap_prefix(const char *bridge, unsigned subnet_prefix, char *buf)
{
    enum { BRIDGE_BYTES = 9 };
    int digits = snprintf(NULL, 0, "%u", ~ipv4_mask(subnet_prefix));
    int room = INTERFACE_NAME_MAX - 2 - digits;
    (void)snprintf(buf, INTERFACE_NAME_MAX, "%.*st", room < BRIDGE_BYTES ? room : BRIDGE_BYTES, bridge);
}

void network_guest_range(struct ipv4_net subnet, uint32_t *ret_first, uint32_t *ret_last)
{
    uint32_t broadcast = subnet.address | ~ipv4_mask(subnet.prefix);
    *ret_first = subnet.address + 2;
    *ret_last = broadcast - 1;
}

void network_settings_make(const struct config *config, const struct network_overrides *overrides,
                           struct network_settings *ret)
{
    const char *uplink = overrides->has_uplink ? overrides->uplink : config->network.uplink;
    memset(ret, 0, sizeof *ret);
    ret->bridge = config->network.bridge;
    ret->subnet = overrides->has_subnet ? overrides->subnet : config->network.subnet;
    ret->gateway = ret->subnet.address + 1;
    (void)snprintf(ret->uplink, sizeof ret->uplink, "%s", uplink != NULL ? uplink : "");
    network_tap_prefix(ret->bridge, ret->subnet.prefix, ret->tap_prefix);
    ret->masquerade = overrides->has_masquerade ? overrides->masquerade : config->network.masquerade;
    ret->lease_quarantine_s =
        overrides->has_quarantine ? overrides->lease_quarantine_s : config->network.lease_quarantine_s;
    ret->generation = overrides->generation;
}

int network_subnet_parse(const char *text, struct ipv4_net *ret, struct error *err)
{
    struct ipv4_net net;
    if (ipv4_net_parse(text, &net, err) != 0) {
        return -1;
    }
    if (net.prefix < SUBNET_PREFIX_MIN || net.prefix > SUBNET_PREFIX_MAX) {
        return error_set(err, ERR_INVALID_SUBNET, "the prefix of '%s' must be from %d to %d", text, (int)SUBNET_PREFIX_MIN,
                         (int)SUBNET_PREFIX_MAX);
    }
    *ret = net;
    return 0;
}

int network_uplink_check(const char *uplink, const char *bridge, struct error *err)
{
    if (strcmp(uplink, UPLINK_DEFAULT) == 0) {
        return 0;
    }
    if (interface_name_check(uplink, err) != 0) {
        return -1;
    }
    return strcmp(uplink, bridge) != 0
               ? 0
               : error_set(err, ERR_INVALID_INTERFACE_NAME, "%s is the bridge of the guests, and no way out of the host", bridge);
}
