/* The bridge: making it, making it right again, its one IPv4 address. */
#include "host/link/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

/*
 * The kernel takes an alias only for a link that exists. A bridge therefore begins its life in this group,
 * and leaves it in the very message that gives it its alias: one that a crash left in between is known by
 * group and MAC, and is finished instead of being taken for a foreign one.
 */
enum { GROUP_UNFINISHED = 0x536d5642 };

enum { ADDRESSES_MAX = 64 }; /* more than these on one bridge are removed by the next call */

struct wanted_bridge {
    const char *name;
    const char *alias;
    struct mac mac;
    uint32_t address;
    unsigned prefix;
};

static int put_bridge_data(struct nl_msg *msg, bool with_delay)
{
    struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
    if (info == NULL || nla_put_string(msg, IFLA_INFO_KIND, "bridge") != 0) {
        return -1;
    }
    struct nlattr *data = nla_nest_start(msg, IFLA_INFO_DATA);
    if (data == NULL || nla_put_u32(msg, IFLA_BR_STP_STATE, 0) != 0 || nla_put_u8(msg, IFLA_BR_MCAST_SNOOPING, 0) != 0 ||
        (with_delay && nla_put_u32(msg, IFLA_BR_FORWARD_DELAY, 0) != 0)) {
        return -1;
    }
    (void)nla_nest_end(msg, data);
    (void)nla_nest_end(msg, info);
    return 0;
}

static int create(struct rtnl *r, const struct wanted_bridge *wanted, struct error *err)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    if (msg == NULL || nla_put_string(msg, IFLA_IFNAME, wanted->name) != 0 || nla_put(msg, IFLA_ADDRESS, sizeof wanted->mac.bytes, wanted->mac.bytes) != 0 ||
        nla_put_u32(msg, IFLA_GROUP, GROUP_UNFINISHED) != 0 || put_bridge_data(msg, true) != 0) {
        return error_oom(err);
    }
    int result = rtnl_talk(r, msg, NULL, NULL);
    return result == 0 ? 0 : rtnl_fail(r, ERR_BRIDGE_SETUP_FAILED, result, err, "cannot make bridge %s", wanted->name);
}

static bool is_unfinished(const struct link_detail *link, const struct wanted_bridge *wanted)
{
    return link->info.alias[0] == '\0' && link->group == (uint32_t)GROUP_UNFINISHED &&
           memcmp(link->info.mac.bytes, wanted->mac.bytes, sizeof wanted->mac.bytes) == 0;
}

static bool has_mark_of(const struct link_detail *link, const char *alias)
{
    char mark[LINK_ALIAS_MAX];
    (void)snprintf(mark, sizeof mark, "%.*s", (int)strcspn(alias, ":"), alias);
    return link_alias_has_mark(link->info.alias, mark);
}

static int check_ours(const struct link_detail *link, const struct wanted_bridge *wanted, struct error *err)
{
    if (!has_mark_of(link, wanted->alias) && !is_unfinished(link, wanted)) {
        return error_set(err, ERR_BRIDGE_SETUP_FAILED,
                         "cannot set up bridge %s: a link of this name exists that was not made by this "
                         "daemon (alias '%s', not '%s')",
                         wanted->name, link->info.alias, wanted->alias);
    }
    if (!link->info.is_bridge) {
        return error_set(err, ERR_BRIDGE_SETUP_FAILED, "cannot set up bridge %s: the link of this name is no bridge", wanted->name);
    }
    return 0;
}

static bool is_configured(const struct link_detail *link, const struct wanted_bridge *wanted)
{
    return link->info.up && strcmp(link->info.alias, wanted->alias) == 0 && link->group != (uint32_t)GROUP_UNFINISHED &&
           memcmp(link->info.mac.bytes, wanted->mac.bytes, sizeof wanted->mac.bytes) == 0 && !link->bridge.stp && link->bridge.forward_delay == 0 &&
           !link->bridge.snooping;
}

