/* What has to be asked for: parts of the address space, and packets that rules tell apart. */
#include "host/link/uplinks_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct reading {
    struct uplinks_map *map;
    struct ip_net sources[FLOW_CLASSES_MAX]; /* that rules name, inside of the guests' network */
    size_t source_count;
};

static bool read_net(unsigned char family, unsigned char prefix, struct nlattr *a, struct ip_net *ret)
{
    int len = family == AF_INET ? 4 : 16;
    *ret = (struct ip_net){.address = {.version = family == AF_INET ? IP_V4 : IP_V6}, .prefix = prefix};
    if (a == NULL || nla_len(a) < len || prefix > len * 8) {
        return a == NULL && prefix == 0;
    }
    memcpy(ret->address.bytes, nla_data(a), (size_t)len);
    return true;
}

/* A wide network begins a part of the addresses, and behind its end begins another one. */
static void cut(struct uplinks_map *map, const struct ip_net *net)
{
    if (net->prefix < UPLINKS_PREFIX_MAX) {
        size_t blocks = (size_t)1 << (UPLINKS_PREFIX_MAX - 1 - net->prefix);
        size_t first = net->address.bytes[0] / 2 & ~(blocks - 1);
        map->starts[first] = true;
        map->starts[first + blocks] = true;
    }
}

/* A route to a host alone is how a VPN reaches its own server. */
static void note_beside(struct uplinks_map *map, const struct ip_net *net, int link)
{
    unsigned host = net->address.version == IP_V4 ? 32 : 128;
    bool known = link == 0 || net->prefix == host || net->prefix < UPLINKS_PREFIX_MAX || !ip_net_is_public(net);
    for (size_t i = 0; i < map->beside_count; i++) {
        known = known || map->besides[i].link == link;
    }
    if (!known && map->beside_count < BESIDES_MAX) {
        map->besides[map->beside_count].net = *net;
        map->besides[map->beside_count++].link = link;
    }
}

static void got_route(const struct nlmsghdr *h, void *ctx)
{
    struct uplinks_map *map = ((struct reading *)ctx)->map;
    struct nlattr *tb[RTA_MAX + 1] = {NULL};
    struct ip_net net;
    const struct rtmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, RTA_MAX, NULL) != 0 ||
        head->rtm_family != map->family || (head->rtm_flags & RTM_F_CLONED) != 0 || !read_net(head->rtm_family, head->rtm_dst_len, tb[RTA_DST], &net)) {
        return;
    }
    cut(map, &net);
    bool by_gateway = tb[RTA_GATEWAY] != NULL || tb[RTA_VIA] != NULL;
    if (head->rtm_type == RTN_UNICAST && by_gateway && rtnl_u32(tb[RTA_TABLE], head->rtm_table) == RT_TABLE_MAIN) {
        note_beside(map, &net, (int)rtnl_u32(tb[RTA_OIF], 0));
    }
}

static uint32_t number_of(const struct ip_addr *address)
{
    return (uint32_t)address->bytes[0] << 24 | (uint32_t)address->bytes[1] << 16 | (uint32_t)address->bytes[2] << 8 | (uint32_t)address->bytes[3];
}

/* A guest in `net`, which is a part of the guests' network; false where there is room for none. */
static bool guest_in(const struct uplinks_question *question, const struct ip_net *net, struct ip_addr *ret)
{
    *ret = net->address;
    if (net->address.version == IP_V6) {
        ret->bytes[15] |= net->prefix < 127 ? 2 : 0;
        return question->subnet6 != NULL && net->prefix > question->subnet6->prefix && ip_net_overlap(net, question->subnet6);
    }
    uint32_t address = number_of(&net->address);
    if (net->prefix <= question->subnet.prefix || !ipv4_net_contains(question->subnet, address)) {
        return false;
    }
    uint32_t last = address | ~ipv4_mask(net->prefix);
    while (address < last && (address == question->subnet.address || address == question->gateway)) {
        address++;
    }
    *ret = ip_addr_from_ipv4(address);
    return address != question->gateway && address != question->subnet.address;
}

static uint16_t first_port(const struct nlattr *a)
{
    const struct fib_rule_port_range *range = a != NULL && nla_len(a) >= (int)sizeof *range ? nla_data(a) : NULL;
    return range != NULL ? range->start : 0;
}

/*
 * What is passed on belongs to user 0 of the namespace. A rule with `not` tells the same packets apart as one without it, and those that it is not
 * asked by its interface or mark are ordinary ones.
 */
static bool can_be_a_guest(const struct fib_rule_hdr *head, struct nlattr *tb[], const char *bridge)
{
    uint32_t mask = rtnl_u32(tb[FRA_FWMASK], UINT32_MAX);
    const struct fib_rule_uid_range *users = tb[FRA_UID_RANGE] != NULL && nla_len(tb[FRA_UID_RANGE]) >= (int)sizeof *users ? nla_data(tb[FRA_UID_RANGE]) : NULL;
    return (head->flags & FIB_RULE_INVERT) != 0 ||
           (tb[FRA_OIFNAME] == NULL && (users == NULL || users->start == 0) && (tb[FRA_IIFNAME] == NULL || nla_strcmp(tb[FRA_IIFNAME], bridge) == 0) &&
            (rtnl_u32(tb[FRA_FWMARK], 0) & mask) == 0);
}

