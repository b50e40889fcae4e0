#include "worker/firewall/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct planner {
    const struct firewall_wanted *wanted;
    const struct nft_policies_seen *seen;
    struct firewall_plan *plan;
};

static void note(struct planner *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct planner *p, const char *fmt, ...)
{
    p->plan->empty = false;
    if (p->plan->found[0] == '\0') {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(p->plan->found, sizeof p->plan->found, fmt, ap);
        va_end(ap);
    }
}

static const struct nft_policy_chain *find_chain(const struct planner *p, int64_t uid, enum policy_direction_name direction)
{
    size_t low = 0;
    size_t high = p->seen->chain_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct nft_policy_chain *chain = &p->seen->chains[middle];
        if (chain->uid == uid && chain->direction == direction) {
            return chain;
        }
        if (chain->uid < uid || (chain->uid == uid && chain->direction < direction)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* Are both chains there, whole, and those of this policy? */
static int check_chains(struct planner *p, int64_t uid, const struct policy *policy, bool *ret_ok, struct error *err)
{
    *ret_ok = true;
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        const enum policy_direction_name direction = (enum policy_direction_name)d;
        const struct nft_policy_chain *chain = find_chain(p, uid, direction);
        const char *word = policy_direction_text(direction);
        uint64_t digest = 0;
        if (nft_policy_digest(policy, direction, &p->wanted->sets, &digest, err) != 0) {
            return -1;
        }
        if (chain != NULL && chain->whole && chain->digest == digest) {
            continue;
        }
        *ret_ok = false;
        if (uid == 0) {
            note(p, "the host-wide %s policy is %s", word, chain == NULL ? "gone" : chain->whole ? "another" : "not whole");
        } else {
            note(p, "the %s policy of VM number %lld is %s", word, (long long)uid, chain == NULL ? "gone" : chain->whole ? "another" : "not whole");
        }
    }
    return 0;
}

static bool has_address(const struct firewall_vm *vm, const struct ip_addr *address)
{
    for (size_t i = 0; i < vm->address_count; i++) {
        if (ip_addr_equal(&vm->addresses[i], address)) {
            return true;
        }
    }
    return false;
}

static int compare_vms(const void *a, const void *b)
{
    const int64_t x = ((const struct firewall_vm *)a)->uid;
    const int64_t y = ((const struct firewall_vm *)b)->uid;
    return (x > y) - (x < y);
}

/* The VM that has to have chains, or NULL. */
static const struct firewall_vm *find_vm(const struct planner *p, int64_t uid)
{
    const struct firewall_vm key = {.uid = uid};
    const struct firewall_vm *vm = p->wanted->vm_count == 0 ? NULL : bsearch(&key, p->wanted->vms, p->wanted->vm_count, sizeof key, compare_vms);
    return vm != NULL && vm->present && vm->has_policy ? vm : NULL;
}

/* Elements that name a chain which they should not, and, by VM, how many are as they should be. */
static void plan_elements(struct planner *p, size_t *right)
{
    struct nft_policy_change *change = &p->plan->change;
    for (size_t i = 0; i < p->seen->element_count; i++) {
        const struct nft_policy_element *element = &p->seen->elements[i];
        const struct firewall_vm *vm = find_vm(p, element->uid);
        if (vm != NULL && has_address(vm, &element->address)) {
            right[vm - p->wanted->vms]++;
            continue;
        }
        char text[IP_TEXT_MAX];
        p->plan->remove_elements[change->remove_element_count++] = *element;
        note(p, "%s has the %s policy of VM number %lld", ip_addr_format(&element->address, text), policy_direction_text(element->direction),
             (long long)element->uid);
    }
}

static void add_vm(struct planner *p, int64_t uid, const struct firewall_vm *vm)
{
    struct nft_policy_vm *new = &p->plan->vms[p->plan->change.vm_count++];
    *new = (struct nft_policy_vm){.uid = uid};
    if (vm != NULL) {
        new->policy = &vm->policy;
        new->addresses = vm->addresses;
        new->address_count = vm->address_count;
    }
}

static int plan_vms(struct planner *p, const size_t *right, struct error *err)
{
    for (size_t i = 0; i < p->wanted->vm_count; i++) {
        const struct firewall_vm *vm = &p->wanted->vms[i];
        bool ok = true;
        if (!vm->present || !vm->has_policy) {
            continue;
        }
        if (check_chains(p, vm->uid, &vm->policy, &ok, err) != 0) {
            return -1;
        }
        if (right[i] != vm->address_count * POLICY_DIRECTION_COUNT_) {
            note(p, "addresses of VM number %lld are without its policy", (long long)vm->uid);
            ok = false;
        }
        if (!ok) {
            add_vm(p, vm->uid, vm);
        }
    }
    return 0;
}

/* Chains of VMs that have none; sorted by VM, so both of one lie side by side. */
static void plan_gone(struct planner *p)
{
    int64_t last = 0;
    for (size_t i = 0; i < p->seen->chain_count; i++) {
        const int64_t uid = p->seen->chains[i].uid;
        if (uid != 0 && uid != last && find_vm(p, uid) == NULL) {
            note(p, "there is a policy of VM number %lld, which has none", (long long)uid);
            add_vm(p, uid, NULL);
        }
        last = uid;
    }
}

static int compare_sets(const void *a, const void *b)
{
    return strcmp(((const struct nft_policy_set *)a)->name, ((const struct nft_policy_set *)b)->name);
}

static int plan_sets(struct planner *p, struct error *err)
{
    struct nft_policy_change *change = &p->plan->change;
    for (size_t i = 0; i < p->wanted->sets.count; i++) {
        const struct address_set *set = &p->wanted->sets.sets[i];
        struct nft_policy_set key = {.v4 = false};
        uint64_t digest = 0;
        if (nft_address_set_digest(set, &digest, err) != 0) {
            return -1;
        }
        memcpy(key.name, set->name, sizeof key.name);
        const struct nft_policy_set *there = p->seen->set_count == 0 ? NULL : bsearch(&key, p->seen->sets, p->seen->set_count, sizeof key, compare_sets);
        if (there == NULL || !there->v4 || !there->v6 || there->digest != digest) {
            note(p, "the address set %s %s", set->name, there == NULL ? "is not there" : "holds other networks");
            p->plan->refill[change->refill_count++] = set;
        }
    }
    for (size_t i = 0; i < p->seen->set_count; i++) {
        const char *name = p->seen->sets[i].name;
        if (address_sets_find(&p->wanted->sets, name) == NULL) {
            note(p, "there is an address set %s that nobody wants", name);
            memcpy(p->plan->remove_names[change->remove_set_count], name, sizeof p->plan->remove_names[0]);
            p->plan->remove_sets[change->remove_set_count] = p->plan->remove_names[change->remove_set_count];
            change->remove_set_count++;
        }
    }
    return 0;
}

static int grow_plan(struct planner *p, size_t **ret_right, struct error *err)
{
    struct firewall_plan *plan = p->plan;
    plan->vms = calloc(p->wanted->vm_count + p->seen->chain_count + 1, sizeof *plan->vms);
    plan->refill = calloc(p->wanted->sets.count + 1, sizeof(const struct address_set *));
    plan->remove_names = calloc(p->seen->set_count + 1, sizeof *plan->remove_names);
    plan->remove_sets = calloc(p->seen->set_count + 1, sizeof *plan->remove_sets);
    plan->remove_elements = calloc(p->seen->element_count + 1, sizeof *plan->remove_elements);
    *ret_right = calloc(p->wanted->vm_count + 1, sizeof **ret_right);
    return plan->vms == NULL || plan->refill == NULL || plan->remove_names == NULL || plan->remove_sets == NULL || plan->remove_elements == NULL ||
                   *ret_right == NULL
               ? error_oom(err)
               : 0;
}

int firewall_plan_make(const struct firewall_wanted *wanted, const struct nft_policies_seen *seen, struct firewall_plan *ret, struct error *err)
{
    struct planner planner = {.wanted = wanted, .seen = seen, .plan = ret};
    size_t *right = NULL;
    bool host_ok = true;
    *ret = (struct firewall_plan){.empty = true, .change = {.sets = &wanted->sets}};
    int result = grow_plan(&planner, &right, err);
    result = result == 0 ? check_chains(&planner, 0, &wanted->host, &host_ok, err) : result;
    if (result == 0) {
        ret->change.host = host_ok ? NULL : &wanted->host;
        plan_elements(&planner, right);
        result = plan_vms(&planner, right, err);
    }
    if (result == 0) {
        plan_gone(&planner);
        result = plan_sets(&planner, err);
    }
    free(right);
    ret->change.vms = ret->vms;
    ret->change.refill = ret->refill;
    ret->change.remove_sets = ret->remove_sets;
    ret->change.remove_elements = ret->remove_elements;
    if (result != 0) {
        firewall_plan_free(ret);
    }
    return result;
}

void firewall_plan_free(struct firewall_plan *plan)
{
    free(plan->vms);
    free(plan->refill);
    free(plan->remove_names);
    free(plan->remove_sets);
    free(plan->remove_elements);
    *plan = (struct firewall_plan){.empty = true};
}
