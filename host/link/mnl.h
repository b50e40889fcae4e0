/* Answers of the kernel by libmnl. Any thread, one at a time for each socket. */
#ifndef SMARTVM_HOST_LINK_MNL_H
#define SMARTVM_HOST_LINK_MNL_H

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdbool.h>

enum { MNL_ERRNO_MAX = 4095 }; /* MAX_ERRNO of the kernel */

/*
 * As mnl_nlmsg_ok(), which (1.0.4) takes a length of more than 2 GiB for a negative one, and so for a good one:
 * for (; mnl_message_ok(h, left); h = mnl_nlmsg_next(h, &left)).
 */
static inline bool mnl_message_ok(const struct nlmsghdr *h, int left)
{
    return mnl_nlmsg_ok(h, left) && h->nlmsg_len <= (uint32_t)left;
}

/* Of NLMSG_ERROR or NLMSG_DONE: 0, or the positive errno; EPROTO when it is none. */
static inline int mnl_message_errno(const struct nlmsghdr *h)
{
    const int *error = (const int *)mnl_nlmsg_get_payload(h);
    if (mnl_nlmsg_get_payload_len(h) < sizeof *error) {
        return h->nlmsg_type == NLMSG_DONE ? 0 : EPROTO;
    }
    /* A dump may end with the number of its messages. */
    return *error >= 0 && h->nlmsg_type == NLMSG_DONE ? 0 : *error <= 0 && *error >= -MNL_ERRNO_MAX ? -*error : EPROTO;
}

/*
 * Calls `each` (may be NULL: nothing is wanted of them) for the messages that come, until the end of a dump or an acknowledgement: 0 or a positive errno.
 * *ret_interrupted (may be NULL) is set at that end: the kernel's list changed while it was dumped. `buf` has `size` bytes for one datagram.
 */
int mnl_read_answer(struct mnl_socket *nl, char *buf, size_t size, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx, bool *ret_interrupted);

#endif
