/*
 * The firewall policies of guests (core/policy.h) in the kernel: the part of table `inet <mark>` (host/nft/nft.h) that changes with them.
 *
 *   map egress4, egress6, ingress4, ingress6 { address : verdict }   jump vm_<uid>_egress or vm_<uid>_ingress, by the guest's address; a VM
 *       without a policy of its own has no element, so the cost of a packet does not grow with the number of VMs
 *   chain host_egress, host_ingress          the host-wide policy
 *   chain vm_<uid>_egress, vm_<uid>_ingress  that of a VM
 *   set addr4_<name>, addr6_<name> { interval }   each named address set
 * In these chains "allow" returns, so that the next policy is asked, and "deny" drops; each rule counts (host/nft/policy_lines.h says which
 * rules there are). Every rule carries "<digest> <position>/<rules> r<number>" as its comment, by which it is known and counted.
 *
 * Any thread may call. Each change is one batch: all of it or none, and no packet sees half of it. Errors: FIREWALL_SETUP_FAILED
 * (sys_errno ENOENT when the tables are not there), OUT_OF_MEMORY.
 */
#ifndef SMARTVM_HOST_NFT_POLICY_H
#define SMARTVM_HOST_NFT_POLICY_H

#include "core/policy.h"

enum { NFT_POLICY_CHAIN_MAX = 40 };

struct nft_policy_vm {
    int64_t uid;                 /* names its chains */
    const struct policy *policy; /* NULL: it has none of its own, or is to have none */
    const struct ip_addr *addresses;
    size_t address_count;
};

/* All that the tables hold. */
struct nft_policies {
    const struct policy *host;
    const struct address_sets *sets;
    const struct nft_policy_vm *vms;
    size_t vm_count;
};

/* An element of one of the maps. */
struct nft_policy_element {
    enum policy_direction_name direction;
    struct ip_addr address;
    int64_t uid; /* whose chain it names; 0: a chain that is no VM's of that direction */
};

/*
 * What is to be different; what is not mentioned stays as it is. `sets` knows all address sets that are to be there afterwards, as rules name
 * them. Making what is there and removing what is gone are no failures. An address goes to the VM that claims it, whoever had it.
 */
struct nft_policy_change {
    const struct address_sets *sets;
    const struct policy *host;       /* NULL: stays */
    const struct nft_policy_vm *vms; /* with a policy: chains and elements made new; without: removed */
    size_t vm_count;
    const struct address_set *const *refill; /* content replaced; made when missing */
    size_t refill_count;
    const char *const *remove_sets; /* that no rule names any more */
    size_t remove_set_count;
    const struct nft_policy_element *remove_elements; /* that are there */
    size_t remove_element_count;
};
int nft_policies_change(const char *mark, const struct nft_policy_change *change, struct error *err);

/* ---- what is there ---- */

struct nft_policy_chain {
    char name[NFT_POLICY_CHAIN_MAX];
    int64_t uid; /* 0: host-wide */
    enum policy_direction_name direction;
    bool whole;      /* every rule is there, in order, and no other */
    uint64_t digest; /* of its lines, when whole */
};

struct nft_policy_set {
    char name[ADDRESS_SET_NAME_MAX];
    bool v4, v6;     /* which of the two are there */
    uint64_t digest; /* of what they hold */
};

struct nft_policies_seen {
    bool tables;                     /* the table and its maps are there */
    struct nft_policy_chain *chains; /* sorted by uid and direction */
    size_t chain_count;
    struct nft_policy_element *elements; /* sorted by direction and address */
    size_t element_count;
    struct nft_policy_set *sets; /* sorted by name */
    size_t set_count;
};

/* Missing tables are no failure: then nothing is seen. */
int nft_policies_look(const char *mark, struct nft_policies_seen *ret, struct error *err);
void nft_policies_seen_free(struct nft_policies_seen *seen); /* harmless on zeroes */

/* What `digest` would be of a chain or a set that is as wanted. Pure. */
int nft_policy_digest(const struct policy *policy, enum policy_direction_name direction, const struct address_sets *sets, uint64_t *ret, struct error *err);
int nft_address_set_digest(const struct address_set *set, uint64_t *ret, struct error *err);

/* ---- counters ---- */

struct nft_counter {
    uint64_t packets, bytes;
};

/*
 * Counters of the chain's rules since it was made: of each rule of the policy, and of packets that no rule decided. uid 0: the host-wide one. One dump of one
 * chain. *ret_there false, and all else zero, when the chain is not there. *ret_rules is owned by the caller (free).
 */
int nft_policy_counters(const char *mark, int64_t uid, enum policy_direction_name direction, struct nft_counter **ret_rules, size_t *ret_count,
                        struct nft_counter *ret_default, bool *ret_there, struct error *err);

/* Is there a chain of this VM? Some 10 us. */
int nft_policy_vm_is_there(const char *mark, int64_t uid, bool *ret, struct error *err);

/* Does a chain of this name belong to the policies? For whoever looks at the rest of the table. */
bool nft_policy_owns_chain(const char *name);

#endif
