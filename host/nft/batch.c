#include "host/nft/batch.h"

#include "host/link/mnl.h"

#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

enum {
    PORT_PID_BITS = 22, /* pid_max is at most 2^22 (PID_MAX_LIMIT) */
    PORT_SLOTS = 511,   /* above them; the top bit stays clear, as the kernel's own choices have it set */
    BATCH_START_BYTES = 4 * NFT_MESSAGE_MAX,
    ANSWER_BYTES = 64 * 1024,
    ANSWER_QUEUE_BYTES = 1024 * 1024,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct mnl_socket *nl;
    pid_t pid;
    ino_t netns;
} shared;

bool nft_is_own_port(uint32_t port)
{
    uint32_t slot = port >> PORT_PID_BITS;
    return slot >= 1 && slot <= PORT_SLOTS && (port & ((1U << PORT_PID_BITS) - 1)) == (uint32_t)getpid();
}

static int bind_own_port(struct mnl_socket *nl)
{
    for (uint32_t slot = 1; slot <= PORT_SLOTS; slot++) {
        if (mnl_socket_bind(nl, 0, (pid_t)(slot << PORT_PID_BITS | (uint32_t)getpid())) == 0) {
            return 0;
        }
        if (errno != EADDRINUSE) {
            return errno;
        }
    }
    return EADDRINUSE;
}

static struct mnl_socket *open_socket(struct error *err)
{
    const int on = 1;
    const int receive_bytes = ANSWER_QUEUE_BYTES;
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    int result = nl == NULL ? errno : bind_own_port(nl);
    if (result != 0) {
        (void)error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot open an nfnetlink socket");
        if (nl != NULL) {
            (void)mnl_socket_close(nl);
        }
        return NULL;
    }
    int fd = mnl_socket_get_fd(nl);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof receive_bytes);
    return nl;
}

struct mnl_socket *nft_socket_acquire(struct error *err)
{
    struct stat netns = {.st_ino = 0};
    (void)stat("/proc/thread-self/ns/net", &netns);
    (void)pthread_mutex_lock(&lock);
    if (shared.nl != NULL && (shared.pid != getpid() || shared.netns != netns.st_ino)) {
        (void)mnl_socket_close(shared.nl);
        shared.nl = NULL;
    }
    if (shared.nl == NULL) {
        shared.nl = open_socket(err);
        shared.pid = getpid();
        shared.netns = netns.st_ino;
    }
    if (shared.nl == NULL) {
        (void)pthread_mutex_unlock(&lock);
    }
    return shared.nl;
}

void nft_socket_release(bool usable)
{
    if (!usable) {
        (void)mnl_socket_close(shared.nl);
        shared.nl = NULL;
    }
    (void)pthread_mutex_unlock(&lock);
}

void nft_batch_free(struct nft_batch *b)
{
    free(b->buf);
    free(b->what);
    *b = NFT_BATCH_INIT;
}

static bool grow_batch(struct nft_batch *b)
{
    if (b->size - b->len < NFT_MESSAGE_MAX) {
        size_t size = b->size == 0 ? BATCH_START_BYTES : b->size * 2;
        char *grown = realloc(b->buf, size);
        if (grown == NULL) {
            return false;
        }
        b->buf = grown;
        b->size = size;
    }
    if (b->count + 2 > b->what_size) {
        size_t size = b->what_size == 0 ? 32 : b->what_size * 2;
        char(*grown)[NFT_WHAT_MAX] = reallocarray(b->what, size, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        b->what = grown;
        b->what_size = size;
    }
    return true;
}

/* BEGIN and END are messages like the others, with a header of their own. */
static bool add_frame(struct nft_batch *b, struct nlmsghdr *(*put)(char *buf, uint32_t seq), const char *what)
{
    if (b->failed || !grow_batch(b)) {
        b->failed = true;
        return false;
    }
    const struct nlmsghdr *h = put(b->buf + b->len, (uint32_t)b->count + 1);
    (void)snprintf(b->what[b->count++], NFT_WHAT_MAX, "%s", what);
    b->len += NLMSG_ALIGN(h->nlmsg_len);
    return true;
}

struct nlmsghdr *nft_batch_add(struct nft_batch *b, uint16_t type, uint16_t family, uint16_t flags, const char *what_fmt, ...)
{
    if ((b->count == 0 && !add_frame(b, nftnl_batch_begin, "the transaction")) || b->failed || !grow_batch(b)) {
        b->failed = true;
        return NULL;
    }
    va_list ap;
    va_start(ap, what_fmt);
    (void)vsnprintf(b->what[b->count++], NFT_WHAT_MAX, what_fmt, ap);
    va_end(ap);
    return nftnl_nlmsg_build_hdr(b->buf + b->len, type, family, flags, (uint32_t)b->count);
}

void nft_batch_close(struct nft_batch *b)
{
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)(b->buf + b->len);
    b->last = b->len;
    b->len += NLMSG_ALIGN(h->nlmsg_len);
}

