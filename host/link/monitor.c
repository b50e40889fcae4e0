#include "host/link/rtnl.h"

#include "core/array.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

enum {
    MONITOR_QUEUE_BYTES = 4 * 1024 * 1024, /* a thousand TAPs that come up at once are about 2 MiB of news */
    MONITOR_BUFFER_BYTES = 64 * 1024,
};

/*
 * Of neighbours only what belongs to bridges: a busy host tells of an ARP entry many times a second. One
 * message a datagram, as the kernel sends them; its type is in host byte order, which BPF reads as big endian.
 */
static int filter_neighbours(int fd)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWNEIGH), 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELNEIGH), 0, 2),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN + offsetof(struct ndmsg, ndm_family)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_BRIDGE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog filter = {.len = ARRAY_LEN(program), .filter = program};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

int link_monitor_open(int *ret_fd, struct error *err)
{
    const int groups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,   RTNLGRP_IPV4_RULE, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_IFADDR,
                          RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE,   RTNLGRP_IPV6_NETCONF, RTNLGRP_NEIGH,     RTNLGRP_TC,           RTNLGRP_NEXTHOP};
    const int queue = MONITOR_QUEUE_BYTES;
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open a socket for news of links");
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue);
    if (filter_neighbours(fd) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot filter news of links");
    }
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) != 0) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot subscribe to news of links");
        }
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

struct names {
    char (*items)[INTERFACE_NAME_MAX];
    size_t count;
    bool lost; /* "anything" changed */
};

static void add_name(struct names *names, const char *name)
{
    /* One link tells several things in a row. */
    if (names->count > 0 && strcmp(names->items[names->count - 1], name) == 0) {
        return;
    }
    char(*grown)[INTERFACE_NAME_MAX] = array_grow(names->items, names->count, sizeof *grown);
    if (grown == NULL) {
        names->lost = true;
        return;
    }
    names->items = grown;
    (void)snprintf(names->items[names->count++], INTERFACE_NAME_MAX, "%s", name);
}

struct news {
    struct names names;
    const char *tap_prefix;
    bool routes;
};

static void add_link(struct news *news, struct nlmsghdr *h)
{
    struct nlattr *tb[IFLA_MAX + 1] = {NULL};
    if (nlmsg_parse(h, sizeof(struct ifinfomsg), tb, IFLA_MAX, NULL) == 0 && tb[IFLA_IFNAME] != NULL) {
        char name[INTERFACE_NAME_MAX];
        (void)nla_strlcpy(name, tb[IFLA_IFNAME], sizeof name);
        add_name(&news->names, name);
    }
}

/* Something that is no link, but belongs to one. */
static void add_by_index(struct news *news, int index, bool taps_only)
{
    char name[IF_NAMESIZE];
    if (index > 0 && if_indextoname((unsigned)index, name) != NULL && strncmp(name, news->tap_prefix, strlen(news->tap_prefix)) == 0) {
        add_name(&news->names, name);
    } else if (!taps_only) {
        news->routes = true;
    }
}

static int index_attribute(struct nlmsghdr *h, size_t head, int attribute)
{
    struct nlattr *found = nlmsg_find_attr(h, (int)head, attribute);
    return found != NULL && nla_len(found) >= (int)sizeof(int32_t) ? nla_get_s32(found) : 0;
}

