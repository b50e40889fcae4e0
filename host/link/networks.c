/* The networks that this host is connected to. */
#include "host/link/rtnl.h"

#include "core/array.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

/* What is shorter is half of a default route, as VPNs set it, and no network. */
enum { NETWORK_PREFIX_MIN = 8 };

enum { EXCEPT_MAX = 4 };

struct networks {
    int tunnels[INTERFACE_NAMES_MAX]; /* that guests leave by, or 0 */
    int except[EXCEPT_MAX];           /* indices of links, or 0 */
    struct ip_net *nets;
    size_t count;
    bool full, failed;
};

static bool has_index(const int *indices, size_t count, int index)
{
    for (size_t i = 0; i < count; i++) {
        if (indices[i] != 0 && indices[i] == index) {
            return true;
        }
    }
    return false;
}

static bool is_connected(const struct rtmsg *head, struct nlattr *tb[], const struct networks *found)
{
    uint32_t table = rtnl_u32(tb[RTA_TABLE], head->rtm_table);
    bool on_link = tb[RTA_OIF] != NULL && tb[RTA_GATEWAY] == NULL && tb[RTA_VIA] == NULL && tb[RTA_DST] != NULL;
    return table == RT_TABLE_MAIN && head->rtm_type == RTN_UNICAST && (head->rtm_flags & RTM_F_CLONED) == 0 && on_link &&
           head->rtm_dst_len >= NETWORK_PREFIX_MIN && !has_index(found->except, EXCEPT_MAX, (int)rtnl_u32(tb[RTA_OIF], 0));
}

/* A full tunnel but for private networks is led into by many routes without a gateway: 11.0.0.0/8, 12.0.0.0/6, … */
static bool is_part_of_way(const struct rtmsg *head, struct nlattr *tb[], const struct networks *found, const struct ip_net *net)
{
    return head->rtm_protocol != RTPROT_KERNEL && has_index(found->tunnels, INTERFACE_NAMES_MAX, (int)rtnl_u32(tb[RTA_OIF], 0)) && ip_net_is_public(net);
}

static void collect(const struct nlmsghdr *h, void *ctx)
{
    struct networks *found = ctx;
    struct nlattr *tb[RTA_MAX + 1] = {NULL};
    const struct rtmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, RTA_MAX, NULL) != 0 || !is_connected(head, tb, found)) {
        return;
    }
    const size_t width = head->rtm_family == AF_INET ? 4 : 16;
    if (found->count == LINK_NETWORKS_MAX || nla_len(tb[RTA_DST]) != (int)width) {
        found->full = found->full || found->count == LINK_NETWORKS_MAX;
        return;
    }
    struct ip_net net = {.address.version = head->rtm_family == AF_INET ? IP_V4 : IP_V6, .prefix = head->rtm_dst_len};
    memcpy(net.address.bytes, nla_data(tb[RTA_DST]), width);
    if (is_part_of_way(head, tb, found, &net)) {
        return;
    }
    struct ip_net *grown = array_grow(found->nets, found->count, sizeof *grown);
    if (grown == NULL) {
        found->failed = true;
        return;
    }
    found->nets = grown;
    found->nets[found->count++] = net;
}

static int dump(struct rtnl *r, uint8_t family, struct networks *found)
{
    const struct rtmsg head = {.rtm_family = family, .rtm_table = RT_TABLE_MAIN};
    AUTO_MSG *msg = rtnl_msg(RTM_GETROUTE, NLM_F_DUMP, &head, sizeof head);
    int result = rtnl_talk(r, msg, collect, found);
    /* ENOENT: no route was ever put into the table. EOPNOTSUPP: the kernel has no IPv6. */
    return result == ENOENT || result == EOPNOTSUPP ? 0 : result;
}

/* Links on which nobody is a neighbour. */
static int find_tunnels(struct rtnl *r, const struct interface_names *uplinks, struct networks *found)
{
    for (size_t i = 0; i < uplinks->count; i++) {
        struct link_detail link = {.group = 0};
        int result = link_detail_get(r, LINK_BY_NAME, uplinks->items[i], &link);
        if (result != 0 && result != ENODEV) {
            return result;
        }
        found->tunnels[i] = result == 0 && !link.arp ? link.info.index : 0;
    }
    return 0;
}

static int dump_networks(struct rtnl *r, const char *const *except, size_t except_count, struct networks *found)
{
    for (size_t i = 0; i < except_count && i < EXCEPT_MAX; i++) {
        struct link_detail link = {.group = 0};
        int result = link_detail_get(r, LINK_BY_NAME, except[i], &link);
        if (result != 0 && result != ENODEV) {
            return result;
        }
        found->except[i] = result == 0 ? link.info.index : 0;
    }
    int result = dump(r, AF_INET, found);
    return result != 0 ? result : dump(r, AF_INET6, found);
}

int link_networks_list(const char *const *except, size_t except_count, const struct interface_names *uplinks, struct ip_net **ret, size_t *ret_count,
                       struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct networks found = {.count = 0};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = uplinks != NULL ? find_tunnels(&r, uplinks, &found) : 0;
    result = result == 0 ? dump_networks(&r, except, except_count, &found) : result;
    AUTO_FREE struct ip_net *nets = found.nets;
    if (result != 0) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look through the routes");
    }
    if (found.failed) {
        return error_oom(err);
    }
    if (found.full) {
        return error_set(err, ERR_SYSTEM, "the host is connected to more than %d networks", LINK_NETWORKS_MAX);
    }
    *ret = TAKE_PTR(nets);
    *ret_count = found.count;
    return 0;
}
