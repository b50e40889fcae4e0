/*
 * Links of this host's network namespace: bridges and TAPs, by rtnetlink (libnl-3) and /dev/net/tun.
 *
 * Ownership on the host: a link is ours if, and only if, its alias (IFLA_IFALIAS) begins with "<mark>:". A
 * link of the same name without that alias is never adopted, changed or deleted (CONFLICT-like refusal in the
 * error of the caller). Every function may be called from any thread; each call opens, uses and closes its
 * own netlink socket unless said otherwise. Errors: BRIDGE_SETUP_FAILED for bridges, TAP_CREATE_FAILED for
 * TAPs, SYSTEM for the rest; the message names the operation and the link and ends with the kernel's own
 * words (NLMSGERR_ATTR_MSG when there is one).
 */
#ifndef SMARTVM_HOST_LINK_LINK_H
#define SMARTVM_HOST_LINK_LINK_H

#include "core/interface_names.h"
#include "core/ip_net.h"
#include "core/net_addr.h"

#include <stdint.h>
#include <sys/types.h>

enum { LINK_ALIAS_MAX = 256 }; /* IFALIASZ */

struct link_info {
    int index;
    char name[INTERFACE_NAME_MAX];
    char alias[LINK_ALIAS_MAX]; /* "" when there is none */
    int master;                 /* index of the bridge, or 0 */
    bool up;                    /* administratively (IFF_UP) */
    bool carrier;               /* and its other end is there, as far as the kernel knows */
    char kind[16];              /* "bridge", "tun", "wireguard", …; "" when it has none */
    unsigned mtu;
    bool is_bridge;
    bool is_tap;
    bool isolated; /* IFLA_BRPORT_ISOLATED, false when not a bridge port */
    struct mac mac;
};

/* Does the alias begin with "<mark>:"? Then the link is ours. */
bool link_alias_has_mark(const char *alias, const char *mark);

/* All links, one dump (again when it was disturbed, three times at most; a link that comes or goes at that
 * very time may then be missing or still be listed). *ret is owned by the caller (free). */
int link_list(struct link_info **ret, size_t *ret_count, struct error *err);

/* One link by name. *ret_found false when there is none. */
int link_get(const char *name, struct link_info *ret, bool *ret_found, struct error *err);

/*
 * Makes the bridge, or makes an existing bridge of ours as it should be: alias, MAC, up, this one IPv4
 * address (others that we find on it are removed), STP off, forward delay 0, multicast snooping off.
 * Idempotent. Ours is one whose alias begins as `alias` does, up to the colon, or that a crash left half-made
 * (known by its link group and MAC). A foreign link of that name: BRIDGE_SETUP_FAILED, nothing changed;
 * *ret_created tells whether it was made now. What was set up before a failure of a creation is taken back.
 */
int link_bridge_ensure(const char *name, const char *alias, struct mac mac, uint32_t address, unsigned prefix, bool *ret_created, struct error *err);

/* What a look at a link of ours found. */
enum { LINK_FOUND_MAX = 256 };
struct link_check {
    bool present; /* a link of that name is there */
    bool ours;    /* by its alias, or as it still is the link with the index `known` */
    bool marked;  /* the alias is the right one */
    int index;
    char found[LINK_FOUND_MAX]; /* in words what differs from what ensuring it would make; "" when nothing does */
};

/*
 * Looks, and changes nothing. `known` is the index under which the caller saw this link before with the right
 * alias, or 0: the kernel does not give an index twice within a boot but after 2^31 links, so a link that has
 * it and the name is the same one, even if somebody changed its alias. Without it, a link with another alias
 * is foreign: then `found` says no more than that.
 */
int link_bridge_check(const char *name, const char *alias, struct mac mac, uint32_t address, unsigned prefix, int known, struct link_check *ret,
                      struct error *err);
int link_tap_check(const char *name, const char *alias, const char *bridge, struct mac guest, int known, struct link_check *ret, struct error *err);

