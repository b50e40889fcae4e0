#include "host/link/rtnl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

enum {
    RTNL_BUFFER_BYTES = 64 * 1024, /* the kernel puts at most 32 KiB of a dump into one datagram */
    ERRNO_MAX = 4095,              /* MAX_ERRNO of the kernel */
};

int rtnl_open(struct rtnl *r, struct error *err)
{
    return rtnl_open_protocol(r, NETLINK_ROUTE, err);
}

int rtnl_open_protocol(struct rtnl *r, int protocol, struct error *err)
{
    const int on = 1;
    AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open a netlink socket");
    }
    /* Old kernels refuse these; then replies are longer and say less, and dumps are filtered here alone. */
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    r->buf = malloc(RTNL_BUFFER_BYTES);
    if (r->buf == NULL) {
        return error_oom(err);
    }
    r->fd = TAKE_FD(fd);
    return 0;
}

void rtnl_close(struct rtnl *r)
{
    if (r->fd >= 0) {
        (void)close(r->fd);
    }
    free(r->buf);
    *r = RTNL_INIT;
}

struct nl_msg *rtnl_msg(int type, int flags, const void *header, size_t len)
{
    AUTO_MSG *msg = nlmsg_alloc_simple(type, flags | NLM_F_REQUEST);
    if (msg != NULL && nlmsg_append(msg, (void *)(uintptr_t)header, len, NLMSG_ALIGNTO) < 0) {
        return NULL;
    }
    return TAKE_PTR(msg);
}

static void keep_words(struct rtnl *r, const struct nlmsghdr *h)
{
    const struct nlmsgerr *e = nlmsg_data(h);
    struct nlattr *tb[NLMSGERR_ATTR_MAX + 1];
    size_t skip = sizeof *e;
    if ((h->nlmsg_flags & NLM_F_ACK_TLVS) == 0 || (size_t)nlmsg_datalen(h) < sizeof *e) {
        return;
    }
    if ((h->nlmsg_flags & NLM_F_CAPPED) == 0) {
        skip += e->msg.nlmsg_len - NLMSG_HDRLEN;
    }
    if (skip <= (size_t)nlmsg_datalen(h) && nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, (int)skip, tb, NLMSGERR_ATTR_MAX, NULL) == 0 &&
        tb[NLMSGERR_ATTR_MSG] != NULL) {
        (void)nla_strlcpy(r->words, tb[NLMSGERR_ATTR_MSG], sizeof r->words);
    }
}

/* What ends an answer: 0, or the positive errno; EPROTO when it is none. */
static int errno_of(const struct nlmsghdr *h)
{
    const int *error = nlmsg_data(h);
    if (nlmsg_datalen(h) < (int)sizeof *error) {
        return h->nlmsg_type == NLMSG_DONE ? 0 : EPROTO;
    }
    /* A dump may end with the number of its messages. */
    return *error >= 0 && h->nlmsg_type == NLMSG_DONE ? 0 : *error <= 0 && *error >= -ERRNO_MAX ? -*error : EPROTO;
}

/* Reads what one datagram holds. Returns true when the answer is complete, with its errno in *ret. */
static bool read_datagram(struct rtnl *r, size_t len, void (*each)(const struct nlmsghdr *, void *), void *ctx, int *ret)
{
    int left = (int)len;
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)r->buf;
    for (; nlmsg_ok(h, left); h = nlmsg_next(h, &left)) {
        if (h->nlmsg_seq != r->seq) {
            continue;
        }
        r->interrupted = r->interrupted || (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (h->nlmsg_type == NLMSG_ERROR) {
            keep_words(r, h);
            *ret = errno_of(h);
            return true;
        }
        if (h->nlmsg_type == NLMSG_DONE) {
            *ret = errno_of(h);
            return true;
        }
        if (each != NULL) {
            each(h, ctx);
        }
    }
    return false;
}

int rtnl_talk(struct rtnl *r, struct nl_msg *msg, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int result = 0;
    if (msg == NULL) {
        return ENOMEM;
    }
    struct nlmsghdr *h = nlmsg_hdr(msg);
    h->nlmsg_seq = ++r->seq;
    if ((h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) {
        h->nlmsg_flags |= NLM_F_ACK;
    }
    r->words[0] = '\0';
    r->interrupted = false;
    if (sendto(r->fd, h, h->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
        return errno;
    }
    for (;;) {
        ssize_t got = recv(r->fd, r->buf, RTNL_BUFFER_BYTES, MSG_TRUNC);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 || (size_t)got > RTNL_BUFFER_BYTES) {
            return got < 0 ? errno : EMSGSIZE;
        }
        if (read_datagram(r, (size_t)got, each, ctx, &result)) {
            return result;
        }
    }
}

int rtnl_fail(const struct rtnl *r, enum error_code code, int errnum, struct error *err, const char *fmt, ...)
{
    char text[ERROR_MESSAGE_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)error_sys(err, code, errnum, "%s", text);
    if (r->words[0] != '\0' && err != NULL) {
        const char *words = strerrordesc_np(errnum);
        (void)error_set(err, code, "%s: %s: %s", text, words != NULL ? words : "unknown error", r->words);
        err->sys_errno = errnum;
    }
    return -1;
}
