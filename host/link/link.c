#include "host/link/rtnl.h"

#include "core/array.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdarg.h>
#include <string.h>

enum { LIST_TRIES = 3 };

static void parse_bridge(struct nlattr *data, struct link_detail *ret)
{
    struct nlattr *tb[IFLA_BR_MAX + 1] = {NULL};
    ret->info.is_bridge = true;
    if (data != NULL && nla_parse_nested(tb, IFLA_BR_MAX, data, NULL) == 0) {
        ret->bridge.stp = rtnl_u32(tb[IFLA_BR_STP_STATE], 0) != 0;
        ret->bridge.forward_delay = rtnl_u32(tb[IFLA_BR_FORWARD_DELAY], 0);
        ret->bridge.snooping = rtnl_u8(tb[IFLA_BR_MCAST_SNOOPING], 0) != 0;
    }
}

static void parse_tun(struct nlattr *data, struct link_detail *ret)
{
    struct nlattr *tb[IFLA_TUN_MAX + 1] = {NULL};
    if (data != NULL && nla_parse_nested(tb, IFLA_TUN_MAX, data, NULL) == 0) {
        ret->info.is_tap = rtnl_u8(tb[IFLA_TUN_TYPE], 0) == IFF_TAP;
        ret->tun.persistent = rtnl_u8(tb[IFLA_TUN_PERSIST], 0) != 0;
        ret->tun.has_owner = tb[IFLA_TUN_OWNER] != NULL;
        ret->tun.owner = rtnl_u32(tb[IFLA_TUN_OWNER], 0);
    }
}

const struct link_port_flag link_port_flags[LINK_PORT_FLAGS] = {
    {IFLA_BRPORT_ISOLATED, 1, "it is not isolated"},
    {IFLA_BRPORT_LEARNING, 0, "it learns addresses"},
    {IFLA_BRPORT_UNICAST_FLOOD, 0, "frames to unknown addresses are flooded to it"},
    {IFLA_BRPORT_MCAST_FLOOD, 1, "multicast is not sent to it"},
    {IFLA_BRPORT_BCAST_FLOOD, 1, "broadcast is not sent to it"},
    {IFLA_BRPORT_MODE, 0, "it is in hairpin mode"},
    {IFLA_BRPORT_PROXYARP, 0, "the bridge answers ARP in its place"},
    {IFLA_BRPORT_PROTECT, 0, "it may not lead to the root bridge"},
};

static void parse_port(struct nlattr *data, struct link_detail *ret)
{
    struct nlattr *tb[IFLA_BRPORT_MAX + 1] = {NULL};
    if (nla_parse_nested(tb, IFLA_BRPORT_MAX, data, NULL) != 0) {
        return;
    }
    struct nlattr *groups = tb[IFLA_BRPORT_GROUP_FWD_MASK];
    ret->info.isolated = rtnl_u8(tb[IFLA_BRPORT_ISOLATED], 0) != 0;
    for (size_t i = 0; i < ARRAY_LEN(link_port_flags); i++) {
        const struct link_port_flag *flag = &link_port_flags[i];
        if (tb[flag->attribute] != NULL && rtnl_u8(tb[flag->attribute], 0) != flag->wanted) {
            ret->port.wrong |= 1U << i;
        }
    }
    ret->port.group_forward = rtnl_u16(groups, 0);
}

