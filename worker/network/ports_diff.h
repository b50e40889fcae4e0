/* What has to change so that the firewall's maps of published ports are as wanted. Pure: no system call, no clock. */
#ifndef SMARTVM_WORKER_NETWORK_PORTS_DIFF_H
#define SMARTVM_WORKER_NETWORK_PORTS_DIFF_H

#include "host/nft/ports.h"

struct ports_diff {
    struct nft_port *add, *remove; /* owned */
    size_t add_count, remove_count;
};

/*
 * Both lists by nft_port_compare(), none twice. With `only`, of those that are there only the ones that lead to these addresses (of a VM: IPv4, and
 * IPv6 or IP_NONE), or that stand where one is wanted, are judged: the rest belongs to others. A port that leads elsewhere than wanted is in both results.
 */
int ports_diff_make(const struct nft_port *there, size_t there_count, const struct nft_port *wanted, size_t wanted_count, const struct ip_addr only[2],
                    struct ports_diff *ret, struct error *err);
void ports_diff_free(struct ports_diff *diff); /* harmless on zeroes */

/* Makes a list fit for ports_diff_make(). */
void ports_sort(struct nft_port *ports, size_t count);

#endif
