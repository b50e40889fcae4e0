/*
 * The firewall: tables `inet <mark>` and `bridge <mark>` by nfnetlink (libmnl + libnftnl). Static chains are made once; a VM is nothing but
 * set elements. Every change is one batch, BEGIN … END in one sendmsg: all of it or none. The cost of a packet does not grow with the number
 * of VMs: each step is one lookup in a hash table (or, for `closed`, in a tree of the host's networks).
 *
 * inet <mark>
 *   set uplink { ifname }              the interfaces that guests may leave by
 *   set entries, entries6 { ifname }   the interfaces that forward IPv4, or IPv6, for guests alone: what else would be passed on is dropped
 *   set closed4, closed6 { interval }  what guests don't reach: loopback, link-local, multicast, the host's other networks
 *   set open_ports { proto . port }    of the host, for guests
 *   set share1, share2, share4, share8 { ether_addr }   MACs of VMs with so many interfaces or less: each of these has that part of what the VM may have
 *   set flows { ether_addr }           dynamic, ct count: tracked flows of each interface, over all its addresses
 *   set flow_rate { ether_addr }       dynamic, limit: new flows of each interface
 *   set drops4, drops6 { address . mark } dynamic, counter: see host/nft/drops.h
 *   chain forward (filter, priority 0, policy accept)  only looks at what comes from or goes to guests:
 *       TCP that opens a connection between guests and the tunnel: its maximum segment size is lowered (host/nft/rules_tunnel.c);
 *       from a TAP itself, past the bridge: drop; from the bridge: from_guest; to the bridge: to_guest
 *   chain from_guest: to an interface that is neither in @uplink nor the bridge: drop; established: accept; chain errors; invalid: drop; chain
 *       closed; the policies of host/nft/policy.h: host_egress, that of the VM by its address, and, to another guest, chain ingress; IPv4 (and
 *       IPv6 where it is chosen): chain admitted; else drop
 *   chain to_guest: established: accept; chain errors; chain ingress; IPv4 (and IPv6 where it is chosen): accept; else drop
 *   chain ingress: host_ingress, and the policy of the VM by its address
 *   chain unpublished, where an ingress policy ends that denies by default: to a published port: return; else drop
 *   chain input (filter, priority 0, policy accept)  from a TAP itself: drop; from the bridge: guest_input
 *   chain guest_input: established: accept; chain errors; invalid: drop; echo-request and @open_ports at the gateway's address:
 *       chain admitted; else drop
 *   chain errors, for what is related to a known flow: ICMP: accept
 *   chain admitted: a flow that is in the table already: accept; by the share of the VM's interface, at most so many of flow_rate and max_flows:
 *       accept; else drop
 *   chain closed: to what is in @closed4 or @closed6: drop
 *   chain postrouting (nat, srcnat, policy accept)  saddr <subnet> and oifname in @uplink: masquerade.
 *   and published ports: host/nft/ports.h
 * bridge <mark>
 *   set guest4, guest6 { ifname . ether_addr . address }, guest_mac { ifname . ether_addr }   what belongs to which TAP
 *   set rate_arp, rate_nd { ifname }   dynamic, limit: neighbour discovery towards the host
 *   set drops { ifname . mark }        dynamic, counter: see host/nft/drops.h
 *   chain prerouting (filter, priority -300, policy accept)  iifname not "<tap_prefix>*": accept; for another MAC than the bridge's
 *       or a group: drop; then by the type of the frame: IPv4 without
 *       options whose (iifname, ether saddr, ip saddr) is in guest4, not from a DHCP server's port: accept; ARP whose (iifname, sender MAC,
 *       sender IP) is in guest4 and whose ether saddr is the sender MAC: accept, at a rate; IPv6 alike, where it is chosen; all else: drop,
 *       counted by its reason.
 *
 * Every rule carries its name in its userdata as a comment (NFTNL_UDATA_RULE_COMMENT), so that observation
 * can say which is missing. Any thread may call; they take turns on one socket that stays open (see
 * host/nft/batch.h: a socket per call would make each removal wait some 15 ms). Error: FIREWALL_SETUP_FAILED,
 * naming the message of the batch that the kernel refused; sys_errno ENOENT when the tables are not there.
 */
#ifndef SMARTVM_HOST_NFT_NFT_H
#define SMARTVM_HOST_NFT_NFT_H

#include "core/config.h"
#include "core/ip_range.h"
#include "core/net_addr.h"
#include "host/nft/policy.h"
#include "host/nft/ports.h"