static void parse_kind(struct nlattr *linkinfo, struct link_detail *ret)
{
    struct nlattr *tb[IFLA_INFO_MAX + 1] = {NULL};
    if (linkinfo == NULL || nla_parse_nested(tb, IFLA_INFO_MAX, linkinfo, NULL) != 0) {
        return;
    }
    if (tb[IFLA_INFO_KIND] != NULL) {
        (void)nla_strlcpy(ret->info.kind, tb[IFLA_INFO_KIND], sizeof ret->info.kind);
    }
    if (tb[IFLA_INFO_KIND] != NULL && nla_strcmp(tb[IFLA_INFO_KIND], "bridge") == 0) {
        parse_bridge(tb[IFLA_INFO_DATA], ret);
    } else if (tb[IFLA_INFO_KIND] != NULL && nla_strcmp(tb[IFLA_INFO_KIND], "tun") == 0) {
        parse_tun(tb[IFLA_INFO_DATA], ret);
    }
    if (tb[IFLA_INFO_SLAVE_KIND] != NULL && tb[IFLA_INFO_SLAVE_DATA] != NULL && nla_strcmp(tb[IFLA_INFO_SLAVE_KIND], "bridge") == 0) {
        parse_port(tb[IFLA_INFO_SLAVE_DATA], ret);
    }
}

static bool parse_link(const struct nlmsghdr *h, struct link_detail *ret)
{
    struct nlattr *tb[IFLA_MAX + 1] = {NULL};
    const struct ifinfomsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWLINK || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, IFLA_MAX, NULL) != 0 || tb[IFLA_IFNAME] == NULL) {
        return false;
    }
    *ret = (struct link_detail){.group = rtnl_u32(tb[IFLA_GROUP], 0), .arp = (head->ifi_flags & IFF_NOARP) == 0};
    ret->info.index = head->ifi_index;
    ret->info.up = (head->ifi_flags & IFF_UP) != 0;
    ret->info.carrier = ret->info.up && rtnl_u8(tb[IFLA_CARRIER], 1) != 0;
    ret->info.master = (int)rtnl_u32(tb[IFLA_MASTER], 0);
    ret->info.mtu = rtnl_u32(tb[IFLA_MTU], 0);
    (void)nla_strlcpy(ret->info.name, tb[IFLA_IFNAME], sizeof ret->info.name);
    if (tb[IFLA_IFALIAS] != NULL) {
        (void)nla_strlcpy(ret->info.alias, tb[IFLA_IFALIAS], sizeof ret->info.alias);
    }
    if (tb[IFLA_ADDRESS] != NULL && nla_len(tb[IFLA_ADDRESS]) == sizeof ret->info.mac.bytes) {
        memcpy(ret->info.mac.bytes, nla_data(tb[IFLA_ADDRESS]), sizeof ret->info.mac.bytes);
    }
    parse_kind(tb[IFLA_LINKINFO], ret);
    return true;
}

struct get_state {
    struct link_detail *ret;
    bool found;
};

static void got_link(const struct nlmsghdr *h, void *ctx)
{
    struct get_state *state = ctx;
    state->found = parse_link(h, state->ret) || state->found;
}

int link_detail_get(struct rtnl *r, int index, const char *name, struct link_detail *ret)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    struct link_detail found;
    struct get_state state = {.ret = &found};
    AUTO_MSG *msg = rtnl_msg(RTM_GETLINK, 0, &head, sizeof head);
    if (msg == NULL || (index == LINK_BY_NAME && nla_put_string(msg, IFLA_IFNAME, name) != 0) ||
        nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) != 0) {
        return ENOMEM;
    }
    int result = rtnl_talk(r, msg, got_link, &state);
    if (result != 0) {
        return result;
    }
    if (!state.found) {
        return ENODEV;
    }
    *ret = found;
    return 0;
}

struct dump_state {
    void (*each)(const struct link_detail *, void *);
    void *ctx;
};

static void dumped_link(const struct nlmsghdr *h, void *ctx)
{
    const struct dump_state *state = ctx;
    struct link_detail link;
    if (parse_link(h, &link)) {
        state->each(&link, state->ctx);
    }
}

int link_detail_dump(struct rtnl *r, void (*each)(const struct link_detail *link, void *ctx), void *ctx)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    struct dump_state state = {.each = each, .ctx = ctx};
    AUTO_MSG *msg = rtnl_msg(RTM_GETLINK, NLM_F_DUMP, &head, sizeof head);
    if (msg == NULL || nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, dumped_link, &state);
}

struct list {
    struct link_info *items;
    size_t count;
    bool failed;
};

