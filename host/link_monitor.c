#include "host/link_rtnl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

enum {
    MONITOR_QUEUE_BYTES = 4 * 1024 * 1024, /* a thousand TAPs that come up at once are about 2 MiB of news */
    MONITOR_BUFFER_BYTES = 64 * 1024,
};

int link_monitor_open(int *ret_fd, struct error *err)
{
    const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE};
    const int queue = MONITOR_QUEUE_BYTES;
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open a socket for news of links");
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue);
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
    size_t count, size;
    bool lost; /* "anything" changed */
};

static void add_name(struct names *names, const char *name)
{
    /* One link tells several things in a row. */
    if (names->count > 0 && strcmp(names->items[names->count - 1], name) == 0) {
        return;
    }
    if (names->count == names->size) {
        size_t size = names->size == 0 ? 64 : names->size * 2;
        char(*grown)[INTERFACE_NAME_MAX] = reallocarray(names->items, size, sizeof *grown);
        if (grown == NULL) {
            names->lost = true;
            return;
        }
        names->items = grown;
        names->size = size;
    }
    (void)snprintf(names->items[names->count++], INTERFACE_NAME_MAX, "%s", name);
}

static void read_news(char *buf, size_t len, struct names *names, bool *routes_changed)
{
    int left = (int)len;
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
    for (; nlmsg_ok(h, left); h = nlmsg_next(h, &left)) {
        struct nlattr *tb[IFLA_MAX + 1] = {NULL};
        if (h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK) {
            *routes_changed = true;
        } else if (nlmsg_parse(h, sizeof(struct ifinfomsg), tb, IFLA_MAX, NULL) == 0 &&
                   tb[IFLA_IFNAME] != NULL) {
            char name[INTERFACE_NAME_MAX];
            (void)nla_strlcpy(name, tb[IFLA_IFNAME], sizeof name);
            add_name(names, name);
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

int link_monitor_drain(int fd, void (*changed)(const char *name, void *ctx), void *ctx,
                       bool *ret_routes_changed, struct error *err)
{
    AUTO_FREE char *buf = malloc(MONITOR_BUFFER_BYTES);
    struct names names = {NULL, 0, 0, false};
    bool routes = false;
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
            free(names.items);
            return error_sys(err, ERR_SYSTEM, errnum, "cannot read news of links");
        }
        if (got < 0 || got > MONITOR_BUFFER_BYTES) {
            names.lost = true;
            routes = true;
            continue;
        }
        read_news(buf, (size_t)got, &names, &routes);
    }
    report(&names, changed, ctx);
    free(names.items);
    *ret_routes_changed = routes;
    return 0;
}
