/*
 * What is wanted of the firewall's policies at one moment: the stored rows as values, beside the addresses of the VMs. Inside worker/ only.
 */
#ifndef SMARTVM_WORKER_FIREWALL_WANTED_H
#define SMARTVM_WORKER_FIREWALL_WANTED_H

#include "core/network_settings.h"
#include "core/policy.h"
#include "core/network_rows.h"

struct border;

struct firewall_vm {
    int64_t uid;
    bool present;    /* its addresses are in the firewall, so its policy has to be, too */
    bool has_policy; /* of its own */
    struct policy policy;
    struct ip_addr *addresses; /* owned */
    size_t address_count;
};

struct firewall_wanted {
    int64_t generation;
    struct policy host;
    struct address_sets sets;
    struct firewall_vm *vms; /* all that have an interface, by uid */
    size_t vm_count;
    char damage[200]; /* a stored text that is no policy: it is taken for one that denies everything; "" for none */
};

enum { FIREWALL_ADDRESSES_MAX = 2 * LIMIT_INTERFACES }; /* of a VM */

/* The addresses of an interface: IPv4, and IPv6 where it is chosen. Returns how many. */
size_t firewall_addresses(const struct network_settings *settings, uint32_t address, struct ip_addr ret[2]);

/*
 * `wish` (may be NULL): the rows that it has count instead of the stored ones. `present` (with ctx) tells of an interface whether its elements are in the firewall.
 * *ret must be zeroed.
 */
struct plan_wish;
int firewall_wanted_load(struct border *border, const struct plan_wish *wish, const struct network_settings *settings, const struct interface_row *interfaces,
                         size_t count, bool (*present)(const struct interface_row *row, void *ctx), void *ctx, struct firewall_wanted *ret, struct error *err);
void firewall_wanted_free(struct firewall_wanted *wanted); /* harmless on zeroes */
#define AUTO_FIREWALL_WANTED __attribute__((cleanup(firewall_wanted_free))) struct firewall_wanted

/* A stored text as a policy. One that is damaged denies everything, and *ret_damaged is set. Fails when out of memory. */
int firewall_policy_read(const char *text, struct policy *ret, bool *ret_damaged, struct error *err);

#endif
