/*
 * IPv6 on the bridge of guests, where it is chosen: its address, and forwarding. Any thread. Errors: BRIDGE_SETUP_FAILED, SYSTEM.
 *
 * Forwarding is turned on for single interfaces by force_forwarding (Linux 6.17). An older kernel knows one switch for the whole host: then that is
 * turned on, and the interface goes on taking router advertisements (accept_ra 2 where it was 1), which routers else ignore, so that the host keeps
 * its own default route.
 */
#ifndef SMARTVM_HOST_LINK_BRIDGE_IPV6_H
#define SMARTVM_HOST_LINK_BRIDGE_IPV6_H

#include "core/ip_net.h"

enum { BRIDGE_IPV6_FOUND_MAX = 160 };

/*
 * `address` NULL: none is wanted. Others than the wanted one, and link-local ones, are taken off. *ret_found says in words what is not so; ""
 * when all is well. A kernel without IPv6 fails when an address is wanted.
 */
int bridge_ipv6_check(const char *bridge, const struct ip_addr *address, unsigned prefix, char ret_found[BRIDGE_IPV6_FOUND_MAX], struct error *err);
int bridge_ipv6_ensure(const char *bridge, const struct ip_addr *address, unsigned prefix, struct error *err);

int ipv6_forwarding_get(const char *interface, bool *ret, struct error *err);
/* Does the host pass on whatever comes, as somebody else wanted? false where there is no telling: an older kernel has the switch that is turned on here. */
int ipv6_forwards_everything(bool *ret, struct error *err);
/* Off: only where the kernel has the switch for one interface; else it stays, as others may need it. */
int ipv6_forwarding_set(const char *interface, bool on, struct error *err);

#endif
