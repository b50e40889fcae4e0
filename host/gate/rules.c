/* The gate's routing rules, by rtnetlink. */
#include "host/gate/parts.h"
#include "host/link/route.h"
#include "host/link/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* Of a bridge: what comes in by it; and what is looked up the other way round, which has no interface but the loopback's. */
enum row { ROW_BRIDGE, ROW_REVERSE, ROW_BRIDGE6, ROW_COUNT_ };

static const struct {
    unsigned char family;
    const char *words;
} rows[ROW_COUNT_] = {
    [ROW_BRIDGE] = {AF_INET, "for what comes from the bridge"},
    [ROW_REVERSE] = {AF_INET, "for what goes from guests to the host"},
    [ROW_BRIDGE6] = {AF_INET6, "for IPv6 from the bridge"},
};

struct look {
    const struct gate *gate;
    unsigned right[ROW_COUNT_]; /* how many there are of each */
    unsigned old[ROW_COUNT_];   /* the same, with the priority of older versions */
    struct ipv4_net stale;      /* where a reverse rule of ours leads that is not wanted; prefix 0: none */
    uint32_t stale_priority;
};

static bool is_wanted(const struct gate *gate, enum row row)
{
    return row != ROW_BRIDGE6 || gate->ipv6;
}

/* Rules have no name. A table, which such a rule does not look at, tells which bridge a reverse rule belongs to (FNV-1a). */
static uint32_t table_of(const char *bridge)
{
    uint32_t digest = 0x811c9dc5;
    for (const char *c = bridge; *c != '\0'; c++) {
        digest = (digest ^ (unsigned char)*c) * 0x01000193;
    }
    return digest | 0x80000000U;
}

static bool is_ours(const struct fib_rule_hdr *head, struct nlattr *tb[])
{
    uint32_t priority = rtnl_u32(tb[FRA_PRIORITY], 0);
    return rtnl_u8(tb[FRA_PROTOCOL], 0) == ROUTE_PROTOCOL && (priority == GATE_RULE_PRIORITY || priority == GATE_RULE_PRIORITY_BEFORE) &&
           tb[FRA_IIFNAME] != NULL && head->action == FR_ACT_BLACKHOLE && rtnl_u32(tb[FRA_FWMARK], 0) == GATE_MARK_CLOSED &&
           rtnl_u32(tb[FRA_FWMASK], 0) == GATE_MARK_CLOSED && head->src_len == 0 && head->tos == 0 && (head->flags & FIB_RULE_INVERT) == 0;
}

static void got_rule(const struct nlmsghdr *h, void *ctx)
{
    struct look *look = ctx;
    struct nlattr *tb[FRA_MAX + 1] = {NULL};
    const struct fib_rule_hdr *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWRULE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, FRA_MAX, NULL) != 0 || !is_ours(head, tb)) {
        return;
    }
    bool is_old = rtnl_u32(tb[FRA_PRIORITY], 0) == GATE_RULE_PRIORITY_BEFORE;
    unsigned *rows_seen = is_old ? look->old : look->right;
    if (nla_strcmp(tb[FRA_IIFNAME], look->gate->bridge) == 0 && head->dst_len == 0) {
        rows_seen[head->family == AF_INET ? ROW_BRIDGE : ROW_BRIDGE6]++;
    } else if (head->family == AF_INET && nla_strcmp(tb[FRA_IIFNAME], "lo") == 0 && tb[FRA_DST] != NULL &&
               rtnl_u32(tb[FRA_TABLE], 0) == table_of(look->gate->bridge)) {
        struct ipv4_net net = {.address = ntohl(rtnl_u32(tb[FRA_DST], 0)), .prefix = head->dst_len};
        if (net.address == look->gate->subnet.address && net.prefix == look->gate->subnet.prefix) {
            rows_seen[ROW_REVERSE]++;
        } else {
            look->stale = net;
            look->stale_priority = rtnl_u32(tb[FRA_PRIORITY], 0);
        }
    }
}

static int look_at_rules(struct rtnl *r, const struct gate *gate, struct look *ret, struct error *err)
{
    const unsigned char families[] = {AF_INET, AF_INET6};
    int result = 0;
    *ret = (struct look){.gate = gate};
    for (size_t i = 0; i < ARRAY_LEN(families) && result == 0; i++) {
        struct fib_rule_hdr head = {.family = families[i]};
        AUTO_MSG *msg = rtnl_msg(RTM_GETRULE, NLM_F_DUMP, &head, sizeof head);
        result = rtnl_talk(r, msg, got_rule, ret);
        result = families[i] == AF_INET6 && (result == EAFNOSUPPORT || result == EOPNOTSUPP) ? 0 : result; /* no IPv6 in this kernel */
    }
    return result == 0 ? 0 : rtnl_fail(r, ERR_FIREWALL_SETUP_FAILED, result, err, "cannot list the routing rules");
}