/* One message: alias, MAC, parameters, up. A forward delay of 0 is accepted only once STP is off. */
static int configure(struct rtnl *r, const struct link_detail *link, const struct wanted_bridge *wanted, bool with_delay)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = link->info.index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
    bool leave_group = link->group == (uint32_t)GROUP_UNFINISHED;
    if (msg == NULL || nla_put(msg, IFLA_IFALIAS, (int)strlen(wanted->alias), wanted->alias) != 0 || (leave_group && nla_put_u32(msg, IFLA_GROUP, 0) != 0) ||
        put_bridge_data(msg, with_delay) != 0) {
        return ENOMEM;
    }
    if (memcmp(link->info.mac.bytes, wanted->mac.bytes, sizeof wanted->mac.bytes) != 0 &&
        nla_put(msg, IFLA_ADDRESS, sizeof wanted->mac.bytes, wanted->mac.bytes) != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

struct found_addresses {
    int index;
    size_t count, others;
    bool wanted_found;
    uint32_t wanted;
    unsigned wanted_prefix;
    struct {
        struct ifaddrmsg head;
        uint32_t address; /* network byte order */
    } other[ADDRESSES_MAX];
};

static void found_address(const struct nlmsghdr *h, void *ctx)
{
    struct found_addresses *found = ctx;
    struct nlattr *tb[IFA_MAX + 1] = {NULL};
    const struct ifaddrmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWADDR || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, IFA_MAX, NULL) != 0 || head->ifa_family != AF_INET ||
        (int)head->ifa_index != found->index || tb[IFA_LOCAL] == NULL || nla_len(tb[IFA_LOCAL]) != (int)sizeof(uint32_t)) {
        return;
    }
    uint32_t address = nla_get_u32(tb[IFA_LOCAL]);
    found->count++;
    if (ntohl(address) == found->wanted && head->ifa_prefixlen == found->wanted_prefix) {
        found->wanted_found = true;
    } else if (found->others < ADDRESSES_MAX) {
        found->other[found->others].head = *head;
        found->other[found->others++].address = address;
    }
}

static int find_addresses(struct rtnl *r, int index, uint32_t address, unsigned prefix, struct found_addresses *ret)
{
    struct ifaddrmsg head = {.ifa_family = AF_INET, .ifa_index = (unsigned)index};
    *ret = (struct found_addresses){.index = index, .wanted = address, .wanted_prefix = prefix};
    AUTO_MSG *msg = rtnl_msg(RTM_GETADDR, NLM_F_DUMP, &head, sizeof head);
    return rtnl_talk(r, msg, found_address, ret);
}