struct answer {
    const struct nft_batch *batch;
    bool acknowledged;
    int errnum;
    char what[NFT_WHAT_MAX];
    char words[160];
};

static int keep_words(const struct nlattr *attr, void *ctx)
{
    struct answer *answer = ctx;
    if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0) {
        (void)snprintf(answer->words, sizeof answer->words, "%s", mnl_attr_get_str(attr));
    }
    return MNL_CB_OK;
}

static void read_ack(const struct nlmsghdr *h, struct answer *answer)
{
    const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
    if (h->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(h) < sizeof *e) {
        return;
    }
    if (e->error == 0) {
        answer->acknowledged = true;
        return;
    }
    if (answer->errnum != 0) {
        return; /* what fails first is the cause */
    }
    answer->errnum = mnl_message_errno(h);
    if (h->nlmsg_seq >= 1 && h->nlmsg_seq <= answer->batch->count) {
        memcpy(answer->what, answer->batch->what[h->nlmsg_seq - 1], sizeof answer->what);
    }
    if ((h->nlmsg_flags & NLM_F_ACK_TLVS) != 0 && (h->nlmsg_flags & NLM_F_CAPPED) != 0) {
        (void)mnl_attr_parse(h, sizeof *e, keep_words, answer);
    }
}

/* All answers are in the queue when the kernel returns from sendto(). */
static int read_answers(struct mnl_socket *nl, struct answer *answer)
{
    AUTO_FREE char *buf = malloc(ANSWER_BYTES);
    if (buf == NULL) {
        return ENOMEM;
    }
    for (;;) {
        ssize_t got = recv(mnl_socket_get_fd(nl), buf, ANSWER_BYTES, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || answer->errnum != 0 ? 0 : errno;
        }
        int left = (int)got;
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
        for (; mnl_message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            read_ack(h, answer);
        }
    }
}

static int send_batch(struct mnl_socket *nl, const struct nft_batch *b, struct answer *answer)
{
    const int bytes = (int)(b->len + 4096);
    if (setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0 || mnl_socket_sendto(nl, b->buf, b->len) < 0) {
        return errno;
    }
    return read_answers(nl, answer);
}

int nft_batch_commit(struct nft_batch *b, const char *mark, struct error *err)
{
    struct answer answer = {.batch = b, .acknowledged = false};
    if (b->count == 0 && !b->failed) {
        return 0;
    }
    if (!b->failed) {
        /* The last message before the end asks for an acknowledgement: silence is never taken for success. */
        struct nlmsghdr *last = (struct nlmsghdr *)(void *)(b->buf + b->last);
        last->nlmsg_flags |= NLM_F_ACK;
    }
    if (b->failed || !add_frame(b, nftnl_batch_end, "the end of the transaction")) {
        return error_oom(err);
    }
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    int result = send_batch(nl, b, &answer);
    nft_socket_release(result == 0);
    if (result == 0 && answer.errnum == 0 && !answer.acknowledged) {
        result = EPROTO;
    }
    if (result != 0) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot change firewall tables %s", mark);
    }
    if (answer.errnum != 0) {
        (void)error_sys(err, ERR_FIREWALL_SETUP_FAILED, answer.errnum, "firewall tables %s: the kernel refused %s%s%s", mark, answer.what,
                        answer.words[0] != '\0' ? ": " : "", answer.words);
        return -1;
    }
    return 0;
}

int nft_query(struct mnl_socket *nl, struct nlmsghdr *request, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx, bool *ret_interrupted)
{
    if ((request->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) {
        request->nlmsg_flags |= NLM_F_ACK;
    }
    if (mnl_socket_sendto(nl, request, request->nlmsg_len) < 0) {
        return errno;
    }
    AUTO_FREE char *buf = malloc(ANSWER_BYTES);
    if (buf == NULL) {
        return ENOMEM;
    }
    return mnl_read_answer(nl, buf, ANSWER_BYTES, each, ctx, ret_interrupted);
}