/* Others can't be looked up. */
static bool can_be_asked(uint8_t protocol, unsigned char family)
{
    return protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == (family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static bool is_same(const struct route_question *a, const struct route_question *b)
{
    bool source = a->source.version == b->source.version && (a->source.version == IP_NONE || ip_addr_equal(&a->source, &b->source));
    return source && a->service == b->service && a->protocol == b->protocol && a->source_port == b->source_port && a->port == b->port;
}

static void add_class(struct uplinks_map *map, const struct route_question *class)
{
    for (size_t i = 0; i < map->class_count; i++) {
        if (is_same(&map->classes[i], class)) {
            return;
        }
    }
    if (map->class_count == FLOW_CLASSES_MAX) {
        map->left_out++;
        return;
    }
    map->classes[map->class_count++] = *class;
}

static void got_rule(const struct nlmsghdr *h, void *ctx)
{
    struct reading *reading = ctx;
    struct uplinks_map *map = reading->map;
    struct nlattr *tb[FRA_MAX + 1] = {NULL};
    struct ip_net net;
    const struct fib_rule_hdr *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWRULE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, FRA_MAX, NULL) != 0 || head->family != map->family ||
        !can_be_a_guest(head, tb, map->asked->bridge) || !read_net(head->family, head->dst_len, tb[FRA_DST], &net)) {
        return;
    }
    cut(map, &net);
    struct route_question class = map->classes[0];
    class.service = head->tos;
    class.protocol = rtnl_u8(tb[FRA_IP_PROTO], 0);
    class.source_port = first_port(tb[FRA_SPORT_RANGE]);
    class.port = first_port(tb[FRA_DPORT_RANGE]);
    struct ip_addr guest;
    if (head->src_len > 0 && read_net(head->family, head->src_len, tb[FRA_SRC], &net) && guest_in(map->asked, &net, &guest)) {
        class.source = guest;
        reading->sources[reading->source_count++ % FLOW_CLASSES_MAX] = net;
    }
    map->by_protocol = map->by_protocol || class.protocol != 0 || class.source_port != 0 || class.port != 0;
    if (!can_be_asked(class.protocol, map->family)) {
        map->unasked++;
        return;
    }
    add_class(map, &class);
}

static bool is_named(const struct reading *reading, const struct ip_addr *address)
{
    size_t count = reading->source_count < FLOW_CLASSES_MAX ? reading->source_count : FLOW_CLASSES_MAX;
    for (size_t i = 0; i < count; i++) {
        if (ip_net_contains(&reading->sources[i], address)) {
            return true;
        }
    }
    return false;
}

/* A guest that no rule names, if there is one among the first, the last and the middle one. */
static struct ip_addr ordinary_guest(const struct reading *reading)
{
    const struct uplinks_question *asked = reading->map->asked;
    uint32_t last = (asked->subnet.address | ~ipv4_mask(asked->subnet.prefix)) - 1;
    const uint32_t numbers[] = {last - asked->subnet.address, 2, (last - asked->subnet.address) / 2 + 1};
    struct ip_addr guest = {.version = IP_NONE};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        guest = ip_addr_from_ipv4(asked->subnet.address + numbers[i]);
        if (reading->map->family == AF_INET6) {
            guest = asked->subnet6->address;
            for (size_t byte = 0; byte < 4; byte++) {
                guest.bytes[15 - byte] |= (uint8_t)(numbers[i] >> (8 * byte));
            }
        }
        if (!is_named(reading, &guest)) {
            return guest;
        }
    }
    return guest;
}

static void fill_sources(struct reading *reading)
{
    struct ip_addr guest = ordinary_guest(reading);
    for (size_t i = 0; i < reading->map->class_count; i++) {
        struct route_question *class = &reading->map->classes[i];
        class->source = class->source.version == IP_NONE ? guest : class->source;
    }
}

int uplinks_map_read(struct rtnl *r, const struct uplinks_question *question, unsigned char family, int bridge, struct uplinks_map *ret)
{
    struct reading reading = {.map = ret, .source_count = 0};
    const struct fib_rule_hdr rules = {.family = family};
    const struct rtmsg routes = {.rtm_family = family};
    int result = 0;
    memset(ret, 0, sizeof *ret);
    ret->asked = question;
    ret->family = family;
    ret->classes[ret->class_count++] = (struct route_question){.family = family, .input = question->as_host ? 0 : bridge};
    if (!question->as_host) {
        AUTO_MSG *msg = rtnl_msg(RTM_GETRULE, NLM_F_DUMP, &rules, sizeof rules);
        result = rtnl_talk(r, msg, got_rule, &reading);
        fill_sources(&reading);
    }
    if (result == 0) {
        AUTO_MSG *msg = rtnl_msg(RTM_GETROUTE, NLM_F_DUMP, &routes, sizeof routes);
        result = rtnl_talk(r, msg, got_route, &reading);
    }
    return result == ENOENT ? 0 : result; /* no route was ever put into any table */
}
