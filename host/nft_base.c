/* The static part of the firewall: is it there, make it, remove it. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft_elements.h"
#include "host/nft_expr.h"
#include "host/nft_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

static void put_table(struct nft_batch *b, uint16_t type, const struct nft_family_row *row, const char *mark)
{
    struct nlmsghdr *h = nft_batch_add(b, type, row->family, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0,
                                       "table %s %.32s", row->word, mark);
    if (h != NULL) {
        mnl_attr_put_strz(h, NFTA_TABLE_NAME, mark);
        nft_batch_close(b);
    }
}

/* Deleting a table that is not there is refused, so it is made first. */
static void put_deletion(struct nft_batch *b, const char *mark)
{
    for (size_t i = 0; i < ARRAY_LEN(nft_families); i++) {
        put_table(b, NFT_MSG_NEWTABLE, &nft_families[i], mark);
        put_table(b, NFT_MSG_DELTABLE, &nft_families[i], mark);
    }
}

/* For nft alone, which else shows interface names backwards; of concatenations it knows by itself. */
static void put_byte_order(struct nft_batch *b, struct nlmsghdr *h, const struct nft_set_row *row)
{
    const uint32_t host_endian = 1;
    if (row->key_type != NFT_TYPE_IFNAME) {
        return;
    }
    struct nftnl_udata_buf *data = nftnl_udata_buf_alloc(16);
    if (data == NULL || !nftnl_udata_put_u32(data, NFTNL_UDATA_SET_KEYBYTEORDER, host_endian)) {
        b->failed = true;
    } else {
        mnl_attr_put(h, NFTA_SET_USERDATA, nftnl_udata_buf_len(data), nftnl_udata_buf_data(data));
    }
    if (data != NULL) {
        nftnl_udata_buf_free(data);
    }
}

static void put_set(struct nft_batch *b, const struct nft_set_row *row, const char *mark, uint32_t id)
{
    struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_NEWSET, row->family, NLM_F_CREATE, "set %s", row->name);
    if (h != NULL) {
        mnl_attr_put_strz(h, NFTA_SET_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_NAME, row->name);
        mnl_attr_put_u32(h, NFTA_SET_ID, htonl(id));
        mnl_attr_put_u32(h, NFTA_SET_KEY_TYPE, htonl(row->key_type));
        mnl_attr_put_u32(h, NFTA_SET_KEY_LEN, htonl(row->key_bytes));
        put_byte_order(b, h, row);
        nft_batch_close(b);
    }
}

static void put_hook(struct nlmsghdr *h, const struct nft_chain_row *row)
{
    mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, row->type);
    mnl_attr_put_u32(h, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
    struct nlattr *hook = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
    mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl(row->hook));
    mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, htonl((uint32_t)row->priority));
    mnl_attr_nest_end(h, hook);
}

static void put_chain(struct nft_batch *b, const struct nft_chain_row *row, const char *mark)
{
    struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_NEWCHAIN, row->family, NLM_F_CREATE, "chain %s", row->name);
    if (h != NULL) {
        mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, row->name);
        if (row->type != NULL) {
            put_hook(h, row);
        }
        nft_batch_close(b);
    }
}

static bool set_comment(struct nftnl_rule *rule, const char *comment)
{
    struct nftnl_udata_buf *data = nftnl_udata_buf_alloc(NFT_COMMENT_MAX + 8);
    bool ok = data != NULL && nftnl_udata_put_strz(data, NFTNL_UDATA_RULE_COMMENT, comment) &&
              nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data),
                                  nftnl_udata_buf_len(data)) == 0;
    if (data != NULL) {
        nftnl_udata_buf_free(data);
    }
    return ok;
}