/* Takes a link of ours down; one that is down, gone or foreign is left as it is. */
int link_take_down(const char *name, const char *mark, bool *ret_changed, struct error *err);

/* Gives a link its alias back, if its index and name are still those. ENODEV (sys_errno) when they are not. */
int link_alias_restore(const char *name, int index, const char *alias, struct error *err);

/*
 * Makes a persistent TAP (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, one queue) that is an isolated, up port of the
 * bridge. IPv6 and ARP are off on the TAP itself (no link-local address: addr_gen_mode none). The port
 * neither learns nor takes part in the flooding of unknown unicast frames: `guest`, the MAC of the guest
 * behind it, is a static entry of the bridge's table, so what the host sends to one guest reaches no other.
 * Link-local groups (01:80:c2:00:00:0X) are bridged, so that the firewall's bridge chain sees every frame.
 * The TAP is made persistent last: a crash before that leaves nothing behind.
 * Idempotent: a TAP of that name with that alias is made as it should be. A foreign link of that name:
 * TAP_CREATE_FAILED. `owner` is the uid that may attach to it, or (uid_t)-1 for root only.
 */
int link_tap_ensure(const char *name, const char *alias, const char *bridge, struct mac guest, uid_t owner, struct error *err);

/*
 * Deletes links by name, those only whose alias begins with "<mark>:"; links that are gone already, and
 * foreign ones, are no failure. Deleting one TAP waits for an RCU grace period (about 18 ms), whatever the
 * number, so the links are first moved to a group of their own and the group is deleted with one RTM_DELLINK;
 * a group that holds anything foreign is not used (another group number is taken). Concurrent callers are
 * combined: one becomes the leader and deletes for all.
 */
int link_delete(const char *mark, const char *const *names, size_t count, struct error *err);

/*
 * A route of the main or local table that does not lead to `except_link` and stands against a bridge with the subnet `net`: one inside of it or to
 * all of it, or one of an address of the host whose network `net` is a part of. A route that is wider because it leads further (0.0.0.0/1, 10.0.0.0/8
 * by a VPN) does not. *ret_found false when there is none, else `ret_text` says "10.0.0.0/24 via eth0" of the first.
 */
int link_route_overlap(struct ipv4_net net, const char *except_link, bool *ret_found, char ret_text[64], struct error *err);

enum { LINK_NETWORKS_MAX = 65536 };

/*
 * The networks that this host is connected to: destinations of unicast routes of the main table that lead to a link without a gateway, IPv4
 * and IPv6, but for those of the links `except`. A prefix shorter than 8 is taken for half of a default route, and so is a public network
 * that somebody's route leads into one of `uplinks` (NULL: none) that is a tunnel. *ret is owned by the caller (free),
 * NULL for none; a network may be there twice. More than LINK_NETWORKS_MAX are an error.
 */
int link_networks_list(const char *const *except, size_t except_count, const struct interface_names *uplinks, struct ip_net **ret, size_t *ret_count,
                       struct error *err);

/*
 * A socket that gets readable when a link, an address, a route, a next-hop object, a routing rule, a bridge's table or one of the
 * settings that the kernel tells about (forwarding, rp_filter, proxy_arp, …: RTM_NEWNETCONF) changes, for IPv4
 * and IPv6. The kernel filters what else it tells of neighbours out of it.
 *
 * link_monitor_drain() reads all that is there. `changed` gets each link's name once: links that are new,
 * changed or deleted, and TAPs of ours (`tap_prefix`) for whatever was told of them. *ret_routes_changed is
 * about everything else. After ENOBUFS `changed` gets NULL: "anything".
 */
int link_monitor_open(int *ret_fd, struct error *err);
int link_monitor_drain(int fd, const char *tap_prefix, void (*changed)(const char *name, void *ctx), void *ctx, bool *ret_routes_changed, struct error *err);

#endif
