/* Is the static part of the firewall as it should be? The first difference that is found is told in words. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft/elements.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <stdarg.h>
#include <string.h>

struct check {
    struct mnl_socket *nl;
    const struct nft_base *base;
    char *found; /* NFT_FOUND_MAX; "" as long as all is well */
};

static void note(struct check *check, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct check *check, const char *fmt, ...)
{
    va_list ap;
    if (check->found[0] != '\0') {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(check->found, NFT_FOUND_MAX, fmt, ap);
    va_end(ap);
}

static const char *family_word(uint16_t family)
{
    return family == NFPROTO_BRIDGE ? "bridge" : "inet";
}

static int query(struct mnl_socket *nl, uint16_t type, uint16_t family, uint16_t flags, const char *mark, const char *name,
                 void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx)
{
    char buf[NFT_REQUEST_MAX];
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, type, family, flags, 1);
    _Static_assert((int)NFTA_SET_TABLE == (int)NFTA_CHAIN_TABLE && (int)NFTA_CHAIN_TABLE == (int)NFTA_RULE_TABLE && (int)NFTA_SET_NAME == (int)NFTA_RULE_CHAIN,
                   "names have one number everywhere, but for those of chains");
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, mark);
    if (name != NULL) {
        mnl_attr_put_strz(h, type == NFT_MSG_GETCHAIN ? (uint16_t)NFTA_CHAIN_NAME : (uint16_t)NFTA_RULE_CHAIN, name);
    }
    return nft_query(nl, h, each, ctx, NULL);
}

static int read_flags(const struct nlattr *attr, void *ctx)
{
    if (mnl_attr_get_type(attr) == NFTA_TABLE_FLAGS && mnl_attr_validate(attr, MNL_TYPE_U32) == 0) {
        *(uint32_t *)ctx = ntohl(mnl_attr_get_u32(attr));
    }
    return MNL_CB_OK;
}

static void read_table(const struct nlmsghdr *h, void *ctx)
{
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), read_flags, ctx);
}

/* A dormant table is all there and does nothing. */
static int check_table(struct check *check, uint16_t family)
{
    uint32_t flags = 0;
    int result = query(check->nl, NFT_MSG_GETTABLE, family, 0, check->base->mark, NULL, read_table, &flags);
    if (result == ENOENT) {
        note(check, "table %s %s is gone", family_word(family), check->base->mark);
        return 0;
    }
    if ((flags & NFT_TABLE_F_DORMANT) != 0) {
        note(check, "table %s %s is dormant", family_word(family), check->base->mark);
    } else if (flags != 0) {
        note(check, "table %s %s has other flags", family_word(family), check->base->mark);
    }
    return result;
}

struct found_chain {
    const struct nft_chain_row *row;
    bool ok;
};

static bool chain_matches(const struct nftnl_chain *chain, const struct nft_chain_row *row)
{
    const char *type = nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE);
    if (row->type == NULL || type == NULL) {
        return row->type == type;
    }
    return strcmp(type, row->type) == 0 && nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) == row->hook &&
           nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO) == row->priority && nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_ACCEPT;
}

static void read_chain(const struct nlmsghdr *h, void *ctx)
{
    struct found_chain *found = ctx;
    struct nftnl_chain *chain = nftnl_chain_alloc();
    if (chain == NULL) {
        return;
    }
    if (nftnl_chain_nlmsg_parse(h, chain) == 0) {
        found->ok = chain_matches(chain, found->row);
    }
    nftnl_chain_free(chain);
}

static int check_chain(struct check *check, const struct nft_chain_row *row)
{
    struct found_chain found = {.row = row, .ok = false};
    int result = query(check->nl, NFT_MSG_GETCHAIN, row->family, 0, check->base->mark, row->name, read_chain, &found);
    if (result == ENOENT) {
        note(check, "chain %s of table %s is gone", row->name, family_word(row->family));
        return 0;
    }
    if (!found.ok) {
        note(check, "chain %s of table %s has another hook, priority or policy", row->name, family_word(row->family));
    }
    return result;
}

struct found_set {
    const struct nft_set_row *row;
    bool ok;
};

static void read_set(const struct nlmsghdr *h, void *ctx)
{
    struct found_set *found = ctx;
    struct nftnl_set *set = nftnl_set_alloc();
    if (set == NULL) {
        return;
    }
    if (nftnl_set_nlmsg_parse(h, set) == 0) {
        found->ok = nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE) == found->row->key_type && nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN) == found->row->key_bytes &&
                    nftnl_set_get_u32(set, NFTNL_SET_FLAGS) == found->row->flags;
    }
    nftnl_set_free(set);
}

static int check_set(struct check *check, const struct nft_set_row *row)
{
    struct found_set found = {.row = row, .ok = false};
    int result = query(check->nl, NFT_MSG_GETSET, row->family, 0, check->base->mark, row->name, read_set, &found);
    if (result == ENOENT) {
        note(check, "set %s of table %s is gone", row->name, family_word(row->family));
        return 0;
    }
    if (!found.ok) {
        note(check, "set %s of table %s is of another type", row->name, family_word(row->family));
    }
    return result;
}

/* Rules come chain by chain and in order, but the chains in any order. */
struct found_rules {
    struct check *check;
    const struct nft_family_row *family;
    size_t found[NFT_CHAIN_COUNT]; /* rules so far, by chain */
};

