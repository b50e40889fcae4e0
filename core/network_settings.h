/*
 * The settings of the network that are in force: those of the configuration, and over them what PATCH /network has changed at run time.
 * Values; pure functions.
 */
#ifndef SMARTVM_CORE_NETWORK_SETTINGS_H
#define SMARTVM_CORE_NETWORK_SETTINGS_H

#include "core/config.h"

/* What PATCH /network has set. Stored by db/network.h. */
struct network_overrides {
    bool has_subnet, has_uplink, has_masquerade, has_quarantine; /* false: what the configuration says */
    struct ipv4_net subnet;
    char uplink[INTERFACE_NAME_MAX]; /* "" for that of the default route */
    bool masquerade;
    unsigned lease_quarantine_s;
    int64_t generation; /* goes up by one with each change */
    bool damaged;       /* what is stored could not be what it says: that counts as not set */
};

struct network_settings {
    const char *bridge; /* of the configuration, which outlives this */
    struct ipv4_net subnet;
    uint32_t gateway;      /* the first address of the subnet */
    struct ip_net subnet6; /* IP_NONE: guests have no IPv6 */
    struct ip_addr gateway6;
    char uplink[INTERFACE_NAME_MAX];     /* "" for that of the default route, followed when it moves */
    char tap_prefix[INTERFACE_NAME_MAX]; /* every TAP's name begins with it */
    bool masquerade;
    unsigned lease_quarantine_s; /* seconds until a freed address is handed out again */
    int64_t generation;
};

enum {
    SUBNET_PREFIX_MIN = 1,
    SUBNET_PREFIX_MAX = 30,
    SUBNET6_PREFIX_MIN = 64,
    SUBNET6_PREFIX_MAX = 112,
    UPLINK_WORD_MAX = INTERFACE_NAME_MAX,
    LEASE_QUARANTINE_MAX_S = 365 * 24 * 3600
};

/* The word for the uplink of the default route. No interface can have that name (interface_name_check()). */
#define UPLINK_DEFAULT "default"

void network_settings_make(const struct config *config, const struct network_overrides *overrides, struct network_settings *ret);

/* ipv4_net_parse(), and a prefix of 1 to 30: gateway, broadcast and a guest need room. INVALID_SUBNET. */
int network_subnet_parse(const char *text, struct ipv4_net *ret, struct error *err);

/*
 * An IPv6 network for guests: a prefix of 64 to 112, out of fc00::/7 (unique local) or 2000::/3 (global), with room for every number of an address
 * in the IPv4 subnet. INVALID_SUBNET.
 */
int network_subnet6_parse(const char *text, struct ipv4_net subnet, struct ip_net *ret, struct error *err);
int network_subnet6_check_room(const struct ip_net *subnet6, struct ipv4_net subnet, struct error *err);
bool network_has_ipv6(const struct network_settings *settings);
bool network_subnet6_is_local(const struct ip_net *subnet6); /* unique local: nobody outside has a route to it */

/* The IPv6 address that goes with an IPv4 one of the subnet: the same number in the IPv6 network. IP_NONE when guests have none. */
struct ip_addr network_address6(const struct network_settings *settings, uint32_t address);
/* The other way round; an IPv4 address is itself. */
uint32_t network_address4(const struct network_settings *settings, const struct ip_addr *address);

/* An interface's name other than the bridge's, or "default". INVALID_INTERFACE_NAME. */
int network_uplink_check(const char *uplink, const char *bridge, struct error *err);

/*
 * What the names of all TAPs begin with: the bridge's first 9 bytes and "t"; a number of at most 5 digits follows, so that the kernel's 15 bytes are
 * kept. It depends on nothing but the bridge: the firewall's bridge chain relies on it, and a TAP outlives a change of the subnet.
 */
enum { TAP_NUMBER_MAX = 99999 };
void network_tap_prefix(const char *bridge, char *buf); /* buf[INTERFACE_NAME_MAX] */

/* Is the address one that guests of this network have? Is the name one of its TAPs' names? */
bool network_has_address(const struct network_settings *settings, uint32_t address);
bool network_has_tap(const struct network_settings *settings, const char *tap);

/* The addresses of guests: those between the gateway and the broadcast address. */
void network_guest_range(struct ipv4_net subnet, uint32_t *ret_first, uint32_t *ret_last);

#endif
