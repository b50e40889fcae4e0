#include "host/link/mnl.h"
#include "host/nft/batch.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

enum {
    MONITOR_QUEUE_BYTES = 4 * 1024 * 1024,
    MONITOR_BUFFER_BYTES = 64 * 1024,
    TABLE_ATTRIBUTE = NFTA_TABLE_NAME, /* the same number in rules, chains, sets, elements, objects and flow tables */
};

int nft_monitor_open(int *ret_fd, struct error *err)
{
    const int queue = MONITOR_QUEUE_BYTES;
    const int group = NFNLGRP_NFTABLES;
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
    if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self) != 0 || setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, errno, "cannot subscribe to news of the firewall");
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

struct news {
    const char *mark;
    bool concerned;
    bool foreign; /* chains, rules or tables of others */
};

static int look_for_table(const struct nlattr *attr, void *ctx)
{
    const char **table = ctx;
    if (mnl_attr_get_type(attr) == TABLE_ATTRIBUTE && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0) {
        *table = mnl_attr_get_str(attr);
    }
    return MNL_CB_OK;
}

/* What decides about packets; elements of sets come and go on many hosts all the time, and do not concern us. */
static bool is_about_rules(uint16_t type)
{
    return type == NFT_MSG_NEWTABLE || type == NFT_MSG_DELTABLE || type == NFT_MSG_NEWCHAIN || type == NFT_MSG_DELCHAIN || type == NFT_MSG_NEWRULE ||
           type == NFT_MSG_DELRULE;
}

static void read_news(const struct nlmsghdr *h, struct news *news)
{
    const struct nfgenmsg *head = mnl_nlmsg_get_payload(h);
    if (NFNL_SUBSYS_ID(h->nlmsg_type) != NFNL_SUBSYS_NFTABLES || NFNL_MSG_TYPE(h->nlmsg_type) == NFT_MSG_NEWGEN ||
        mnl_nlmsg_get_payload_len(h) < sizeof *head || nft_is_own_port(h->nlmsg_pid)) {
        return;
    }
    const char *table = NULL;
    (void)mnl_attr_parse(h, sizeof *head, look_for_table, &table);
    bool ours = table != NULL && strcmp(table, news->mark) == 0 && (head->nfgen_family == NFPROTO_INET || head->nfgen_family == NFPROTO_BRIDGE);
    news->concerned = news->concerned || ours;
    news->foreign = news->foreign || (!ours && is_about_rules(NFNL_MSG_TYPE(h->nlmsg_type)));
}

int nft_monitor_drain(int fd, const char *mark, bool *ret_concerned, bool *ret_foreign, struct error *err)
{
    struct news news = {.mark = mark};
    AUTO_FREE char *buf = malloc(MONITOR_BUFFER_BYTES);
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
            return error_sys(err, ERR_FIREWALL_SETUP_FAILED, errno, "cannot read news of the firewall");
        }
        if (got < 0 || got > MONITOR_BUFFER_BYTES) {
            news.concerned = true; /* something was lost: who knows what */
            continue;
        }
        int left = (int)got;
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
        for (; mnl_message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            read_news(h, &news);
        }
    }
    *ret_concerned = news.concerned;
    *ret_foreign = news.foreign;
    return 0;
}
