/* What blocks forwarding, in nftables. */
#include <stdio.h> /* libnftnl's headers need it */

#include "host/nft/batch.h"
#include "host/nft/forward_block.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

enum { CANDIDATES_MAX = 16 };

struct candidate {
    uint32_t family;
    bool drops; /* by its policy */
    char table[256], chain[256];
};

struct chains {
    const char *mark;
    struct candidate items[CANDIDATES_MAX]; /* base chains at hook forward; a host has two or three */
    size_t count;
    bool docker, ufw; /* chains of theirs are there */
};

static void note_base_chain(struct chains *chains, const struct nftnl_chain *chain, const char *table, const char *name)
{
    uint32_t family = nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY);
    const char *type = nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE);
    bool ours = family == NFPROTO_INET && strcmp(table, chains->mark) == 0;
    if ((family != NFPROTO_IPV4 && family != NFPROTO_INET) || ours || type == NULL || strcmp(type, "filter") != 0 ||
        nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) != NF_INET_FORWARD || chains->count == CANDIDATES_MAX) {
        return;
    }
    struct candidate *candidate = &chains->items[chains->count++];
    candidate->family = family;
    candidate->drops = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP;
    (void)snprintf(candidate->table, sizeof candidate->table, "%s", table);
    (void)snprintf(candidate->chain, sizeof candidate->chain, "%s", name);
}

static void read_chain(const struct nlmsghdr *h, void *ctx)
{
    struct chains *chains = ctx;
    struct nftnl_chain *chain = nftnl_chain_alloc();
    if (chain != NULL && nftnl_chain_nlmsg_parse(h, chain) == 0) {
        const char *table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
        const char *name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
        if (table != NULL && name != NULL) {
            chains->docker = chains->docker || strcmp(name, "DOCKER-USER") == 0;
            chains->ufw = chains->ufw || strncmp(name, "ufw-", 4) == 0;
            note_base_chain(chains, chain, table, name);
        }
    }
    if (chain != NULL) {
        nftnl_chain_free(chain);
    }
}

/* Rules of a chain or a table, as far as they matter here. */
struct rules {
    const char *bridge;
    bool drops;        /* any of them drops whatever comes to it */
    bool names_bridge; /* any of them */
};

static int judge_expression(struct nftnl_expr *e, void *ctx)
{
    bool *drops = ctx;
    const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
    const char *target = strcmp(name, "target") == 0 ? nftnl_expr_get_str(e, NFTNL_EXPR_TG_NAME) : "";
    bool verdict = strcmp(name, "immediate") == 0 && nftnl_expr_is_set(e, NFTNL_EXPR_IMM_VERDICT);
    if (strcmp(name, "counter") == 0 || strcmp(name, "log") == 0) {
        return 0;
    }
    if (strcmp(name, "reject") == 0 || strcmp(target, "REJECT") == 0 || (verdict && nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_VERDICT) == NF_DROP)) {
        *drops = true;
        return 0;
    }
    *drops = false; /* it asks for something, or goes on elsewhere */
    return -1;
}

static void read_rule(const struct nlmsghdr *h, void *ctx)
{
    struct rules *rules = ctx;
    struct nftnl_rule *rule = nftnl_rule_alloc();
    /* Names end in a NUL in every form that nft and iptables give them. */
    rules->names_bridge = rules->names_bridge || memmem(h, h->nlmsg_len, rules->bridge, strlen(rules->bridge) + 1) != NULL;
    if (rule != NULL && nftnl_rule_nlmsg_parse(h, rule) == 0) {
        bool drops = false;
        rules->drops = (nftnl_expr_foreach(rule, judge_expression, &drops) >= 0 && drops) || rules->drops;
    }
    if (rule != NULL) {
        nftnl_rule_free(rule);
    }
}

/* `chain` NULL: of the whole table. */
static int look_at_rules(struct mnl_socket *nl, const struct candidate *where, const char *chain, struct rules *rules)
{
    char buf[NFT_REQUEST_MAX];
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETRULE, (uint16_t)where->family, NLM_F_DUMP, 1);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, where->table);
    if (chain != NULL) {
        mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
    }
    return nft_query(nl, h, read_rule, rules, NULL);
}

