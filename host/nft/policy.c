#include "host/nft/policy.h"

#include "host/nft/policy_parse.h"
#include "host/nft/policy_put.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

/*
 * The elements of addresses that the change gives to a VM or takes from it, and that name another chain. Taking an address from a VM that
 * has it no more leaves the new owner's element alone: that VM's list of addresses is empty in the second try.
 */
static int find_owners(const char *mark, const struct nft_policy_change *change, struct nft_policy_element **ret, size_t *ret_count, struct nft_policy_vm *vms,
                       struct error *err)
{
    struct nft_policies_seen seen = {.tables = false};
    if (nft_policies_look(mark, &seen, err) != 0) {
        return -1;
    }
    struct nft_policy_element *stale = calloc(seen.element_count + change->remove_element_count + 1, sizeof *stale);
    if (stale == NULL) {
        nft_policies_seen_free(&seen);
        return error_oom(err);
    }
    size_t count = 0;
    for (size_t e = 0; e < seen.element_count; e++) {
        const struct nft_policy_element *element = &seen.elements[e];
        bool taken = false;
        for (size_t i = 0; i < change->vm_count && !taken; i++) {
            for (size_t a = 0; a < change->vms[i].address_count && !taken; a++) {
                bool same = ip_addr_equal(&change->vms[i].addresses[a], &element->address);
                taken = same && (vms[i].policy != NULL || vms[i].uid == element->uid);
            }
        }
        for (size_t r = 0; r < change->remove_element_count && !taken; r++) {
            const struct nft_policy_element *remove = &change->remove_elements[r];
            taken = remove->direction == element->direction && ip_addr_equal(&remove->address, &element->address);
        }
        if (taken) {
            stale[count++] = *element;
        }
    }
    for (size_t i = 0; i < change->vm_count; i++) {
        if (vms[i].policy == NULL) {
            vms[i].address_count = 0;
        }
    }
    nft_policies_seen_free(&seen);
    *ret = stale;
    *ret_count = count;
    return 0;
}

/* What else is to be in the batch. */
struct rider {
    void (*put)(struct nft_batch *b, const char *mark, const void *ctx);
    const void *ctx;
};

static int commit(const char *mark, const struct nft_policy_change *change, const struct rider *rider, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    if (rider->put != NULL) {
        rider->put(&b, mark, rider->ctx);
    }
    nft_put_policy_change(&b, mark, change);
    return nft_batch_commit(&b, mark, err);
}

/* The kernel refuses an element whose address has another verdict, and to delete one that is not there: then it is asked what there is. */
static int commit_by_look(const char *mark, const struct nft_policy_change *change, const struct rider *rider, struct error *err)
{
    struct nft_policy_change second = *change;
    AUTO_FREE struct nft_policy_vm *vms = calloc(change->vm_count + 1, sizeof *vms);
    AUTO_FREE struct nft_policy_element *stale = NULL;
    if (vms == NULL) {
        return error_oom(err);
    }
    if (change->vm_count > 0) {
        memcpy(vms, change->vms, change->vm_count * sizeof *vms);
    }
    if (find_owners(mark, change, &stale, &second.remove_element_count, vms, err) != 0) {
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
        return -1;
    }
    second.vms = vms;
    second.remove_elements = stale;
    return commit(mark, &second, rider, err);
}

int nft_policies_commit(const char *mark, const struct nft_policy_change *change, void (*put)(struct nft_batch *b, const char *mark, const void *ctx),
                        const void *ctx, struct error *err)
{
    const struct rider rider = {.put = put, .ctx = ctx};
    struct error why = {0};
    int result = commit(mark, change, &rider, &why);
    if (result != 0 && (why.sys_errno == EBUSY || why.sys_errno == EEXIST || why.sys_errno == ENOENT)) {
        why = (struct error){0};
        result = commit_by_look(mark, change, &rider, &why);
    }
    if (result != 0 && err != NULL) {
        *err = why;
    }
    return result;
}

int nft_policies_change(const char *mark, const struct nft_policy_change *change, struct error *err)
{
    return nft_policies_commit(mark, change, NULL, NULL, err);
}

int nft_policy_digest(const struct policy *policy, enum policy_direction_name direction, const struct address_sets *sets, uint64_t *ret, struct error *err)
{
    AUTO_NFT_POLICY_LINES lines = {.count = 0};
    if (nft_policy_lines_make(&policy->directions[direction], direction, sets, &lines, err) != 0) {
        return -1;
    }
    *ret = lines.digest;
    return 0;
}

