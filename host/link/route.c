#include "host/link/route.h"

#include "core/array.h"

#include "host/link/rtnl.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static unsigned char family_of(enum ip_version version)
{
    return version == IP_V4 ? AF_INET : AF_INET6;
}

struct route_dump {
    uint32_t table;
    struct route_listed *items;
    size_t count;
    bool failed;
};

static void read_net(const struct rtmsg *head, struct nlattr *a, struct ip_net *ret)
{
    int len = head->rtm_family == AF_INET ? 4 : 16;
    *ret = (struct ip_net){.address = {.version = head->rtm_family == AF_INET ? IP_V4 : IP_V6}, .prefix = head->rtm_dst_len};
    if (a != NULL && nla_len(a) >= len) {
        memcpy(ret->address.bytes, nla_data(a), (size_t)len);
    }
}

static void got_route(const struct nlmsghdr *h, void *ctx)
{
    struct route_dump *dump = ctx;
    struct nlattr *tb[RTA_MAX + 1] = {NULL};
    const struct rtmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, RTA_MAX, NULL) != 0 ||
        (head->rtm_family != AF_INET && head->rtm_family != AF_INET6) || rtnl_u32(tb[RTA_TABLE], head->rtm_table) != dump->table ||
        (head->rtm_flags & RTM_F_CLONED) != 0 || dump->failed) {
        return;
    }
    struct route_listed *items = array_grow(dump->items, dump->count, sizeof *items);
    if (items == NULL || dump->count == ROUTES_MAX) {
        dump->items = items != NULL ? items : dump->items;
        dump->failed = true;
        return;
    }
    dump->items = items;
    struct route_listed *item = &items[dump->count++];
    *item = (struct route_listed){.ours = head->rtm_protocol == ROUTE_PROTOCOL};
    read_net(head, tb[RTA_DST], &item->route.net);
    item->route.metric = rtnl_u32(tb[RTA_PRIORITY], 0);
    item->route.unreachable = head->rtm_type == RTN_UNREACHABLE;
    uint32_t index = rtnl_u32(tb[RTA_OIF], 0);
    char name[IF_NAMESIZE];
    /* IPv6 tells of the loopback link for what is unreachable. */
    if (!item->route.unreachable && index != 0 && if_indextoname(index, name) != NULL) {
        (void)snprintf(item->route.link, sizeof item->route.link, "%s", name);
    }
}

static int dump_family(struct rtnl *r, unsigned char family, struct route_dump *dump)
{
    struct rtmsg head = {.rtm_family = family};
    AUTO_MSG *msg = rtnl_msg(RTM_GETROUTE, NLM_F_DUMP, &head, sizeof head);
    if (msg == NULL || nla_put_u32(msg, RTA_TABLE, dump->table) != 0) {
        return ENOMEM;
    }
    int result = rtnl_talk(r, msg, got_route, dump);
    return result == ENOENT || result == EAFNOSUPPORT ? 0 : result; /* nothing was ever put into this table; no IPv6 */
}

int route_list(uint32_t table, struct route_listed **ret, size_t *ret_count, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct route_dump dump = {.table = table};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = dump_family(&r, AF_INET, &dump);
    result = result == 0 ? dump_family(&r, AF_INET6, &dump) : result;
    if (result != 0 || dump.failed) {
        free(dump.items);
        return rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result != 0 ? result : E2BIG, err, "cannot list the routes of table %u", table);
    }
    *ret = dump.items;
    *ret_count = dump.count;
    return 0;
}

static int put_route(struct nl_msg *msg, uint32_t table, const struct route *route, unsigned index)
{
    int len = route->net.address.version == IP_V4 ? 4 : 16;
    return nla_put_u32(msg, RTA_TABLE, table) != 0 || nla_put_u32(msg, RTA_PRIORITY, route->metric) != 0 ||
                   (route->net.prefix > 0 && nla_put(msg, RTA_DST, len, route->net.address.bytes) != 0) || (index != 0 && nla_put_u32(msg, RTA_OIF, index) != 0)
               ? ENOMEM
               : 0;
}

static int change_route(struct rtnl *r, int type, int flags, uint32_t table, const struct route *route)
{
    struct rtmsg head = {.rtm_family = family_of((enum ip_version)route->net.address.version),
                         .rtm_dst_len = route->net.prefix,
                         .rtm_table = table < 256 ? (unsigned char)table : RT_TABLE_UNSPEC,
                         .rtm_protocol = ROUTE_PROTOCOL,
                         .rtm_scope = route->unreachable ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                         .rtm_type = route->unreachable ? RTN_UNREACHABLE : RTN_UNICAST};
    unsigned index = route->unreachable ? 0 : if_nametoindex(route->link);
    if (!route->unreachable && index == 0) {
        return ENODEV;
    }
    AUTO_MSG *msg = rtnl_msg(type, flags, &head, sizeof head);
    int result = msg == NULL ? ENOMEM : put_route(msg, table, route, index);
    return result == 0 ? rtnl_talk(r, msg, NULL, NULL) : result;
}

