/*
 * One direction of a firewall policy as the rules of its chain: pure data, made without a system call, that host/nft/policy_put.c writes as
 * messages and that a test can look at. A rule of a policy becomes one line or several, one behind the other and with the same verdict: one
 * for each kind of address (IPv4 networks, IPv6 networks, each named set of either version) and, for "icmp", of protocol. Short lists are
 * spread over lines, too: each anonymous set costs the kernel a walk over all sets of the table, when it is made, so that some thousand of
 * them (a list in the policy of each VM) would take a second.
 *
 * The last line is the default. Where the default of ingress is to deny, published ports (packets that came here by a port of the host) are
 * let through all the same: behind all rules, which may still close them.
 */
#ifndef SMARTVM_HOST_NFT_POLICY_LINES_H
#define SMARTVM_HOST_NFT_POLICY_LINES_H

#include "core/ip_range.h"
#include "core/policy.h"

enum { NFT_POLICY_LINES_SPREAD = 8 }; /* lines at most that the lists of addresses and ports of one kind are spread over */

struct nft_policy_line {
    int rule; /* number in the policy, or POLICY_BY_DEFAULT */
    bool allow;
    bool but_published;      /* denied, but for packets to a published port */
    uint8_t version;         /* enum ip_version; IP_NONE: both */
    struct ip_range *ranges; /* the other end's address is in one of these; none: every address of the version. Owned. */
    size_t range_count;
    const char *set;          /* it is in this named set of addresses, or NULL; the policy's */
    uint8_t protocol;         /* IPPROTO_…; 0: every */
    uint16_t host_port;       /* it came by this published port of the host; 0: whatever way it came */
    struct port_range *ports; /* sorted, neither overlapping nor adjacent; none: every port. Owned. */
    size_t port_count;
};

struct nft_policy_lines {
    struct nft_policy_line *lines;
    size_t count;
    uint64_t digest; /* tells one list from another, and from what other versions of the program made of the same policy */
};

/* A rule's name of a set that is not in `sets` matches nothing. The result refers to names in `direction`. Error: OUT_OF_MEMORY. */
int nft_policy_lines_make(const struct policy_direction *direction, enum policy_direction_name name, const struct address_sets *sets,
                          struct nft_policy_lines *ret, struct error *err);
void nft_policy_lines_free(struct nft_policy_lines *lines); /* harmless on zeroes */

#define AUTO_NFT_POLICY_LINES __attribute__((cleanup(nft_policy_lines_free))) struct nft_policy_lines

#endif
