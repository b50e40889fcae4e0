#include "host/link/mnl.h"

int mnl_read_answer(struct mnl_socket *nl, char *buf, size_t size, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx, bool *ret_interrupted)
{
    bool interrupted = false;
    for (;;) {
        ssize_t got = mnl_socket_recvfrom(nl, buf, size);
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        int left = got < 0 ? 0 : (int)got;
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
        for (; mnl_message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            interrupted = interrupted || (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
                if (ret_interrupted != NULL) {
                    *ret_interrupted = interrupted;
                }
                return mnl_message_errno(h);
            }
            if (each != NULL) {
                each(h, ctx);
            }
        }
    }
}
