/*
 * Why a guest's packet was dropped, and how often: counters per VM and reason that the kernel keeps in two dynamic sets. The rule that drops
 * puts the reason's number into the packet's mark and goes to chain `dropped`, which counts under (TAP, reason) in the bridge table and under
 * (source address, reason) in the inet table: one hash lookup, whatever the number of VMs. An element comes with the first dropped packet,
 * and goes with the VM's other elements (nft_guests_change()) or when the tables are made new: a counter tells about the time since then.
 */
#ifndef SMARTVM_HOST_NFT_DROPS_H
#define SMARTVM_HOST_NFT_DROPS_H

#include "core/net_addr.h"

/* The numbers are seen in `nft list set`; a new reason goes to the end of its part. 0 is no reason. */
enum nft_drop_reason {
    /* at the TAP: table bridge, set `drops` */
    NFT_DROP_VLAN = 1,       /* 802.1Q, 802.1ad or 0x9100 tag */
    NFT_DROP_ETHER_TYPE,     /* neither IPv4, ARP nor IPv6 */
    NFT_DROP_SOURCE_MAC,     /* not the guest's */
    NFT_DROP_SOURCE_ADDRESS, /* not the guest's, IPv4 or IPv6 */
    NFT_DROP_ARP_SENDER,     /* claims another's MAC or address */
    NFT_DROP_ARP_RATE,       /* more ARP than NFT_NEIGHBOUR_RATE */
    NFT_DROP_ND_SENDER,      /* neighbour discovery that claims another's address or MAC */
    NFT_DROP_ND_RATE,
    NFT_DROP_ROUTER_ADVERTISEMENT, /* and redirects */
    NFT_DROP_DHCP_SERVER,          /* a DHCP or DHCPv6 server's reply */
    NFT_DROP_IPV6,                 /* while IPv6 is not chosen */
    NFT_DROP_IP_OPTIONS,           /* IPv4 with options */
    NFT_DROP_MALFORMED,            /* short, or lengths that don't agree; ICMPv6 in fragments */
    NFT_DROP_DESTINATION_MAC,      /* neither the bridge's nor a group's: for another guest, or for what else is on the bridge */
    NFT_DROP_TAP_COUNT_,
    /* past the bridge: table inet, sets `drops4` and `drops6` */
    NFT_DROP_NO_UPLINK = 32, /* the way leads to an interface that guests may not leave by */
    NFT_DROP_INVALID_FLOW,   /* belongs to no flow and can't begin one */
    NFT_DROP_FLOW_LIMIT,     /* more flows of the VM at once than max_flows, or more new ones than flow_rate */
    NFT_DROP_HOST_NETWORK,   /* link-local, loopback, multicast, and the host's other networks */
    NFT_DROP_HOST_PORT,      /* the host itself */
    NFT_DROP_COUNT_
};

enum { NFT_NEIGHBOUR_RATE = 50, NFT_NEIGHBOUR_BURST = 100 }; /* packets a second of each TAP, for ARP and for neighbour discovery */

/* "source_mac", as the API says it; NULL for what is no reason. */
const char *nft_drop_name(unsigned reason);

struct nft_guest;

struct nft_drops {
    uint64_t packets[NFT_DROP_COUNT_]; /* by reason */
};

/*
 * The counters of one guest, IPv4 and IPv6 together. Asks for each by its key, so the cost (some 100 us) does not grow with the number
 * of VMs. Without tables, or before anything was dropped, all are 0. Any thread. Error: FIREWALL_SETUP_FAILED.
 */
int nft_drops_get(const char *mark, const struct nft_guest *guest, struct nft_drops *ret, struct error *err);

#endif