static enum forward_block_owner owner_of(const struct chains *chains, const struct candidate *candidate)
{
    if (strcmp(candidate->table, "firewalld") == 0) {
        return BLOCK_BY_FIREWALLD;
    }
    if (candidate->family != NFPROTO_IPV4 || strcmp(candidate->table, "filter") != 0 || strcmp(candidate->chain, "FORWARD") != 0) {
        return BLOCK_BY_NFT;
    }
    if (chains->docker) {
        return BLOCK_BY_DOCKER;
    }
    return chains->ufw ? BLOCK_BY_UFW : BLOCK_BY_IPTABLES;
}

static int judge(struct mnl_socket *nl, const struct chains *chains, const struct candidate *candidate, const char *bridge, struct forward_block *ret)
{
    struct rules of_chain = {.bridge = bridge};
    struct rules of_table = {.bridge = bridge};
    int result = look_at_rules(nl, candidate, candidate->chain, &of_chain);
    if (result != 0 || (!candidate->drops && !of_chain.drops)) {
        return result;
    }
    result = look_at_rules(nl, candidate, NULL, &of_table);
    if (result != 0 || of_table.names_bridge) {
        return result;
    }
    *ret = (struct forward_block){.found = true, .by_policy = candidate->drops, .owner = owner_of(chains, candidate)};
    (void)snprintf(ret->family, sizeof ret->family, "%s", candidate->family == NFPROTO_INET ? "inet" : "ip");
    (void)snprintf(ret->table, sizeof ret->table, "%.63s", candidate->table);
    (void)snprintf(ret->chain, sizeof ret->chain, "%.63s", candidate->chain);
    return 0;
}

int forward_block_find(const char *mark, const char *bridge, struct forward_block *ret, struct error *err)
{
    char buf[NFT_REQUEST_MAX];
    struct chains chains = {.mark = mark};
    memset(ret, 0, sizeof *ret);
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NLM_F_DUMP, 1);
    int result = nft_query(nl, h, read_chain, &chains, NULL);
    for (size_t i = 0; i < chains.count && result == 0 && !ret->found; i++) {
        result = judge(nl, &chains, &chains.items[i], bridge, ret);
        result = result == ENOENT ? 0 : result; /* gone meanwhile */
    }
    nft_socket_release(result == 0);
    if (result != 0) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot look at the firewall's chains");
    }
    return ret->found ? 0 : forward_block_legacy(bridge, ret, err);
}

void forward_block_advice(const struct forward_block *block, const char *bridge, char *buf)
{
    const char *iptables = block->legacy ? "iptables-legacy" : "iptables";
    int len = snprintf(buf, BLOCK_TEXT_MAX,
                       "%s of the %schain %s in table %s %s drops what this host forwards, also between guests and the network; let guests through by: ",
                       block->by_policy ? "the policy" : "a rule", block->legacy ? "(old) iptables " : "", block->chain, block->family, block->table);
    size_t used = len > 0 && len < BLOCK_TEXT_MAX ? (size_t)len : 0;
    char *at = buf + used;
    const size_t room = BLOCK_TEXT_MAX - used;
    switch (block->owner) {
    case BLOCK_BY_DOCKER:
        (void)snprintf(at, room, "%s -I DOCKER-USER -i %s -j ACCEPT; %s -I DOCKER-USER -o %s -j ACCEPT", iptables, bridge, iptables, bridge);
        break;
    case BLOCK_BY_UFW:
        (void)snprintf(at, room, "ufw route allow in on %s; ufw route allow out on %s", bridge, bridge);
        break;
    case BLOCK_BY_FIREWALLD:
        (void)snprintf(at, room, "firewall-cmd --permanent --zone=trusted --add-interface=%s; firewall-cmd --reload", bridge);
        break;
    case BLOCK_BY_IPTABLES:
        (void)snprintf(at, room, "%s -I %s -i %s -j ACCEPT; %s -I %s -o %s -j ACCEPT", iptables, block->chain, bridge, iptables, block->chain, bridge);
        break;
    case BLOCK_BY_NFT:
        (void)snprintf(at, room, "nft insert rule %s %s %s iifname %s accept; nft insert rule %s %s %s oifname %s accept", block->family, block->table,
                       block->chain, bridge, block->family, block->table, block->chain, bridge);
        break;
    case BLOCK_OWNER_COUNT_:
        break;
    }
}