/* fe80::/10: the kernel gives and takes these as carriers come and go. */
static bool is_link_local(struct nlmsghdr *h, size_t head, int attribute)
{
    struct nlattr *found = nlmsg_find_attr(h, (int)head, attribute);
    const uint8_t *address = found != NULL && nla_len(found) >= (int)sizeof(struct in6_addr) ? nla_data(found) : NULL;
    return address != NULL && address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static void add_address(struct news *news, struct nlmsghdr *h)
{
    const struct ifaddrmsg *head = nlmsg_data(h);
    if (head->ifa_family != AF_INET6 || !is_link_local(h, sizeof *head, IFA_ADDRESS)) {
        add_by_index(news, (int)head->ifa_index, false);
    }
}

/* Each link that comes up brings routes to its own and to multicast addresses; they say nothing new. */
static void add_route(struct news *news, struct nlmsghdr *h)
{
    const struct rtmsg *head = nlmsg_data(h);
    bool local6 = head->rtm_family == AF_INET6 && is_link_local(h, sizeof *head, RTA_DST);
    bool ordinary =
        !local6 && head->rtm_type != RTN_LOCAL && head->rtm_type != RTN_MULTICAST && head->rtm_type != RTN_BROADCAST && head->rtm_type != RTN_ANYCAST;
    if (ordinary && (head->rtm_flags & RTM_F_CLONED) == 0) {
        add_by_index(news, index_attribute(h, sizeof *head, RTA_OIF), false);
    }
}

/* Filters, and what holds them. Those of TAPs are nobody's business here. */
static void add_traffic_control(struct news *news, struct nlmsghdr *h)
{
    char name[IF_NAMESIZE];
    int index = ((const struct tcmsg *)nlmsg_data(h))->tcm_ifindex;
    if (index > 0 && if_indextoname((unsigned)index, name) != NULL && strncmp(name, news->tap_prefix, strlen(news->tap_prefix)) != 0) {
        add_name(&news->names, name);
    }
}

static void add_message(struct news *news, struct nlmsghdr *h)
{
    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        add_link(news, h);
        break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
        add_address(news, h);
        break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        add_route(news, h);
        break;
    case RTM_NEWNETCONF:
        add_by_index(news, index_attribute(h, sizeof(struct netconfmsg), NETCONFA_IFINDEX), false);
        break;
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        add_by_index(news, ((const struct ndmsg *)nlmsg_data(h))->ndm_ifindex, true);
        break;
    case RTM_NEWRULE:
    case RTM_DELRULE:
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
        news->routes = true;
        break;
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER:
        add_traffic_control(news, h);
        break;
    default: /* RTM_DELNETCONF: the link is gone, and that is told */
        break;
    }
}

static size_t least_bytes(unsigned type)
{
    switch (type) {
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return sizeof(struct ifaddrmsg);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return sizeof(struct rtmsg);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        return sizeof(struct ndmsg);
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER:
        return sizeof(struct tcmsg);
    default:
        return sizeof(struct netconfmsg);
    }
}

static void read_news(char *buf, size_t len, struct news *news)
{
    int left = (int)len;
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
    for (; nlmsg_ok(h, left); h = nlmsg_next(h, &left)) {
        if (nlmsg_datalen(h) >= (int)least_bytes(h->nlmsg_type)) {
            add_message(news, h);
        }
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void report(struct names *names, void (*changed)(const char *name, void *ctx), void *ctx)
{
    if (names->lost) {
        changed(NULL, ctx);
    }
    if (names->count == 0) {
        return;
    }
    qsort(names->items, names->count, sizeof *names->items, compare_names);
    for (size_t i = 0; i < names->count; i++) {
        if (i == 0 || strcmp(names->items[i - 1], names->items[i]) != 0) {
            changed(names->items[i], ctx);
        }
    }
}

int link_monitor_drain(int fd, const char *tap_prefix, void (*changed)(const char *name, void *ctx), void *ctx, bool *ret_routes_changed, struct error *err)
{
    AUTO_FREE char *buf = malloc(MONITOR_BUFFER_BYTES);
    struct news news = {.names = {.items = NULL}, .tap_prefix = tap_prefix};
    if (buf == NULL) {
        return error_oom(err);
    }
    for (;;) {
        ssize_t got = recv(fd, buf, MONITOR_BUFFER_BYTES, MSG_TRUNC | MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        }
        if (got < 0 && errno != ENOBUFS) {
            int errnum = errno;
            free(news.names.items);
            return error_sys(err, ERR_SYSTEM, errnum, "cannot read news of links");
        }
        if (got < 0 || got > MONITOR_BUFFER_BYTES) {
            news.names.lost = true;
            news.routes = true;
            continue;
        }
        read_news(buf, (size_t)got, &news);
    }
    report(&news.names, changed, ctx);
    free(news.names.items);
    *ret_routes_changed = news.routes;
    return 0;
}
