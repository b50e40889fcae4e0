/*
 * Ranges of addresses of either IP version: networks added up and taken away, as an interval set of a firewall holds them. Pure functions.
 */
#ifndef SMARTVM_CORE_IP_RANGE_H
#define SMARTVM_CORE_IP_RANGE_H

#include "core/ip_net.h"

#include <stddef.h>

struct ip_range {
    struct ip_addr first, last; /* of one version */
};

/*
 * Every address that is in one of `in` and in none of `out`, as ranges: IPv4 before IPv6, ascending, neither overlapping nor adjacent.
 * *ret is owned by the caller (free), not NULL even when *ret_count is 0.
 */
int ip_ranges_make(const struct ip_net *in, size_t in_count, const struct ip_net *out, size_t out_count, struct ip_range **ret, size_t *ret_count,
                   struct error *err);

/* Tells lists apart, and guards nothing. */
uint64_t ip_ranges_digest(const struct ip_range *ranges, size_t count);

/* The next address; false (and *address unchanged) behind the last one of the version. */
bool ip_addr_next(struct ip_addr *address);

#endif
