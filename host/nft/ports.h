/*
 * Published ports in table `inet <mark>`: maps from a port of the host to the address and port of a guest.
 *
 *   map ports_tcp, ports_udp { port : ipv4 . port }      at every IPv4 address of the host
 *   map ports_at4 { proto . ipv4 . port : ipv4 . port }  at one address
 *   map ports6 { proto . port : ipv6 . port }, ports_at6 { proto . ipv6 . port : ipv6 . port }   the same of IPv6, where guests have it
 *   chain prerouting_nat (nat, hook prerouting, dstnat)  not from the bridge, to an address of the host, but not 127.0.0.0/8: dnat by the maps
 *   chain output_nat     (nat, hook output, dstnat)      from the host itself, to an address of its own, also 127.0.0.1, but not ::1: dnat by the maps
 *   chain postrouting    what leaves by the bridge with a loopback source gets the bridge's address, as no guest could answer it
 *   chain unpublished    (host/nft/nft.h) lets in what was translated, behind all rules of a policy and before its default; chain no_uplink lets
 *                        its answers out again, by whichever interface they came in
 *
 * What comes from the bridge is never translated: guests reach each other by their own addresses, under their policies, and never by the host's.
 * The cost of a packet is one lookup, and only of the first packet of a flow. Threads and errors as in host/nft/nft.h.
 */
#ifndef SMARTVM_HOST_NFT_PORTS_H
#define SMARTVM_HOST_NFT_PORTS_H

#include "core/ip_net.h"

#include <stddef.h>

/* Ports in host byte order. `protocol` is IPPROTO_TCP or IPPROTO_UDP. */
struct nft_port {
    uint8_t protocol;
    uint16_t host_port;
    struct ip_addr host;    /* where; all zeroes but the version: at every address of the host of this version */
    struct ip_addr address; /* of the guest; of the same version */
    uint16_t guest_port;
};

/* By protocol, IP version, host port and host address: no two ports that are published at once are equal. For qsort() and bsearch(). */
int nft_port_compare(const void *a, const void *b);

/* What the maps hold, by nft_port_compare(). *ret is owned by the caller (free). A missing table holds nothing. */
int nft_ports_list(const char *mark, struct nft_port **ret, size_t *ret_count, struct error *err);

/*
 * Removes and adds elements in one batch. What is removed must be there; a host port that is in both lists is changed. Whoever calls must have
 * looked at the maps, and keep others of this process from changing them meanwhile.
 */
int nft_ports_change(const char *mark, const struct nft_port *add, size_t add_count, const struct nft_port *remove, size_t remove_count, struct error *err);

#endif
