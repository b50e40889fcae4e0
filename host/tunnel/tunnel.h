/*
 * The link of a tunnel that is ours: its alias, MTU, addresses, and that it is up; by rtnetlink. Marked, found and refused as the links of
 * host/link/link.h are. Error: WIREGUARD_SETUP_FAILED. Any thread.
 */
#ifndef SMARTVM_HOST_TUNNEL_TUNNEL_H
#define SMARTVM_HOST_TUNNEL_TUNNEL_H

#include "core/wireguard.h"
#include "host/link/link.h"

struct tunnel_wanted {
    const char *name;
    const char *alias;
    const struct wireguard_address *addresses; /* all that it has; without a route to their network, see tunnel_ensure() */
    size_t address_count;
    unsigned mtu;
    bool has_our_process; /* its userspace implementation is ours: then the link is, too, even if a crash left it unmarked */
};

/* Makes a link of the kernel's WireGuard. sys_errno EOPNOTSUPP when the kernel has none; one that is there is no failure. */
int tunnel_create(const struct tunnel_wanted *wanted, struct error *err);

/* As link_bridge_check(). */
int tunnel_check(const struct tunnel_wanted *wanted, int known, struct link_check *ret, struct error *err);

/*
 * Makes a link of ours as wanted. Its addresses come without routes to their networks (IFA_F_NOPREFIXROUTE), so that what the host itself sends
 * stays where it went before. A link that is not ours is refused, and nothing is changed.
 */
int tunnel_ensure(const struct tunnel_wanted *wanted, struct error *err);

#endif
