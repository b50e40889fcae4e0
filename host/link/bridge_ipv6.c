#include "host/link/bridge_ipv6.h"

#include "host/link/rtnl.h"
#include "host/link/sysctl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

enum { ADDRESSES_MAX = 16 }; /* more than these on one bridge are removed by the next call */

struct found {
    int index;
    const struct ip_addr *wanted;
    unsigned prefix;
    bool wanted_there;
    struct ip_net others[ADDRESSES_MAX]; /* with their host bits */
    size_t other_count;
};

static void read_address(const struct nlmsghdr *h, void *ctx)
{
    struct found *found = ctx;
    struct nlattr *tb[IFA_MAX + 1] = {NULL};
    const struct ifaddrmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWADDR || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, IFA_MAX, NULL) != 0 || head->ifa_family != AF_INET6 ||
        (int)head->ifa_index != found->index || head->ifa_scope == RT_SCOPE_LINK || tb[IFA_ADDRESS] == NULL || nla_len(tb[IFA_ADDRESS]) != 16) {
        return;
    }
    struct ip_net address = {.address.version = IP_V6, .prefix = head->ifa_prefixlen};
    memcpy(address.address.bytes, nla_data(tb[IFA_ADDRESS]), 16);
    if (found->wanted != NULL && ip_addr_equal(&address.address, found->wanted) && address.prefix == found->prefix) {
        found->wanted_there = true;
    } else if (found->other_count < ADDRESSES_MAX) {
        found->others[found->other_count++] = address;
    }
}

/* ENODEV: there is no such link. */
static int find_bridge_addresses(struct rtnl *r, const char *bridge, struct found *found)
{
    struct link_detail link = {.group = 0};
    int result = link_detail_get(r, LINK_BY_NAME, bridge, &link);
    if (result != 0) {
        return result;
    }
    found->index = link.info.index;
    const struct ifaddrmsg head = {.ifa_family = AF_INET6, .ifa_index = (unsigned)link.info.index};
    AUTO_MSG *msg = rtnl_msg(RTM_GETADDR, NLM_F_DUMP, &head, sizeof head);
    result = rtnl_talk(r, msg, read_address, found);
    return result == EOPNOTSUPP && found->wanted == NULL ? 0 : result;
}

static int change_bridge_address(struct rtnl *r, int type, int flags, int index, const struct ip_addr *address, unsigned prefix)
{
    const struct ifaddrmsg head = {.ifa_family = AF_INET6, .ifa_index = (unsigned)index, .ifa_prefixlen = (unsigned char)prefix};
    AUTO_MSG *msg = rtnl_msg(type, flags, &head, sizeof head);
    /* Nobody else can have it: the firewall lets no guest say so. So it need not be asked for, which takes a second. */
    if (msg == NULL || nla_put(msg, IFA_LOCAL, 16, address->bytes) != 0 || nla_put(msg, IFA_ADDRESS, 16, address->bytes) != 0 ||
        (type == RTM_NEWADDR && nla_put_u32(msg, IFA_FLAGS, IFA_F_NODAD | IFA_F_PERMANENT) != 0)) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

int bridge_ipv6_check(const char *bridge, const struct ip_addr *address, unsigned prefix, char ret_found[BRIDGE_IPV6_FOUND_MAX], struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct found found = {.wanted = address, .prefix = prefix};
    char text[IP_TEXT_MAX];
    int disabled = 0;
    ret_found[0] = '\0';
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = find_bridge_addresses(&r, bridge, &found);
    if (result != 0 && result != ENODEV) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look up the IPv6 addresses of bridge %s", bridge);
    }
    if (address != NULL && sysctl_number_get("ipv6", "conf", bridge, "disable_ipv6", &disabled, NULL) == 0 && disabled != 0) {
        (void)snprintf(ret_found, BRIDGE_IPV6_FOUND_MAX, "IPv6 is off on the bridge");
    } else if (address != NULL && !found.wanted_there) {
        (void)snprintf(ret_found, BRIDGE_IPV6_FOUND_MAX, "the bridge's address %s/%u is gone", ip_addr_format(address, text), prefix);
    } else if (found.other_count > 0) {
        (void)snprintf(ret_found, BRIDGE_IPV6_FOUND_MAX, "the bridge has the additional address %s/%u", ip_addr_format(&found.others[0].address, text),
                       found.others[0].prefix);
    }
    return 0;
}

int bridge_ipv6_ensure(const char *bridge, const struct ip_addr *address, unsigned prefix, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct found found = {.wanted = address, .prefix = prefix};
    if ((address != NULL && sysctl_number_set("ipv6", "conf", bridge, "disable_ipv6", 0, err) != 0) || rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = find_bridge_addresses(&r, bridge, &found);
    for (size_t i = 0; i < found.other_count && result == 0; i++) {
        result = change_bridge_address(&r, RTM_DELADDR, 0, found.index, &found.others[i].address, found.others[i].prefix);
        result = result == EADDRNOTAVAIL ? 0 : result; /* gone meanwhile */
    }
    if (result == 0 && address != NULL && !found.wanted_there) {
        result = change_bridge_address(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, found.index, address, prefix);
    }
    return result == 0 ? 0 : rtnl_fail(&r, ERR_BRIDGE_SETUP_FAILED, result, err, "cannot set the IPv6 address of bridge %s", bridge);
}

static bool has_own_switch(const char *interface)
{
    int value = 0;
    return sysctl_number_get("ipv6", "conf", interface, "force_forwarding", &value, NULL) == 0;
}

int ipv6_forwarding_get(const char *interface, bool *ret, struct error *err)
{
    int value = 0;
    bool own = has_own_switch(interface);
    if (sysctl_number_get("ipv6", "conf", own ? interface : "all", own ? "force_forwarding" : "forwarding", &value, err) != 0) {
        return -1;
    }
    *ret = value != 0;
    return 0;
}

int ipv6_forwards_everything(bool *ret, struct error *err)
{
    int value = 0;
    if (has_own_switch("all") && sysctl_number_get("ipv6", "conf", "all", "forwarding", &value, err) != 0) {
        return -1;
    }
    *ret = value != 0;
    return 0;
}

int ipv6_forwarding_set(const char *interface, bool on, struct error *err)
{
    int accepts = 0;
    if (has_own_switch(interface)) {
        return sysctl_number_set("ipv6", "conf", interface, "force_forwarding", on, err);
    }
    if (!on) {
        return 0;
    }
    if (sysctl_number_get("ipv6", "conf", interface, "accept_ra", &accepts, err) != 0 ||
        (accepts == 1 && sysctl_number_set("ipv6", "conf", interface, "accept_ra", 2, err) != 0)) {
        return -1;
    }
    return sysctl_number_set("ipv6", "conf", "all", "forwarding", 1, err);
}