static bool add_ends(struct nft_set_ends *ends, const struct ip_range *range)
{
    const size_t bytes = range->first.version == IP_V4 ? 4 : 16;
    struct ip_addr behind = range->last;
    return nft_set_ends_add(ends, range->first.bytes, bytes, false) && (!ip_addr_next(&behind) || nft_set_ends_add(ends, behind.bytes, bytes, true));
}

int nft_address_set_digest(const struct address_set *set, uint64_t *ret, struct error *err)
{
    static const uint8_t versions[] = {IP_V4, IP_V6};
    AUTO_FREE struct ip_range *ranges = NULL;
    size_t count = 0;
    bool ok = true;
    uint64_t digest = NFT_SET_DIGEST_START;
    struct nft_set_ends ends = {.count = 0};
    if (ip_ranges_make(set->nets, set->net_count, NULL, 0, &ranges, &count, err) != 0) {
        return -1;
    }
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        ends.count = 0;
        for (size_t i = 0; i < count && ok; i++) {
            ok = ranges[i].first.version != versions[v] || add_ends(&ends, &ranges[i]);
        }
        digest = nft_set_ends_digest(&ends, versions[v], digest);
    }
    free(ends.bytes);
    *ret = digest;
    return ok ? 0 : error_oom(err);
}

struct counters {
    struct nft_counter *rules, by_default;
    size_t count;
    bool there, failed;
};

static void read_counter(const struct nlmsghdr *h, void *ctx)
{
    struct counters *counters = ctx;
    struct nft_policy_rule_seen rule = {.chain = NULL};
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), nft_parse_policy_rule, &rule);
    counters->there = true; /* a chain of ours is never empty */
    if (!rule.known || rule.number >= POLICY_RULES_MAX || counters->failed) {
        return;
    }
    struct nft_counter *counter = &counters->by_default;
    if (rule.number >= 0) {
        size_t number = (size_t)rule.number;
        if (counters->rules == NULL) {
            counters->rules = calloc(POLICY_RULES_MAX, sizeof *counters->rules);
        }
        if (counters->rules == NULL) {
            counters->failed = true;
            return;
        }
        counters->count = number >= counters->count ? number + 1 : counters->count;
        counter = &counters->rules[number];
    }
    counter->packets += rule.counter.packets;
    counter->bytes += rule.counter.bytes;
}

int nft_policy_counters(const char *mark, int64_t uid, enum policy_direction_name direction, struct nft_counter **ret_rules, size_t *ret_count,
                        struct nft_counter *ret_default, bool *ret_there, struct error *err)
{
    char buf[NFT_REQUEST_MAX];
    char chain[NFT_POLICY_CHAIN_MAX];
    struct counters counters = {.count = 0};
    struct nlmsghdr *h = nft_dump_request(buf, NFT_MSG_GETRULE);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, mark);
    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, nft_policy_chain_name(uid, direction, chain));
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    int result = nft_query(nl, h, read_counter, &counters, NULL);
    nft_socket_release(result == 0 || result == ENOENT);
    if ((result != 0 && result != ENOENT) || counters.failed) {
        free(counters.rules);
        return counters.failed ? error_oom(err) : error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot read the counters of chain %s", chain);
    }
    *ret_rules = counters.rules;
    *ret_count = counters.count;
    *ret_default = counters.by_default;
    *ret_there = counters.there;
    return 0;
}

static void ignore(const struct nlmsghdr *h, void *ctx)
{
    (void)h;
    (void)ctx;
}

int nft_policy_vm_is_there(const char *mark, int64_t uid, bool *ret, struct error *err)
{
    int result = ENOENT;
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_ && result == ENOENT; d++) {
        char buf[NFT_REQUEST_MAX];
        char chain[NFT_POLICY_CHAIN_MAX];
        struct nlmsghdr *h = nft_get_request(buf, NFT_MSG_GETCHAIN, 1);
        mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, nft_policy_chain_name(uid, (enum policy_direction_name)d, chain));
        result = nft_query(nl, h, ignore, NULL, NULL);
    }
    nft_socket_release(result == 0 || result == ENOENT);
    if (result != 0 && result != ENOENT) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot look for the policy of VM number %lld", (long long)uid);
    }
    *ret = result == 0;
    return 0;
}