int gate_rules_check(const struct gate *gate, char found[GATE_FOUND_MAX], struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct look look;
    if (rtnl_open(&r, err) != 0 || look_at_rules(&r, gate, &look, err) != 0) {
        return -1;
    }
    for (int i = 0; i < ROW_COUNT_; i++) {
        bool wanted = is_wanted(gate, (enum row)i);
        if (wanted != (look.right[i] > 0)) {
            (void)snprintf(found, GATE_FOUND_MAX, "the routing rule %s is %s", rows[i].words, wanted ? "gone" : "there, and not wanted");
            return 0;
        }
        if (look.old[i] > 0) {
            (void)snprintf(found, GATE_FOUND_MAX, "the routing rule %s has the priority of an older version, too", rows[i].words);
            return 0;
        }
    }
    if (look.stale.prefix > 0) {
        (void)snprintf(found, GATE_FOUND_MAX, "there is a routing rule for another subnet");
    }
    return 0;
}

static int change_rule(struct rtnl *r, int type, enum row row, uint32_t priority, const struct gate *gate, struct ipv4_net net)
{
    bool reverse = row == ROW_REVERSE;
    const uint32_t address = htonl(net.address);
    const struct fib_rule_hdr head = {
        .family = rows[row].family, .action = FR_ACT_BLACKHOLE, .dst_len = reverse ? (unsigned char)net.prefix : 0, .table = RT_TABLE_UNSPEC};
    AUTO_MSG *msg = rtnl_msg(type, type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0, &head, sizeof head);
    if (msg == NULL || nla_put_u32(msg, FRA_PRIORITY, priority) != 0 || nla_put_u32(msg, FRA_FWMARK, GATE_MARK_CLOSED) != 0 ||
        nla_put_u32(msg, FRA_FWMASK, GATE_MARK_CLOSED) != 0 || nla_put_u8(msg, FRA_PROTOCOL, ROUTE_PROTOCOL) != 0 ||
        nla_put_string(msg, FRA_IIFNAME, reverse ? "lo" : gate->bridge) != 0 ||
        (reverse && (nla_put(msg, FRA_DST, sizeof address, &address) != 0 || nla_put_u32(msg, FRA_TABLE, table_of(gate->bridge)) != 0))) {
        return ENOMEM;
    }
    int result = rtnl_talk(r, msg, NULL, NULL);
    return result == (type == RTM_NEWRULE ? EEXIST : ENOENT) ? 0 : result;
}

int gate_rules_apply(const struct gate *gate, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct look look;
    int result = 0;
    if (rtnl_open(&r, err) != 0 || look_at_rules(&r, gate, &look, err) != 0) {
        return -1;
    }
    for (int i = 0; i < ROW_COUNT_ && result == 0; i++) {
        bool wanted = is_wanted(gate, (enum row)i);
        if (wanted != (look.right[i] > 0)) {
            result = change_rule(&r, wanted ? RTM_NEWRULE : RTM_DELRULE, (enum row)i, GATE_RULE_PRIORITY, gate, gate->subnet);
        }
        if (look.old[i] > 0 && result == 0) {
            result = change_rule(&r, RTM_DELRULE, (enum row)i, GATE_RULE_PRIORITY_BEFORE, gate, gate->subnet);
        }
    }
    while (result == 0 && look.stale.prefix > 0) {
        result = change_rule(&r, RTM_DELRULE, ROW_REVERSE, look.stale_priority, gate, look.stale);
        if (result == 0 && look_at_rules(&r, gate, &look, err) != 0) {
            return -1;
        }
    }
    return result == 0 ? 0 : rtnl_fail(&r, ERR_FIREWALL_SETUP_FAILED, result, err, "cannot set the routing rules of %s", gate->bridge);
}

static bool is_any(const struct look *look)
{
    return look->right[ROW_BRIDGE] + look->old[ROW_BRIDGE] + look->right[ROW_BRIDGE6] + look->old[ROW_BRIDGE6] > 0 || look->stale.prefix > 0;
}

static int remove_one(struct rtnl *r, const struct gate *gate, const struct look *look)
{
    if (look->stale.prefix > 0) {
        return change_rule(r, RTM_DELRULE, ROW_REVERSE, look->stale_priority, gate, look->stale);
    }
    enum row row = look->right[ROW_BRIDGE] + look->old[ROW_BRIDGE] > 0 ? ROW_BRIDGE : ROW_BRIDGE6;
    return change_rule(r, RTM_DELRULE, row, look->right[row] > 0 ? GATE_RULE_PRIORITY : GATE_RULE_PRIORITY_BEFORE, gate, gate->subnet);
}

int gate_rules_remove(const char *bridge, size_t *ret_count, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    const struct gate gate = {.bridge = bridge, .ipv6 = true}; /* of no subnet: each reverse rule is stale */
    struct look look;
    *ret_count = 0;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    for (;;) {
        if (look_at_rules(&r, &gate, &look, err) != 0) {
            return -1;
        }
        if (!is_any(&look)) {
            return 0;
        }
        int result = remove_one(&r, &gate, &look);
        if (result != 0) {
            return rtnl_fail(&r, ERR_FIREWALL_SETUP_FAILED, result, err, "cannot remove the routing rules of %s", bridge);
        }
        (*ret_count)++;
    }
}