struct nft_base {
    const char *mark;   /* name of both tables */
    const char *bridge; /* interface name */
    struct mac bridge_mac;
    const char *tap_prefix; /* every TAP of ours begins with it */
    struct ipv4_net subnet;
    uint32_t gateway;
    bool masquerade;
    struct ip_net subnet6; /* these three only with ipv6 */
    struct ip_addr gateway6;
    bool masquerade6;
    bool ipv6;                            /* chosen; else every IPv6 packet of a guest is dropped */
    uint32_t max_flows;                   /* of each VM: tracked at once, and begun at once */
    uint32_t flow_rate;                   /* of each VM: begun in a second, after that */
    const char *tunnel;                   /* by which guests leave; NULL for none */
    bool tunnel_only;                     /* by nothing else, not even answers of published ports */
    unsigned tunnel_mtu;                  /* bytes; TCP's segments are made to fit. 0: not known, nothing is changed */
    const struct config_port *open_ports; /* of the host, that guests may reach at the gateway's address */
    size_t open_port_count;
    const struct ip_range *closed; /* that guests don't reach; sorted, neither overlapping nor adjacent (core/ip_range.h) */
    size_t closed_count;
    const struct nft_policies *policies; /* NULL: the default ones, see core/policy.h */
    const struct nft_port *ports;        /* published, when the tables are made; afterwards by nft_ports_change() */
    size_t port_count;
};

struct nft_guest {
    char tap[INTERFACE_NAME_MAX];
    struct mac mac;
    uint32_t address;
    /* Network byte order; all zeroes for none. With one, the link-local address of the MAC (EUI-64) is the guest's, too. */
    uint8_t address6[16];
    uint32_t interfaces; /* of the VM: they share what it may have of flows. 0 counts as 1 */
};

/*
 * Are tables, chains, sets and all rules as `base` wants them? Compares names, flags, hooks and the rule
 * comments (which carry a version of the rule set and a digest of `base`), not expressions. The first
 * difference is told in words ("chain forward of table inet is gone"); "" when there is none.
 */
enum { NFT_FOUND_MAX = 192 };
int nft_base_check(const struct nft_base *base, char ret_found[NFT_FOUND_MAX], struct error *err);

/*
 * Makes both tables new in one transaction (delete when there, add, chains, sets, rules, and the elements
 * given), so that there is no moment without protection. Idempotent.
 */
int nft_base_apply(const struct nft_base *base, const char *const *uplinks, size_t uplink_count, const struct nft_guest *guests, size_t guest_count,
                   struct error *err);

/* Deletes both tables; none is no failure. */
int nft_base_remove(const char *mark, struct error *err);

/* The elements of set uplink. *ret: array of names, owned by the caller (free). A missing table gives none.
 */
int nft_uplinks_list(const char *mark, char (**ret)[INTERFACE_NAME_MAX], size_t *ret_count, struct error *err);
int nft_uplinks_replace(const char *mark, const char *const *uplinks, size_t count, struct error *err);

/* The same of sets entries and entries6: interfaces from which the host passes on nothing of that IP version (IP_V4, IP_V6) but what goes to guests. */
int nft_entries_list(const char *mark, uint8_t version, char (**ret)[INTERFACE_NAME_MAX], size_t *ret_count, struct error *err);
int nft_entries_replace(const char *mark, uint8_t version, const char *const *entries, size_t count, struct error *err);

/* Do sets closed4 and closed6 hold just these ranges? A missing table: no. */
int nft_closed_check(const char *mark, const struct ip_range *closed, size_t count, bool *ret_same, struct error *err);
int nft_closed_replace(const char *mark, const struct ip_range *closed, size_t count, struct error *err);

/*
 * In what the elements of all guests differ from those of `wanted`. `guest` is the number of the one that misses
 * an element, NFT_GUEST_NONE for an element that none of them has; `words` like "svt1 172.30.0.2 in set guest4".
 * *ret must be zeroed. A missing table has no elements.
 */
#define NFT_GUEST_NONE SIZE_MAX
struct nft_guest_difference {
    size_t guest;
    char words[64];
};
struct nft_guest_differences {
    struct nft_guest_difference *items; /* owned */
    size_t count;
};
void nft_guest_differences_free(struct nft_guest_differences *differences);
int nft_guests_compare(const char *mark, const struct nft_guest *wanted, size_t count, struct nft_guest_differences *ret, struct error *err);
/* Adds what is missing, and removes what is one too many, in one batch. */
int nft_guests_restore(const char *mark, const struct nft_guest *wanted, size_t count, struct error *err);

/* Adds and removes elements in one batch. Adding one that is there and removing one that is gone are no
 * failures. What is in both lists is there afterwards. About 20 us for one element.
 * `policies` (NULL for none) is changed in the same batch: a VM's policy is there with its element, and goes with it. */
int nft_guests_change(const char *mark, const struct nft_guest *add, size_t add_count, const struct nft_guest *remove, size_t remove_count,
                      const struct nft_policy_change *policies, struct error *err);

/* A socket that gets readable when nftables changes (NFNLGRP_NFTABLES); drain tells whether one of our tables
 * (by mark) was concerned by somebody else's change (port id other than those of this process's own batches,
 * as well as possible), and whether chains, rules or tables of others have changed. */
int nft_monitor_open(int *ret_fd, struct error *err);
int nft_monitor_drain(int fd, const char *mark, bool *ret_concerned, bool *ret_foreign, struct error *err);

#endif
