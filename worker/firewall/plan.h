/* The planner of the firewall's policies: plan = diff(wanted, seen), as data. Pure. */
#ifndef SMARTVM_WORKER_FIREWALL_PLAN_H
#define SMARTVM_WORKER_FIREWALL_PLAN_H

#include "host/nft/policy.h"
#include "worker/firewall/wanted.h"

enum { FIREWALL_FOUND_MAX = 256 };

struct firewall_plan {
    bool empty;
    char found[FIREWALL_FOUND_MAX];  /* the first difference in words; "" when there is none */
    struct nft_policy_change change; /* refers to `wanted` and to what follows, all owned */
    struct nft_policy_vm *vms;
    const struct address_set **refill;
    char (*remove_names)[ADDRESS_SET_NAME_MAX];
    const char **remove_sets;
    struct nft_policy_element *remove_elements;
};

/* *ret refers to `wanted`, which has to live as long. Error: OUT_OF_MEMORY. */
int firewall_plan_make(const struct firewall_wanted *wanted, const struct nft_policies_seen *seen, struct firewall_plan *ret, struct error *err);
void firewall_plan_free(struct firewall_plan *plan); /* harmless on zeroes */
#define AUTO_FIREWALL_PLAN __attribute__((cleanup(firewall_plan_free))) struct firewall_plan

#endif
