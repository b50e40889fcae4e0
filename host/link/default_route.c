/* Routes of others that compete with those of the guests' network. */
#include "host/link/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

struct route {
    struct ipv4_net net;
    uint32_t table;
    int link;       /* the first one; 0 for a route that leads nowhere, like a blackhole */
    bool connected; /* the network of an address of the link */
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
    if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, RTA_MAX, NULL) != 0 || head->rtm_family != AF_INET ||
        (head->rtm_flags & RTM_F_CLONED) != 0) {
        return false;
    }
    *ret = (struct route){.net = {.address = ntohl(rtnl_u32(tb[RTA_DST], 0)), .prefix = head->rtm_dst_len},
                          .table = rtnl_u32(tb[RTA_TABLE], head->rtm_table),
                          .link = first_link(tb),
                          .connected = head->rtm_protocol == RTPROT_KERNEL && head->rtm_scope == RT_SCOPE_LINK};
    return true;
}

static int dump_routes(struct rtnl *r, uint32_t table, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx)
{
    const struct rtmsg head = {.rtm_family = AF_INET, .rtm_table = (unsigned char)table};
    AUTO_MSG *msg = rtnl_msg(RTM_GETROUTE, NLM_F_DUMP, &head, sizeof head);
    return rtnl_talk(r, msg, each, ctx);
}

enum { AROUND_MAX = 16 };

struct overlap {
    struct ipv4_net net;
    int except; /* index of a link, or 0 */
    struct route route;
    bool found;
    struct route around[AROUND_MAX]; /* connected networks that the subnet is a part of */
    size_t around_count;
};

/*
 * A route inside the subnet, or to all of it, takes packets away from guests; and so does any of table local, which is asked first. A wider one
 * takes none, as the bridge's is longer: unless it is the network of an address of the host, whose neighbours the subnet would hide.
 */
static void look_for_overlap(const struct nlmsghdr *h, void *ctx)
{
    struct overlap *overlap = ctx;
    struct route route;
    if (overlap->found || !parse_route(h, &route) || (route.table != RT_TABLE_MAIN && route.table != RT_TABLE_LOCAL) || route.net.prefix == 0 ||
        (overlap->except != 0 && route.link == overlap->except) || !ipv4_net_overlap(overlap->net, route.net)) {
        return;
    }
    if (route.net.prefix >= overlap->net.prefix || route.table == RT_TABLE_LOCAL) {
        overlap->route = route;
        overlap->found = true;
    } else if (route.connected && overlap->around_count < AROUND_MAX) {
        overlap->around[overlap->around_count++] = route;
    }
}

/* Who is at the other end of a tunnel is reached by its routes, and the longer one wins: only where hosts ask for each other there are neighbours. */
static void look_around(struct rtnl *r, struct overlap *overlap)
{
    for (size_t i = 0; i < overlap->around_count && !overlap->found; i++) {
        struct link_detail link;
        if (link_detail_get(r, overlap->around[i].link, NULL, &link) == 0 && link.arp) {
            overlap->route = overlap->around[i];
            overlap->found = true;
        }
    }
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

int link_route_overlap(struct ipv4_net net, const char *except_link, bool *ret_found, char ret_text[64], struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct overlap overlap = {.net = net, .found = false};
    struct link_detail except;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = except_link != NULL && except_link[0] != '\0' ? link_detail_get(&r, LINK_BY_NAME, except_link, &except) : ENODEV;
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
    look_around(&r, &overlap);
    if (overlap.found) {
        describe(&r, &overlap.route, ret_text);
    }
    *ret_found = overlap.found;
    return 0;
}
