/* The static part of the firewall: make it, remove it. host/nft/check.c looks whether it is there. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft/elements.h"
#include "host/nft/expr.h"
#include "host/nft/policy_put.h"
#include "host/nft/rules.h"

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
    struct nlmsghdr *h = nft_batch_add(b, type, row->family, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0, "table %s %.32s", row->word, mark);
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
        mnl_attr_put_u32(h, NFTA_SET_FLAGS, htonl(row->flags));
        if (row->data_bytes > 0) {
            mnl_attr_put_u32(h, NFTA_SET_DATA_TYPE, htonl(row->data_type));
            mnl_attr_put_u32(h, NFTA_SET_DATA_LEN, htonl(row->data_bytes));
        } else if ((row->flags & NFT_SET_MAP) != 0) {
            mnl_attr_put_u32(h, NFTA_SET_DATA_TYPE, htonl(NFT_DATA_VERDICT));
        }
        if (row->size > 0) {
            struct nlattr *desc = mnl_attr_nest_start(h, NFTA_SET_DESC);
            mnl_attr_put_u32(h, NFTA_SET_DESC_SIZE, htonl(row->size));
            mnl_attr_nest_end(h, desc);
        }
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
              nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data), nftnl_udata_buf_len(data)) == 0;
    if (data != NULL) {
        nftnl_udata_buf_free(data);
    }
    return ok;
}

static void put_rule(struct nft_batch *b, uint16_t family, const struct nft_rule_row *row, const struct nft_base *base)
{
    char comment[NFT_COMMENT_MAX];
    struct nft_rule_builder builder = {.rule = nftnl_rule_alloc()};
    if (builder.rule == NULL) {
        b->failed = true;
        return;
    }
    nft_rule_comment(row, base, comment);
    builder.failed = nftnl_rule_set_str(builder.rule, NFTNL_RULE_TABLE, base->mark) != 0 ||
                     nftnl_rule_set_str(builder.rule, NFTNL_RULE_CHAIN, row->chain) != 0 || !set_comment(builder.rule, comment);
    row->build(&builder, base);
    b->failed = b->failed || builder.failed;
    struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND, "rule %s of chain %s", row->name, row->chain);
    if (h != NULL) {
        nftnl_rule_nlmsg_build_payload(h, builder.rule);
        nft_batch_close(b);
    }
    nftnl_rule_free(builder.rule);
}

/* `opening`: the one rule that opens the gate, or all others. */
static void put_rules(struct nft_batch *b, const struct nft_base *base, bool opening)
{
    for (size_t i = 0; i < ARRAY_LEN(nft_families); i++) {
        for (const struct nft_rule_row *row = nft_families[i].rules; row->chain != NULL; row++) {
            if (nft_rule_wanted(row, base) && (row->build == nft_rule_open) == opening) {
                put_rule(b, nft_families[i].family, row, base);
            }
        }
    }
}

static void put_policies(struct nft_batch *b, const struct nft_base *base)
{
    struct policy host;
    const struct address_sets none = {.count = 0};
    policy_defaults(&host);
    nft_put_policies(b, base->mark, base->policies != NULL ? base->policies : &(struct nft_policies){.host = &host, .sets = &none});
}

/*
 * By a batch of its own: the kernel lets new rules hold a moment before it has filled new sets of intervals (nf_tables_commit() starts the new
 * generation, and only then calls the sets), so that something closed would be open for some 100 us.
 */
static int open_gate(const struct nft_base *base, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put_rules(&b, base, true);
    return nft_batch_commit(&b, base->mark, err);
}

int nft_base_apply(const struct nft_base *base, const char *const *uplinks, size_t uplink_count, const struct nft_guest *guests, size_t guest_count,
                   struct error *err)
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
    put_rules(&b, base, false);
    nft_put_open_ports(&b, base->mark, base->open_ports, base->open_port_count);
    nft_put_closed(&b, base->mark, base->closed, base->closed_count);
    nft_put_uplinks(&b, NFT_MSG_NEWSETELEM, base->mark, uplinks, uplink_count);
    nft_put_guests(&b, NFT_MSG_NEWSETELEM, base->mark, guests, guest_count);
    nft_put_ports(&b, NFT_MSG_NEWSETELEM, base->mark, base->ports, base->port_count);
    put_policies(&b, base);
    return nft_batch_commit(&b, base->mark, err) == 0 ? open_gate(base, err) : -1;
}

int nft_base_remove(const char *mark, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put_deletion(&b, mark);
    return nft_batch_commit(&b, mark, err);
}