static int change_and_tell(int type, int flags, uint32_t table, const struct route *route, int harmless, const char *verb, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    char net[IP_NET_TEXT_MAX];
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = change_route(&r, type, flags, table, route);
    if (result == 0 || result == harmless || (type == RTM_DELROUTE && result == ENODEV)) {
        return 0;
    }
    return rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result, err, "cannot %s the route to %s%s%s in table %u", verb, ip_net_format(&route->net, net),
                     route->unreachable ? " (unreachable)" : " by ", route->link, table);
}

int route_add(uint32_t table, const struct route *route, struct error *err)
{
    return change_and_tell(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, table, route, EEXIST, "add", err);
}

int route_delete(uint32_t table, const struct route *route, struct error *err)
{
    return change_and_tell(RTM_DELROUTE, 0, table, route, ESRCH, "delete", err);
}

struct rule_dump {
    const char *bridge;
    struct route_rule *items; /* of that bridge; NULL: not wanted */
    size_t count;
    bool failed;
    uint32_t table;
    char user[INTERFACE_NAME_MAX]; /* another bridge with a rule that leads to the table */
};

static void got_rule(const struct nlmsghdr *h, void *ctx)
{
    struct rule_dump *dump = ctx;
    struct nlattr *tb[FRA_MAX + 1] = {NULL};
    const struct fib_rule_hdr *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWRULE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, FRA_MAX, NULL) != 0) {
        return;
    }
    if (rtnl_u8(tb[FRA_PROTOCOL], 0) != ROUTE_PROTOCOL || rtnl_u32(tb[FRA_PRIORITY], 0) != (uint32_t)ROUTE_RULE_PRIORITY || tb[FRA_IIFNAME] == NULL) {
        return;
    }
    bool ours = nla_strcmp(tb[FRA_IIFNAME], dump->bridge) == 0;
    if (!ours && rtnl_u32(tb[FRA_TABLE], head->table) == dump->table) {
        (void)snprintf(dump->user, sizeof dump->user, "%.*s", nla_len(tb[FRA_IIFNAME]), (const char *)nla_data(tb[FRA_IIFNAME]));
    }
    if (!ours || dump->items == NULL || dump->count == ROUTE_RULES_MAX) {
        dump->failed = dump->failed || (ours && dump->items != NULL);
        return;
    }
    dump->items[dump->count++] = (struct route_rule){.version = head->family == AF_INET ? IP_V4 : IP_V6, .table = rtnl_u32(tb[FRA_TABLE], head->table)};
}

static int dump_rules(struct rule_dump *dump, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    const unsigned char families[] = {AF_INET, AF_INET6};
    int result = 0;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(families) && result == 0; i++) {
        struct fib_rule_hdr head = {.family = families[i]};
        AUTO_MSG *msg = rtnl_msg(RTM_GETRULE, NLM_F_DUMP, &head, sizeof head);
        result = rtnl_talk(&r, msg, got_rule, dump);
        result = result == EAFNOSUPPORT ? 0 : result; /* no IPv6 in this kernel */
    }
    if (result != 0 || dump->failed) {
        return rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result != 0 ? result : E2BIG, err, "cannot list the routing rules");
    }
    return 0;
}

int route_rules_list(const char *bridge, struct route_rule ret[ROUTE_RULES_MAX], size_t *ret_count, struct error *err)
{
    struct rule_dump dump = {.bridge = bridge, .items = ret};
    if (dump_rules(&dump, err) != 0) {
        return -1;
    }
    *ret_count = dump.count;
    return 0;
}

int route_table_user(uint32_t table, const char *bridge, char ret[INTERFACE_NAME_MAX], struct error *err)
{
    struct rule_dump dump = {.bridge = bridge, .table = table};
    if (dump_rules(&dump, err) != 0) {
        return -1;
    }
    memcpy(ret, dump.user, sizeof dump.user);
    return 0;
}

static int change_rule(int type, int flags, const char *bridge, const struct route_rule *rule, int harmless, const char *verb, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct fib_rule_hdr head = {
        .family = family_of(rule->version), .action = FR_ACT_TO_TBL, .table = rule->table < 256 ? (unsigned char)rule->table : RT_TABLE_UNSPEC};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    AUTO_MSG *msg = rtnl_msg(type, flags, &head, sizeof head);
    if (msg == NULL || nla_put_u32(msg, FRA_PRIORITY, ROUTE_RULE_PRIORITY) != 0 || nla_put_u32(msg, FRA_TABLE, rule->table) != 0 ||
        nla_put_string(msg, FRA_IIFNAME, bridge) != 0 || nla_put_u8(msg, FRA_PROTOCOL, ROUTE_PROTOCOL) != 0) {
        return error_oom(err);
    }
    int result = rtnl_talk(&r, msg, NULL, NULL);
    return result == 0 || result == harmless
               ? 0
               : rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result, err, "cannot %s the rule 'iif %s lookup %u'", verb, bridge, rule->table);
}

int route_rule_add(const char *bridge, const struct route_rule *rule, struct error *err)
{
    return change_rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, bridge, rule, EEXIST, "add", err);
}

int route_rule_delete(const char *bridge, const struct route_rule *rule, struct error *err)
{
    return change_rule(RTM_DELRULE, 0, bridge, rule, ENOENT, "delete", err);
}
