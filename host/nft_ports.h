/*
 * Published ports in table `inet <mark>`: maps ports_tcp and ports_udp, from a port of the host to the address and port of a guest.
 *
 *   chain prerouting_nat (nat, hook prerouting, dstnat)  not from the bridge, to an address of the host: dnat by the maps
 *   chain output_nat     (nat, hook output, dstnat)      from the host itself, to an address of its own, also 127.0.0.1: dnat by the maps
 *   chain postrouting    what leaves by the bridge with a loopback source gets the bridge's address, as no guest could answer it
 *   chain unpublished    (host/nft.h) lets in what was translated, behind all rules of a policy and before its default; chain no_uplink lets
 *                        its answers out again, by whichever interface they came in
 *
 * What comes from the bridge is never translated: guests reach each other by their own addresses, under their policies, and never by the host's.
 * The cost of a packet is one lookup, and only of the first packet of a flow. Threads and errors as in host/nft.h.
 */
#ifndef SMARTVM_HOST_NFT_PORTS_H
#define SMARTVM_HOST_NFT_PORTS_H

#include "core/net_addr.h"

#include <stddef.h>

/* Host byte order. `protocol` is IPPROTO_TCP or IPPROTO_UDP. */
struct nft_port {
    uint8_t protocol;
    uint16_t host_port;
    uint32_t address;
    uint16_t guest_port;
};

/* What the maps hold, by protocol and host port. *ret is owned by the caller (free). A missing table holds nothing. */
int nft_ports_list(const char *mark, struct nft_port **ret, size_t *ret_count, struct error *err);

/*
 * Removes and adds elements in one batch. What is removed must be there; a host port that is in both lists is changed. Whoever calls must have
 * looked at the maps, and keep others of this process from changing them meanwhile.
 */
int nft_ports_change(const char *mark, const struct nft_port *add, size_t add_count, const struct nft_port *remove,
                     size_t remove_count, struct error *err);

#endif
