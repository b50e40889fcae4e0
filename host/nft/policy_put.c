#include "host/nft/policy_put.h"

#include "host/nft/policy_rule.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

enum { ELEMENTS_PER_MESSAGE = 256 };

_Static_assert(ELEMENTS_PER_MESSAGE *(8 * NLA_HDRLEN + 16 + 4 + NFT_POLICY_CHAIN_MAX) + 1024 <= NFT_MESSAGE_MAX, "a message of elements fits its room");

const char *const nft_policy_maps[POLICY_DIRECTION_COUNT_][2] = {
    [POLICY_EGRESS] = {"egress4", "egress6"},
    [POLICY_INGRESS] = {"ingress4", "ingress6"},
};

char *nft_policy_chain_name(int64_t uid, enum policy_direction_name direction, char buf[NFT_POLICY_CHAIN_MAX])
{
    const char *word = direction == POLICY_EGRESS ? "egress" : "ingress";
    if (uid == 0) {
        (void)snprintf(buf, NFT_POLICY_CHAIN_MAX, "host_%s", word);
    } else {
        (void)snprintf(buf, NFT_POLICY_CHAIN_MAX, "vm_%" PRId64 "_%s", uid, word);
    }
    return buf;
}

/* NEWCHAIN (none is made where there is one), DELCHAIN, or DELRULE for all rules of the chain. */
static void put_chain(struct nft_batch *b, uint16_t type, const char *mark, const char *chain)
{
    const uint16_t flags = type == NFT_MSG_NEWCHAIN ? NLM_F_CREATE : 0;
    struct nlmsghdr *h = nft_batch_add(b, type, NFPROTO_INET, flags, "chain %s", chain);
    if (h != NULL) {
        mnl_attr_put_strz(h, type == NFT_MSG_DELRULE ? (uint16_t)NFTA_RULE_TABLE : (uint16_t)NFTA_CHAIN_TABLE, mark);
        mnl_attr_put_strz(h, type == NFT_MSG_DELRULE ? (uint16_t)NFTA_RULE_CHAIN : (uint16_t)NFTA_CHAIN_NAME, chain);
        nft_batch_close(b);
    }
}

static void put_policy(struct nft_batch *b, const char *mark, int64_t uid, const struct policy *policy, const struct address_sets *sets)
{
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        const enum policy_direction_name direction = (enum policy_direction_name)d;
        AUTO_NFT_POLICY_LINES lines = {.count = 0};
        char chain[NFT_POLICY_CHAIN_MAX];
        (void)nft_policy_chain_name(uid, direction, chain);
        if (nft_policy_lines_make(&policy->directions[d], direction, sets, &lines, NULL) != 0) {
            b->failed = true;
            return;
        }
        put_chain(b, NFT_MSG_NEWCHAIN, mark, chain);
        put_chain(b, NFT_MSG_DELRULE, mark, chain);
        for (size_t i = 0; i < lines.count; i++) {
            nft_put_policy_rule(b, mark, chain, direction, &lines, i);
        }
    }
}

static void put_jump(struct nlmsghdr *h, const char *chain)
{
    struct nlattr *data = mnl_attr_nest_start(h, NFTA_SET_ELEM_DATA);
    struct nlattr *verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
    mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_JUMP));
    mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
    mnl_attr_nest_end(h, verdict);
    mnl_attr_nest_end(h, data);
}

/* Elements of one map, put into messages as they come. */
struct element_writer {
    struct nft_batch *b;
    const char *mark, *map;
    uint16_t type;
    struct nlmsghdr *h;
    struct nlattr *list;
    size_t count;
};

static void end_message(struct element_writer *w)
{
    if (w->h != NULL) {
        mnl_attr_nest_end(w->h, w->list);
        nft_batch_close(w->b);
        w->h = NULL;
        w->count = 0;
    }
}

static void put_element(struct element_writer *w, const struct ip_addr *address, const char *chain)
{
    if (w->count == ELEMENTS_PER_MESSAGE) {
        end_message(w);
    }
    if (w->h == NULL) {
        const uint16_t flags = w->type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
        w->h = nft_batch_add(w->b, w->type, NFPROTO_INET, flags, "elements of map %s", w->map);
        if (w->h == NULL) {
            return;
        }
        mnl_attr_put_strz(w->h, NFTA_SET_ELEM_LIST_TABLE, w->mark);
        mnl_attr_put_strz(w->h, NFTA_SET_ELEM_LIST_SET, w->map);
        w->list = mnl_attr_nest_start(w->h, NFTA_SET_ELEM_LIST_ELEMENTS);
    }
    struct nlattr *element = mnl_attr_nest_start(w->h, NFTA_LIST_ELEM);
    struct nlattr *key = mnl_attr_nest_start(w->h, NFTA_SET_ELEM_KEY);
    mnl_attr_put(w->h, NFTA_DATA_VALUE, address->version == IP_V4 ? 4 : 16, address->bytes);
    mnl_attr_nest_end(w->h, key);
    if (chain != NULL) {
        put_jump(w->h, chain);
    }
    mnl_attr_nest_end(w->h, element);
    w->count++;
}

