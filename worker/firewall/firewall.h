/*
 * The reconciler of the firewall's policies (the key "firewall" of the queue): rolls back what was not confirmed in time, makes the kernel's
 * policies and address sets as they are wanted, in one batch, cuts the flows that these would not let begin, and notes which generation is in
 * force (db/firewall.h). A VM's own policy comes and goes with its addresses, in the same batch (firewall_vm_prepare()); what others break is
 * the network's to repair, with its back-off (network_policies_*() in worker/network/work.h).
 */
#ifndef SMARTVM_WORKER_FIREWALL_FIREWALL_H
#define SMARTVM_WORKER_FIREWALL_FIREWALL_H

#include "core/plan_wish.h"
#include "host/nft/policy.h"
#include "worker/context.h"
#include "worker/firewall/plan.h"
#include "worker/firewall/wanted.h"

#include <jansson.h>

/* One call at a time. An error means that it should be tried again later. */
int firewall_reconcile(struct worker *worker, struct error *err);

/* An operation of the reconciler. */
struct firewall_op {
    const char *name, *description; /* static */
    char found[FIREWALL_FOUND_MAX]; /* the first difference, in words */
};

/* Each operation that would be done with *wish as what is wanted. Changes nothing. Any thread. */
int firewall_look(struct worker *worker, const struct plan_wish *wish, void (*each)(const struct firewall_op *op, void *ctx), void *ctx, struct error *err);

/* All policies that the tables have to hold; *ret refers to `wanted` and to *ret_vms, which is owned by the caller (free). */
int firewall_policies_of(const struct firewall_wanted *wanted, struct nft_policies *ret, struct nft_policy_vm **ret_vms, struct error *err);

/* What to change in the batch that adds or removes a VM's addresses. */
struct firewall_vm_change {
    struct nft_policy_change change; /* refers to the rest */
    bool needed;
    struct policy policy;
    struct address_sets sets; /* that the policy names: they are made with it, as they may be newer than what is in force */
    const struct address_set **refill;
    struct nft_policy_vm vm;
    struct ip_addr addresses[FIREWALL_ADDRESSES_MAX];
};
/* Under worker->guests_lock, until the batch is through. *ret must be zeroed, and stays where it is. */
int firewall_vm_prepare(struct worker *worker, const struct vm_row *row, bool present, struct firewall_vm_change *ret, struct error *err);
void firewall_vm_change_free(struct firewall_vm_change *change); /* harmless on zeroes */
#define AUTO_FIREWALL_VM_CHANGE __attribute__((cleanup(firewall_vm_change_free))) struct firewall_vm_change

/*
 * The answer to {"question":"firewall_counters","vm":id or ""}: for each direction the counters of the policy's rules and of what none of them
 * decided, since the policy was put in force, or null where it is not in force (the VM does not run, or has no policy of its own):
 *   {"egress": {"rules": [{"packets": n, "bytes": n}, …], "default": {"packets": n, "bytes": n}} or null, "ingress": …}
 * `rules` may be shorter than the policy: what is missing at its end counted nothing. NULL on failure.
 */
json_t *firewall_counters(struct worker *worker, const json_t *question, struct error *err);

#endif