/* The row of the chain's rule number `position`; NULL when there should be none. */
static const struct nft_rule_row *nth_rule(const struct found_rules *found, const char *chain, size_t position)
{
    for (const struct nft_rule_row *row = found->family->rules; row->chain != NULL; row++) {
        if (strcmp(row->chain, chain) == 0 && nft_rule_wanted(row, found->check->base) && position-- == 0) {
            return row;
        }
    }
    return NULL;
}

static int find_comment(const struct nftnl_udata *attr, void *ctx)
{
    const char **comment = ctx;
    uint8_t len = nftnl_udata_len(attr);
    const char *text = nftnl_udata_get(attr);
    if (nftnl_udata_type(attr) == NFTNL_UDATA_RULE_COMMENT && len > 0 && text[len - 1] == '\0') {
        *comment = text;
    }
    return 0;
}

static const char *comment_of(const struct nftnl_rule *rule)
{
    uint32_t len = 0;
    const char *comment = NULL;
    const void *data = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &len);
    return data != NULL && nftnl_udata_parse(data, len, find_comment, &comment) >= 0 ? comment : NULL;
}

static void compare_rule(struct found_rules *found, const char *chain, const char *comment)
{
    char wanted[NFT_COMMENT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(nft_chains); i++) {
        if (nft_chains[i].family != found->family->family || strcmp(nft_chains[i].name, chain) != 0) {
            continue;
        }
        const struct nft_rule_row *row = nth_rule(found, chain, found->found[i]++);
        if (row == NULL) {
            note(found->check, "chain %s of table %s has an additional rule", chain, found->family->word);
            return;
        }
        nft_rule_comment(row, found->check->base, wanted);
        if (comment == NULL || strcmp(comment, wanted) != 0) {
            note(found->check, "rule %s of chain %s of table %s is not in its place", row->name, chain, found->family->word);
        }
        return;
    }
    note(found->check, "table %s has rules in the additional chain %.32s", found->family->word, chain);
}

static void read_rule(const struct nlmsghdr *h, void *ctx)
{
    struct found_rules *found = ctx;
    struct nftnl_rule *rule = nftnl_rule_alloc();
    const char *chain = NULL;
    if (rule != NULL && nftnl_rule_nlmsg_parse(h, rule) == 0) {
        chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
    }
    if (chain != NULL) {
        compare_rule(found, chain, comment_of(rule));
    } else {
        note(found->check, "table %s has a rule that was not understood", found->family->word);
    }
    if (rule != NULL) {
        nftnl_rule_free(rule);
    }
}

/*
 * Too many rules, too few, others, or others between them: all of it shows. Chain by chain, as the kernel would else tell of the rules of all
 * VMs' policies, too; those are looked at by nft_policies_look().
 */
static int check_rules(struct check *check, const struct nft_family_row *family)
{
    struct found_rules found = {.check = check, .family = family, .found = {0}};
    int result = 0;
    for (size_t c = 0; c < ARRAY_LEN(nft_chains) && result == 0; c++) {
        const struct nft_chain_row *chain = &nft_chains[c];
        if (chain->family != family->family || (chain->family == NFPROTO_INET && nft_policy_owns_chain(chain->name))) {
            continue;
        }
        result = query(check->nl, NFT_MSG_GETRULE, family->family, NLM_F_DUMP, check->base->mark, chain->name, read_rule, &found);
        const struct nft_rule_row *next = nth_rule(&found, chain->name, found.found[c]);
        if (next != NULL) {
            note(check, "rule %s of chain %s of table %s is gone", next->name, chain->name, family->word);
        }
    }
    return result;
}

static int check_all(struct check *check)
{
    int result = 0;
    for (size_t i = 0; i < ARRAY_LEN(nft_families) && result == 0 && check->found[0] == '\0'; i++) {
        result = check_table(check, nft_families[i].family);
    }
    for (size_t i = 0; i < ARRAY_LEN(nft_chains) && result == 0 && check->found[0] == '\0'; i++) {
        result = check_chain(check, &nft_chains[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(nft_sets) && result == 0 && check->found[0] == '\0'; i++) {
        result = check_set(check, &nft_sets[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(nft_families) && result == 0 && check->found[0] == '\0'; i++) {
        result = check_rules(check, &nft_families[i]);
    }
    return result;
}

int nft_base_check(const struct nft_base *base, char ret_found[NFT_FOUND_MAX], struct error *err)
{
    struct check check = {.nl = nft_socket_acquire(err), .base = base, .found = ret_found};
    ret_found[0] = '\0';
    if (check.nl == NULL) {
        return -1;
    }
    int result = check_all(&check);
    nft_socket_release(result == 0 || result == ENOENT);
    if (result == 0 && ret_found[0] == '\0') {
        bool same = false;
        if (nft_open_ports_check(base->mark, base->open_ports, base->open_port_count, &same, err) != 0) {
            return -1;
        }
        if (!same) {
            note(&check, "set open_ports of table inet holds other ports");
        }
    }
    if (result == ENOENT) {
        note(&check, "table %s is gone", base->mark); /* while it was looked at */
        result = 0;
    }
    if (result != 0) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot look at firewall tables %s", base->mark);
    }
    return 0;
}