/* Of all VMs that have a policy (`with`), or of all that have none. */
static void put_elements(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_policy_vm *vms, size_t count, bool with)
{
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        for (size_t v = 0; v < 2; v++) {
            struct element_writer w = {.b = b, .mark = mark, .map = nft_policy_maps[d][v], .type = type};
            for (size_t i = 0; i < count; i++) {
                char chain[NFT_POLICY_CHAIN_MAX];
                if ((vms[i].policy != NULL) != with) {
                    continue;
                }
                (void)nft_policy_chain_name(vms[i].uid, (enum policy_direction_name)d, chain);
                for (size_t a = 0; a < vms[i].address_count; a++) {
                    if ((vms[i].addresses[a].version == IP_V4) == (v == 0)) {
                        put_element(&w, &vms[i].addresses[a], chain);
                    }
                }
            }
            end_message(&w);
        }
    }
}

static void put_chains_of(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_policy_vm *vm)
{
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        char chain[NFT_POLICY_CHAIN_MAX];
        put_chain(b, type, mark, nft_policy_chain_name(vm->uid, (enum policy_direction_name)d, chain));
    }
}

/* What may be gone is made first, in the same transaction, as the kernel refuses to delete what is not there: no packet ever sees it. */
static void put_removals(struct nft_batch *b, const char *mark, const struct nft_policy_vm *vms, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (vms[i].policy == NULL) {
            put_chains_of(b, NFT_MSG_NEWCHAIN, mark, &vms[i]);
        }
    }
    put_elements(b, NFT_MSG_NEWSETELEM, mark, vms, count, false);
    put_elements(b, NFT_MSG_DELSETELEM, mark, vms, count, false);
    for (size_t i = 0; i < count; i++) {
        if (vms[i].policy == NULL) {
            put_chains_of(b, NFT_MSG_DELCHAIN, mark, &vms[i]);
        }
    }
}

static void put_stale_elements(struct nft_batch *b, const char *mark, const struct nft_policy_element *elements, size_t count)
{
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        for (size_t v = 0; v < 2; v++) {
            struct element_writer w = {.b = b, .mark = mark, .map = nft_policy_maps[d][v], .type = NFT_MSG_DELSETELEM};
            for (size_t i = 0; i < count; i++) {
                if (elements[i].direction == (enum policy_direction_name)d && (elements[i].address.version == IP_V4) == (v == 0)) {
                    put_element(&w, &elements[i].address, NULL);
                }
            }
            end_message(&w);
        }
    }
}

void nft_put_policy_change(struct nft_batch *b, const char *mark, const struct nft_policy_change *change)
{
    for (size_t i = 0; i < change->refill_count; i++) {
        nft_put_address_set(b, mark, change->refill[i]);
    }
    if (change->host != NULL) {
        put_policy(b, mark, 0, change->host, change->sets);
    }
    put_stale_elements(b, mark, change->remove_elements, change->remove_element_count);
    put_removals(b, mark, change->vms, change->vm_count);
    for (size_t i = 0; i < change->vm_count; i++) {
        if (change->vms[i].policy != NULL) {
            put_policy(b, mark, change->vms[i].uid, change->vms[i].policy, change->sets);
        }
    }
    put_elements(b, NFT_MSG_NEWSETELEM, mark, change->vms, change->vm_count, true);
    for (size_t i = 0; i < change->remove_set_count; i++) {
        nft_put_address_set_removal(b, mark, change->remove_sets[i]);
    }
}

void nft_put_policies(struct nft_batch *b, const char *mark, const struct nft_policies *policies)
{
    struct nft_policy_change change = {.sets = policies->sets, .host = policies->host, .vms = policies->vms, .vm_count = policies->vm_count};
    for (size_t i = 0; i < policies->sets->count; i++) {
        nft_put_address_set(b, mark, &policies->sets->sets[i]);
    }
    nft_put_policy_change(b, mark, &change);
}