static void put_rule(struct nft_batch *b, uint16_t family, const struct nft_rule_row *row,
                     const struct nft_base *base)
{
    char comment[NFT_COMMENT_MAX];
    struct nft_rule_builder builder = {.rule = nftnl_rule_alloc()};
    if (builder.rule == NULL) {
        b->failed = true;
        return;
    }
    nft_rule_comment(row, base, comment);
    builder.failed = nftnl_rule_set_str(builder.rule, NFTNL_RULE_TABLE, base->mark) != 0 ||
                     nftnl_rule_set_str(builder.rule, NFTNL_RULE_CHAIN, row->chain) != 0 ||
                     !set_comment(builder.rule, comment);
    row->build(&builder, base);
    b->failed = b->failed || builder.failed;
    struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND,
                                       "rule %s of chain %s", row->name, row->chain);
    if (h != NULL) {
        nftnl_rule_nlmsg_build_payload(h, builder.rule);
        nft_batch_close(b);
    }
    nftnl_rule_free(builder.rule);
}

static bool is_wanted(const struct nft_rule_row *row, const struct nft_base *base)
{
    return row->wanted == NULL || row->wanted(base);
}

static void put_rules(struct nft_batch *b, const struct nft_base *base)
{
    for (size_t i = 0; i < ARRAY_LEN(nft_families); i++) {
        for (const struct nft_rule_row *row = nft_families[i].rules; row->chain != NULL; row++) {
            if (is_wanted(row, base)) {
                put_rule(b, nft_families[i].family, row, base);
            }
        }
    }
}

int nft_base_apply(const struct nft_base *base, const char *const *uplinks, size_t uplink_count,
                   const struct nft_guest *guests, size_t guest_count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put_deletion(&b, base->mark);
    for (size_t i = 0; i < ARRAY_LEN(nft_families); i++) {
        put_table(&b, NFT_MSG_NEWTABLE, &nft_families[i], base->mark);
    }
    for (size_t i = 0; i < ARRAY_LEN(nft_sets); i++) {
        put_set(&b, &nft_sets[i], base->mark, (uint32_t)i + 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(nft_chains); i++) {
        put_chain(&b, &nft_chains[i], base->mark);
    }
    put_rules(&b, base);
    nft_put_uplinks(&b, NFT_MSG_NEWSETELEM, base->mark, uplinks, uplink_count);
    nft_put_guests(&b, NFT_MSG_NEWSETELEM, base->mark, guests, guest_count);
    return nft_batch_commit(&b, base->mark, err);
}

int nft_base_remove(const char *mark, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put_deletion(&b, mark);
    return nft_batch_commit(&b, mark, err);
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
           nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO) == row->priority &&
           nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_ACCEPT;
}

static void check_chain(const struct nlmsghdr *h, void *ctx)
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

struct found_set {
    const struct nft_set_row *row;
    bool ok;
};

static void check_set(const struct nlmsghdr *h, void *ctx)
{
    struct found_set *found = ctx;
    struct nftnl_set *set = nftnl_set_alloc();
    if (set == NULL) {
        return;
    }
    if (nftnl_set_nlmsg_parse(h, set) == 0) {
        found->ok = nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE) == found->row->key_type &&
                    nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN) == found->row->key_bytes &&
                    nftnl_set_get_u32(set, NFTNL_SET_FLAGS) == 0;
    }
    nftnl_set_free(set);
}

/* Rules come chain by chain and in order, but the chains in any order. */
struct found_rules {
    const struct nft_base *base;
    const struct nft_family_row *family;
    size_t found[NFT_CHAIN_COUNT]; /* rules so far, by chain */
    bool ok;
};

