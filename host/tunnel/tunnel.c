#include "host/tunnel/tunnel.h"

#include "host/link/rtnl.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

/* As for bridges, see host/link/bridge.c: a link that was made and not yet marked is in this group. */
enum { GROUP_UNFINISHED = 0x536d5642, FOUND_MAX = 64 };

int tunnel_create(const struct tunnel_wanted *wanted, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    struct nlattr *info = NULL;
    if (msg == NULL || nla_put_string(msg, IFLA_IFNAME, wanted->name) != 0 || nla_put_u32(msg, IFLA_GROUP, GROUP_UNFINISHED) != 0 ||
        (info = nla_nest_start(msg, IFLA_LINKINFO)) == NULL || nla_put_string(msg, IFLA_INFO_KIND, "wireguard") != 0) {
        return error_oom(err);
    }
    (void)nla_nest_end(msg, info);
    int result = rtnl_talk(&r, msg, NULL, NULL);
    if (result != 0 && result != EEXIST) {
        return rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result, err, "cannot make tunnel %s", wanted->name);
    }
    return 0;
}

static bool is_unfinished(const struct link_detail *link)
{
    return link->info.alias[0] == '\0' && link->group == (uint32_t)GROUP_UNFINISHED && strcmp(link->info.kind, "wireguard") == 0;
}

static bool is_ours(const struct link_detail *link, const struct tunnel_wanted *wanted)
{
    return strcmp(link->info.alias, wanted->alias) == 0 || wanted->has_our_process || is_unfinished(link);
}

struct found_address {
    struct ifaddrmsg head;
    struct wireguard_address address;
    bool is_wanted;
};

struct found_addresses {
    const struct tunnel_wanted *wanted;
    int index;
    size_t count;
    struct found_address items[FOUND_MAX]; /* what is beyond this is found by the next look */
    unsigned present;                      /* a bit for each wanted one */
};

static bool is_link_local(const struct ip_addr *address)
{
    return address->version == IP_V6 && address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

static void note_wanted(struct found_addresses *found, struct found_address *item)
{
    for (size_t i = 0; i < found->wanted->address_count; i++) {
        const struct wireguard_address *wanted = &found->wanted->addresses[i];
        if (wanted->prefix == item->address.prefix && ip_addr_equal(&wanted->address, &item->address.address)) {
            found->present |= 1U << i;
            item->is_wanted = true;
        }
    }
}

static void got_address(const struct nlmsghdr *h, void *ctx)
{
    struct found_addresses *found = ctx;
    struct nlattr *tb[IFA_MAX + 1] = {NULL};
    const struct ifaddrmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWADDR || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, IFA_MAX, NULL) != 0 ||
        (int)head->ifa_index != found->index || found->count == FOUND_MAX) {
        return;
    }
    struct nlattr *a = tb[IFA_LOCAL] != NULL ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
    if (a == NULL || (nla_len(a) != 4 && nla_len(a) != 16)) {
        return;
    }
    struct found_address item = {.head = *head, .address = {.prefix = head->ifa_prefixlen}};
    item.address.address.version = nla_len(a) == 4 ? IP_V4 : IP_V6;
    memcpy(item.address.address.bytes, nla_data(a), (size_t)nla_len(a));
    if (!is_link_local(&item.address.address)) {
        note_wanted(found, &item);
        found->items[found->count++] = item;
    }
}

static int find_addresses(struct rtnl *r, const struct tunnel_wanted *wanted, int index, struct found_addresses *ret)
{
    struct ifaddrmsg head = {.ifa_family = AF_UNSPEC, .ifa_index = (unsigned)index};
    *ret = (struct found_addresses){.wanted = wanted, .index = index};
    AUTO_MSG *msg = rtnl_msg(RTM_GETADDR, NLM_F_DUMP, &head, sizeof head);
    return rtnl_talk(r, msg, got_address, ret);
}