static void add_to_list(const struct link_detail *link, void *ctx)
{
    struct list *list = ctx;
    struct link_info *grown = array_grow(list->items, list->count, sizeof *grown);
    list->failed = list->failed || grown == NULL;
    if (grown != NULL) {
        list->items = grown;
        grown[list->count++] = link->info;
    }
}

static int by_index(const void *a, const void *b)
{
    const struct link_info *x = a;
    const struct link_info *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* A dump that was interrupted may name a link twice. */
static void drop_doubles(struct list *list)
{
    size_t kept = 0;
    qsort(list->items, list->count, sizeof *list->items, by_index);
    for (size_t i = 0; i < list->count; i++) {
        if (kept == 0 || list->items[kept - 1].index != list->items[i].index) {
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

int link_list(struct link_info **ret, size_t *ret_count, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    AUTO_FREE struct link_info *items = NULL;
    struct list list = {.items = NULL};
    for (int tries = 0; tries < LIST_TRIES; tries++) {
        list.count = 0;
        int result = link_detail_dump(&r, add_to_list, &list);
        items = list.items;
        if (result != 0) {
            return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot list the links");
        }
        if (list.failed) {
            return error_oom(err);
        }
        if (!r.interrupted) {
            break;
        }
    }
    if (r.interrupted && list.count > 0) {
        drop_doubles(&list);
        items = list.items;
    }
    *ret = TAKE_PTR(items);
    *ret_count = list.count;
    return 0;
}

int link_get(const char *name, struct link_info *ret, bool *ret_found, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail found;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, name, &found);
    if (result != 0 && result != ENODEV) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look up link %s", name);
    }
    *ret_found = result == 0;
    if (result == 0) {
        *ret = found.info;
    }
    return 0;
}

bool link_alias_has_mark(const char *alias, const char *mark)
{
    size_t len = strlen(mark);
    return strncmp(alias, mark, len) == 0 && alias[len] == ':';
}

void link_note(struct link_check *check, const char *fmt, ...)
{
    char text[LINK_FOUND_MAX];
    size_t len = strlen(check->found);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len + strlen(text) + 3 <= sizeof check->found) {
        (void)snprintf(check->found + len, sizeof check->found - len, "%s%s", len > 0 ? "; " : "", text);
    }
}

int link_alias_restore(const char *name, int index, const char *alias, struct error *err)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail link;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, index, NULL, &link);
    if (result == 0 && strcmp(link.info.name, name) != 0) {
        result = ENODEV;
    }
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
    if (msg == NULL || nla_put(msg, IFLA_IFALIAS, (int)strlen(alias), alias) != 0) {
        return error_oom(err);
    }
    result = result == 0 ? rtnl_talk(&r, msg, NULL, NULL) : result;
    return result == 0 ? 0 : rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot give link %s its alias back", name);
}

void link_check_identity(const struct link_detail *link, const char *alias, bool right_kind, int known, struct link_check *ret)
{
    bool marked = strcmp(link->info.alias, alias) == 0;
    ret->present = true;
    ret->marked = right_kind && marked;
    ret->index = link->info.index;
    ret->ours = right_kind && (marked || link->info.index == known);
    if (!ret->ours) {
        link_note(ret, "a link of this name is there that is not ours (alias '%.64s')", link->info.alias);
    } else if (!marked) {
        link_note(ret, "its alias is '%.64s'", link->info.alias);
    }
}

int link_take_down(const char *name, const char *mark, bool *ret_changed, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail link;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, name, &link);
    bool needed = result == 0 && link.info.up && link_alias_has_mark(link.info.alias, mark);
    if (needed) {
        struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = link.info.index, .ifi_change = IFF_UP};
        AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
        result = rtnl_talk(&r, msg, NULL, NULL);
    }
    if (result != 0 && result != ENODEV) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot take link %s down", name);
    }
    *ret_changed = needed && result == 0;
    return 0;
}