/* The row of the chain's rule number `position`; NULL when there should be none. */
static const struct nft_rule_row *nth_rule(const struct found_rules *found, const char *chain,
                                           size_t position)
{
    for (const struct nft_rule_row *row = found->family->rules; row->chain != NULL; row++) {
        if (strcmp(row->chain, chain) == 0 && is_wanted(row, found->base) && position-- == 0) {
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

static bool rule_matches(struct found_rules *found, const struct nftnl_rule *rule)
{
    char wanted[NFT_COMMENT_MAX];
    uint32_t len = 0;
    const char *comment = NULL;
    const char *chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
    const void *data = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &len);
    if (chain == NULL || data == NULL || nftnl_udata_parse(data, len, find_comment, &comment) < 0 ||
        comment == NULL) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(nft_chains); i++) {
        if (nft_chains[i].family == found->family->family && strcmp(nft_chains[i].name, chain) == 0) {
            const struct nft_rule_row *row = nth_rule(found, chain, found->found[i]++);
            if (row == NULL) {
                return false;
            }
            nft_rule_comment(row, found->base, wanted);
            return strcmp(comment, wanted) == 0;
        }
    }
    return false;
}

static void check_rule(const struct nlmsghdr *h, void *ctx)
{
    struct found_rules *found = ctx;
    struct nftnl_rule *rule = nftnl_rule_alloc();
    found->ok =
        found->ok && rule != NULL && nftnl_rule_nlmsg_parse(h, rule) == 0 && rule_matches(found, rule);
    if (rule != NULL) {
        nftnl_rule_free(rule);
    }
}

static int query(struct mnl_socket *nl, uint16_t type, uint16_t family, uint16_t flags, const char *mark,
                 const char *name, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx)
{
    char buf[NFT_REQUEST_MAX];
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, type, family, flags, 1);
    _Static_assert((int)NFTA_SET_TABLE == (int)NFTA_CHAIN_TABLE &&
                       (int)NFTA_CHAIN_TABLE == (int)NFTA_RULE_TABLE && (int)NFTA_SET_NAME == 2,
                   "the table's name has one number everywhere");
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, mark);
    if (name != NULL) {
        mnl_attr_put_strz(h, type == NFT_MSG_GETSET ? (uint16_t)NFTA_SET_NAME : (uint16_t)NFTA_CHAIN_NAME,
                          name);
    }
    return nft_query(nl, h, each, ctx, NULL);
}

static int check_chains_and_sets(struct mnl_socket *nl, const struct nft_base *base, bool *ok)
{
    int result = 0;
    for (size_t i = 0; i < ARRAY_LEN(nft_chains) && result == 0 && *ok; i++) {
        struct found_chain found = {.row = &nft_chains[i], .ok = false};
        result = query(nl, NFT_MSG_GETCHAIN, found.row->family, 0, base->mark, found.row->name, check_chain,
                       &found);
        *ok = found.ok;
    }
    for (size_t i = 0; i < ARRAY_LEN(nft_sets) && result == 0 && *ok; i++) {
        struct found_set found = {.row = &nft_sets[i], .ok = false};
        result =
            query(nl, NFT_MSG_GETSET, found.row->family, 0, base->mark, found.row->name, check_set, &found);
        *ok = found.ok;
    }
    return result;
}

/* Too many rules, too few, others, or others between them: all of it shows. */
static int check_rules(struct mnl_socket *nl, const struct nft_base *base, bool *ok)
{
    int result = 0;
    for (size_t i = 0; i < ARRAY_LEN(nft_families) && result == 0 && *ok; i++) {
        struct found_rules found = {.base = base, .family = &nft_families[i], .found = {0}, .ok = true};
        result = query(nl, NFT_MSG_GETRULE, found.family->family, NLM_F_DUMP, base->mark, NULL, check_rule,
                       &found);
        *ok = found.ok;
        for (size_t c = 0; c < ARRAY_LEN(nft_chains); c++) {
            const struct nft_chain_row *chain = &nft_chains[c];
            *ok = *ok && (chain->family != found.family->family ||
                          nth_rule(&found, chain->name, found.found[c]) == NULL);
        }
    }
    return result;
}

int nft_base_check(const struct nft_base *base, bool *ret_ok, struct error *err)
{
    bool ok = true;
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    int result = check_chains_and_sets(nl, base, &ok);
    result = result == 0 && ok ? check_rules(nl, base, &ok) : result;
    nft_socket_release(result == 0 || result == ENOENT);
    if (result != 0 && result != ENOENT) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot look at firewall tables %s",
                         base->mark);
    }
    *ret_ok = result == 0 && ok;
    return 0;
}
