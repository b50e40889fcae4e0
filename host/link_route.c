/* What the routing tables say: the default route, and networks that overlap ours. */
#include "host/link_rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

struct route {
    struct ipv4_net net;
    uint32_t table;
    uint32_t metric;
    int link; /* the first one; 0 for a route that leads nowhere, like a blackhole */
    uint8_t type;
};

static int first_link(struct nlattr *tb[])
{
    const struct nlattr *many = tb[RTA_MULTIPATH];
    if (tb[RTA_OIF] == NULL && many != NULL && nla_len(many) >= (int)sizeof(struct rtnexthop)) {
        const struct rtnexthop *hop = nla_data(many);
        return hop->rtnh_ifindex;
    }
    return (int)rtnl_u32(tb[RTA_OIF], 0);
}

static bool parse_route(const struct nlmsghdr *h, struct route *ret)
{
    struct nlattr *tb[RTA_MAX + 1] = {NULL};
    const struct rtmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWROUTE ||
        nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, RTA_MAX, NULL) != 0 ||
        head->rtm_family != AF_INET || (head->rtm_flags & RTM_F_CLONED) != 0) {
        return false;
    }
    *ret = (struct route){.net = {.address = ntohl(rtnl_u32(tb[RTA_DST], 0)), .prefix = head->rtm_dst_len},
                          .table = rtnl_u32(tb[RTA_TABLE], head->rtm_table),
                          .metric = rtnl_u32(tb[RTA_PRIORITY], 0),
                          .link = first_link(tb),
                          .type = head->rtm_type};
    return true;
}

static int dump_routes(struct rtnl *r, uint32_t table, void (*each)(const struct nlmsghdr *h, void *ctx),
                       void *ctx)
{
    const struct rtmsg head = {.rtm_family = AF_INET, .rtm_table = (unsigned char)table};
    AUTO_MSG *msg = rtnl_msg(RTM_GETROUTE, NLM_F_DUMP, &head, sizeof head);
    return rtnl_talk(r, msg, each, ctx);
}

struct best_default {
    struct route route;
    bool found;
};

static void look_for_default(const struct nlmsghdr *h, void *ctx)
{
    struct best_default *best = ctx;
    struct route route;
    if (parse_route(h, &route) && route.table == RT_TABLE_MAIN && route.net.prefix == 0 &&
        route.type == RTN_UNICAST && route.link != 0 && (!best->found || route.metric < best->route.metric)) {
        best->route = route;
        best->found = true;
    }
}

int link_default_route(char name[INTERFACE_NAME_MAX], struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct best_default best = {.found = false};
    struct link_detail link = {.group = 0};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = dump_routes(&r, RT_TABLE_MAIN, look_for_default, &best);
    if (result == 0 && best.found) {
        result = link_detail_get(&r, best.route.link, NULL, &link);
    }
    /* ENOENT: no route was ever put into the table. ENODEV: the link and with it the route is gone just now.
     */
    if (result != 0 && result != ENOENT && result != ENODEV) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look up the default route");
    }
    memcpy(name, link.info.name, INTERFACE_NAME_MAX);
    return 0;
}

struct overlap {
    struct ipv4_net net;
    int except; /* index of a link, or 0 */
    struct route route;
    bool found;
};

static void look_for_overlap(const struct nlmsghdr *h, void *ctx)
{
    struct overlap *overlap = ctx;
    struct route route;
    if (overlap->found || !parse_route(h, &route) ||
        (route.table != RT_TABLE_MAIN && route.table != RT_TABLE_LOCAL) || route.net.prefix == 0 ||
        (overlap->except != 0 && route.link == overlap->except) ||
        !ipv4_net_overlap(overlap->net, route.net)) {
        return;
    }
    overlap->route = route;
    overlap->found = true;
}

static void describe(struct rtnl *r, const struct route *route, char ret_text[64])
{
    char net[CIDR_TEXT_MAX];
    struct link_detail link;
    (void)ipv4_net_format(route->net, net);
    if (route->link == 0) {
        (void)snprintf(ret_text, 64, "%s via no interface", net);
    } else if (link_detail_get(r, route->link, NULL, &link) == 0) {
        (void)snprintf(ret_text, 64, "%s via %s", net, link.info.name);
    } else {
        (void)snprintf(ret_text, 64, "%s via interface %d", net, route->link);
    }
}

int link_route_overlap(struct ipv4_net net, const char *except_link, bool *ret_found, char ret_text[64],
                       struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct overlap overlap = {.net = net, .found = false};
    struct link_detail except;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = except_link != NULL && except_link[0] != '\0'
                     ? link_detail_get(&r, LINK_BY_NAME, except_link, &except)
                     : ENODEV;
    if (result == 0) {
        overlap.except = except.info.index;
    }
    const uint32_t tables[] = {RT_TABLE_MAIN, RT_TABLE_LOCAL};
    result = result == ENODEV ? 0 : result;
    for (size_t i = 0; i < ARRAY_LEN(tables) && result == 0 && !overlap.found; i++) {
        result = dump_routes(&r, tables[i], look_for_overlap, &overlap);
        result = result == ENOENT ? 0 : result; /* nothing was ever put into this table */
    }
    if (result != 0) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look through the routes");
    }
    if (overlap.found) {
        describe(&r, &overlap.route, ret_text);
    }
    *ret_found = overlap.found;
    return 0;
}
