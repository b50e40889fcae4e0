#include "worker/firewall/flows.h"

#include <stdlib.h>
#include <string.h>

struct firewall_address {
    struct ip_addr address; /* first, so that both lists are compared alike */
    const struct firewall_vm *vm;
};

/* Of anything that begins with an address. */
static int compare_addresses(const void *a, const void *b)
{
    const struct ip_addr *x = a;
    const struct ip_addr *y = b;
    return x->version != y->version ? (int)x->version - (int)y->version : memcmp(x->bytes, y->bytes, sizeof x->bytes);
}

int firewall_flows_make(const struct firewall_wanted *wanted, struct ip_addr *local, size_t local_count, struct firewall_flows *ret, struct error *err)
{
    size_t size = 1;
    for (size_t i = 0; i < wanted->vm_count; i++) {
        size += wanted->vms[i].address_count;
    }
    *ret = (struct firewall_flows){.wanted = wanted, .local = local, .local_count = local_count, .addresses = calloc(size, sizeof *ret->addresses)};
    if (ret->addresses == NULL) {
        firewall_flows_free(ret);
        return error_oom(err);
    }
    for (size_t i = 0; i < wanted->vm_count; i++) {
        for (size_t a = 0; a < wanted->vms[i].address_count; a++) {
            ret->addresses[ret->address_count++] = (struct firewall_address){wanted->vms[i].addresses[a], &wanted->vms[i]};
        }
    }
    qsort(ret->addresses, ret->address_count, sizeof *ret->addresses, compare_addresses);
    if (local_count > 0) {
        qsort(local, local_count, sizeof *local, compare_addresses);
    }
    return 0;
}

void firewall_flows_free(struct firewall_flows *flows)
{
    free(flows->addresses);
    free(flows->local);
    *flows = (struct firewall_flows){.wanted = NULL};
}

static const struct firewall_vm *find_vm(const struct firewall_flows *flows, const struct ip_addr *address)
{
    const struct firewall_address *found = bsearch(address, flows->addresses, flows->address_count, sizeof *found, compare_addresses);
    return found == NULL ? NULL : found->vm;
}

static bool is_local(const struct firewall_flows *flows, const struct ip_addr *address)
{
    return flows->local_count > 0 && bsearch(address, flows->local, flows->local_count, sizeof *address, compare_addresses) != NULL;
}

static bool policy_allows(const struct firewall_flows *flows, const struct policy *policy, enum policy_direction_name direction,
                          const struct policy_packet *packet, bool published)
{
    int rule = 0;
    bool allowed = policy_decide(&policy->directions[direction], &flows->wanted->sets, packet, &rule);
    /* Behind all rules, and before a default that denies. */
    return allowed || (direction == POLICY_INGRESS && rule == POLICY_BY_DEFAULT && published);
}

static bool vm_allows(const struct firewall_flows *flows, const struct firewall_vm *vm, enum policy_direction_name direction, const struct conntrack_flow *flow)
{
    const struct policy_packet packet = {.remote = direction == POLICY_EGRESS ? flow->destination : flow->source,
                                         .protocol = flow->protocol,
                                         .port = flow->port,
                                         .host_port = flow->published ? flow->asked_port : 0};
    return policy_allows(flows, &flows->wanted->host, direction, &packet, flow->published) &&
           (!vm->has_policy || policy_allows(flows, &vm->policy, direction, &packet, flow->published));
}

bool firewall_flows_forbid(const struct conntrack_flow *flow, void *ctx)
{
    const struct firewall_flows *flows = ctx;
    if (is_local(flows, &flow->source) || is_local(flows, &flow->destination)) {
        return false;
    }
    const struct firewall_vm *from = find_vm(flows, &flow->source);
    const struct firewall_vm *to = find_vm(flows, &flow->destination);
    return (from != NULL && !vm_allows(flows, from, POLICY_EGRESS, flow)) || (to != NULL && !vm_allows(flows, to, POLICY_INGRESS, flow));
}