static int change_address(struct rtnl *r, int type, int flags, const struct ifaddrmsg *head, uint32_t network_order)
{
    AUTO_MSG *msg = rtnl_msg(type, flags, head, sizeof *head);
    /* Without IFA_ADDRESS the kernel does not look at the prefix and deletes the first one of this address.
     */
    if (msg == NULL || nla_put_u32(msg, IFA_LOCAL, network_order) != 0 || nla_put_u32(msg, IFA_ADDRESS, network_order) != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

static int set_address(struct rtnl *r, int index, const struct wanted_bridge *wanted)
{
    struct found_addresses found;
    int result = find_addresses(r, index, wanted->address, wanted->prefix, &found);
    for (size_t i = 0; result == 0 && i < found.others; i++) {
        result = change_address(r, RTM_DELADDR, 0, &found.other[i].head, found.other[i].address);
        /* Secondary addresses leave with their primary one. */
        result = result == EADDRNOTAVAIL ? 0 : result;
    }
    if (result != 0 || (found.others == 0 && found.wanted_found)) {
        return result;
    }
    struct ifaddrmsg head = {
        .ifa_family = AF_INET, .ifa_prefixlen = (unsigned char)wanted->prefix, .ifa_scope = RT_SCOPE_UNIVERSE, .ifa_index = (unsigned)index};
    return change_address(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &head, htonl(wanted->address));
}

static int make_right(struct rtnl *r, const struct link_detail *link, const struct wanted_bridge *wanted, struct error *err)
{
    int result = 0;
    if (!is_configured(link, wanted)) {
        if (link->bridge.stp) {
            result = configure(r, link, wanted, false);
        }
        result = result == 0 ? configure(r, link, wanted, true) : result;
    }
    if (result != 0) {
        return rtnl_fail(r, ERR_BRIDGE_SETUP_FAILED, result, err, "cannot set up bridge %s", wanted->name);
    }
    result = set_address(r, link->info.index, wanted);
    if (result != 0) {
        char text[IPV4_TEXT_MAX];
        return rtnl_fail(r, ERR_BRIDGE_SETUP_FAILED, result, err, "cannot set address %s/%u of bridge %s", ipv4_format(wanted->address, text), wanted->prefix,
                         wanted->name);
    }
    return 0;
}

static void take_back(struct rtnl *r, int index)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    AUTO_MSG *msg = rtnl_msg(RTM_DELLINK, 0, &head, sizeof head);
    (void)rtnl_talk(r, msg, NULL, NULL);
}

int link_bridge_ensure(const char *name, const char *alias, struct mac mac, uint32_t address, unsigned prefix, bool *ret_created, struct error *err)
{
    const struct wanted_bridge wanted = {name, alias, mac, address, prefix};
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail link;
    bool created = false;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, name, &link);
    if (result == ENODEV) {
        if (create(&r, &wanted, err) != 0) {
            return -1;
        }
        created = true;
        result = link_detail_get(&r, LINK_BY_NAME, name, &link);
    }
    if (result != 0) {
        return rtnl_fail(&r, ERR_BRIDGE_SETUP_FAILED, result, err, "cannot look up bridge %s", name);
    }
    if (check_ours(&link, &wanted, err) != 0) {
        return -1;
    }
    if (make_right(&r, &link, &wanted, err) != 0) {
        if (created) {
            take_back(&r, link.info.index);
        }
        return -1;
    }
    *ret_created = created;
    return 0;
}

static void note_bridge(const struct link_detail *link, const struct wanted_bridge *wanted, struct link_check *ret)
{
    if (!link->info.up) {
        link_note(ret, "it is down");
    }
    if (memcmp(link->info.mac.bytes, wanted->mac.bytes, sizeof wanted->mac.bytes) != 0) {
        link_note(ret, "it has another MAC");
    }
    if (link->bridge.stp || link->bridge.forward_delay != 0) {
        link_note(ret, "spanning tree is on");
    }
    if (link->bridge.snooping) {
        link_note(ret, "multicast snooping is on");
    }
    if (link->group == (uint32_t)GROUP_UNFINISHED) {
        link_note(ret, "it is half-made");
    }
}

static int note_addresses(struct rtnl *r, int index, const struct wanted_bridge *wanted, struct link_check *ret)
{
    struct found_addresses found = {.count = 0};
    char text[IPV4_TEXT_MAX];
    int result = find_addresses(r, index, wanted->address, wanted->prefix, &found);
    if (result == 0 && !found.wanted_found) {
        link_note(ret, "its address %s/%u is gone", ipv4_format(wanted->address, text), wanted->prefix);
    }
    for (size_t i = 0; result == 0 && i < found.others; i++) {
        link_note(ret, "it has the additional address %s/%u", ipv4_format(ntohl(found.other[i].address), text), (unsigned)found.other[i].head.ifa_prefixlen);
    }
    return result;
}

int link_bridge_check(const char *name, const char *alias, struct mac mac, uint32_t address, unsigned prefix, int known, struct link_check *ret,
                      struct error *err)
{
    const struct wanted_bridge wanted = {name, alias, mac, address, prefix};
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail link;
    *ret = (struct link_check){.present = false};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, name, &link);
    if (result == ENODEV) {
        link_note(ret, "it is gone");
        return 0;
    }
    if (result == 0) {
        bool certain = has_mark_of(&link, alias) || is_unfinished(&link, &wanted);
        link_check_identity(&link, alias, link.info.is_bridge, certain ? link.info.index : known, ret);
    }
    if (result == 0 && ret->ours) {
        note_bridge(&link, &wanted, ret);
        result = note_addresses(&r, link.info.index, &wanted, ret);
    }
    return result == 0 ? 0 : rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look at bridge %s", name);
}