static int change_address(struct rtnl *r, int type, int flags, const struct wireguard_address *address, int index)
{
    bool v4 = address->address.version == IP_V4;
    struct ifaddrmsg head = {
        .ifa_family = v4 ? AF_INET : AF_INET6, .ifa_prefixlen = address->prefix, .ifa_scope = RT_SCOPE_UNIVERSE, .ifa_index = (unsigned)index};
    int len = v4 ? 4 : 16;
    uint32_t address_flags = IFA_F_NOPREFIXROUTE | (v4 ? 0U : (uint32_t)IFA_F_NODAD);
    AUTO_MSG *msg = rtnl_msg(type, flags, &head, sizeof head);
    if (msg == NULL || nla_put(msg, IFA_LOCAL, len, address->address.bytes) != 0 || nla_put(msg, IFA_ADDRESS, len, address->address.bytes) != 0 ||
        (type == RTM_NEWADDR && nla_put_u32(msg, IFA_FLAGS, address_flags) != 0)) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

static int set_addresses(struct rtnl *r, const struct tunnel_wanted *wanted, int index)
{
    struct found_addresses found;
    int result = find_addresses(r, wanted, index, &found);
    for (size_t i = 0; result == 0 && i < found.count; i++) {
        if (!found.items[i].is_wanted) {
            result = change_address(r, RTM_DELADDR, 0, &found.items[i].address, index);
            result = result == EADDRNOTAVAIL ? 0 : result;
        }
    }
    /* Secondary addresses leave with their primary one, so none is taken for granted. */
    for (size_t i = 0; result == 0 && i < wanted->address_count; i++) {
        result = change_address(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &wanted->addresses[i], index);
    }
    return result;
}

static int configure(struct rtnl *r, const struct link_detail *link, const struct tunnel_wanted *wanted)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = link->info.index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
    bool leave_group = link->group == (uint32_t)GROUP_UNFINISHED;
    if (msg == NULL || nla_put(msg, IFLA_IFALIAS, (int)strlen(wanted->alias), wanted->alias) != 0 || nla_put_u32(msg, IFLA_MTU, wanted->mtu) != 0 ||
        (leave_group && nla_put_u32(msg, IFLA_GROUP, 0) != 0)) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

int tunnel_ensure(const struct tunnel_wanted *wanted, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail link;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, wanted->name, &link);
    if (result == 0 && !is_ours(&link, wanted)) {
        return error_set(err, ERR_WIREGUARD_SETUP_FAILED,
                         "cannot set up tunnel %s: a link of this name exists that was not made by this daemon (alias '%s', not '%s')", wanted->name,
                         link.info.alias, wanted->alias);
    }
    result = result == 0 ? configure(&r, &link, wanted) : result;
    result = result == 0 ? set_addresses(&r, wanted, link.info.index) : result;
    return result == 0 ? 0 : rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result, err, "cannot set up tunnel %s", wanted->name);
}

static int note_addresses(struct rtnl *r, const struct tunnel_wanted *wanted, int index, struct link_check *ret)
{
    struct found_addresses found;
    char text[IP_TEXT_MAX];
    int result = find_addresses(r, wanted, index, &found);
    for (size_t i = 0; result == 0 && i < wanted->address_count; i++) {
        if ((found.present & 1U << i) == 0) {
            link_note(ret, "its address %s/%u is gone", ip_addr_format(&wanted->addresses[i].address, text), (unsigned)wanted->addresses[i].prefix);
        }
    }
    for (size_t i = 0; result == 0 && i < found.count; i++) {
        const struct wireguard_address *address = &found.items[i].address;
        if (!found.items[i].is_wanted) {
            link_note(ret, "it has the additional address %s/%u", ip_addr_format(&address->address, text), (unsigned)address->prefix);
        }
    }
    return result;
}

int tunnel_check(const struct tunnel_wanted *wanted, int known, struct link_check *ret, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail link;
    *ret = (struct link_check){.present = false};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, wanted->name, &link);
    if (result == ENODEV) {
        link_note(ret, "it is gone");
        return 0;
    }
    if (result == 0) {
        bool right_kind = strcmp(link.info.kind, "wireguard") == 0 || strcmp(link.info.kind, "tun") == 0;
        link_check_identity(&link, wanted->alias, right_kind, is_ours(&link, wanted) ? link.info.index : known, ret);
    }
    if (result == 0 && ret->ours) {
        if (!link.info.up) {
            link_note(ret, "it is down");
        }
        if (link.info.mtu != wanted->mtu) {
            link_note(ret, "its MTU is %u, not %u", link.info.mtu, wanted->mtu);
        }
        result = note_addresses(&r, wanted, link.info.index, ret);
    }
    return result == 0 ? 0 : rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look at tunnel %s", wanted->name);
}
