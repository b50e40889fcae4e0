#include "host/nft/flow_limits.h"

#include "core/cleanup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PARTS = 4, TABLE_USUAL = 65536 /* of a host with 1 GiB of memory or more */, LEAST = 16 };

static uint32_t at_least(uint32_t number, uint32_t least)
{
    return number < least ? least : number;
}

struct flow_limits flow_limits_of(uint32_t configured, uint32_t table)
{
    const uint32_t part = (table > 0 ? table : TABLE_USUAL) / PARTS;
    return (struct flow_limits){.max = at_least(configured < part ? configured : part, LEAST), .rate = at_least(part / FLOW_ENDED_S, LEAST)};
}

static uint32_t read_size(void)
{
    char text[16] = {0};
    AUTO_CLOSE int fd = open("/proc/sys/net/netfilter/nf_conntrack_max", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 1) {
        return 0;
    }
    const uintmax_t size = strtoumax(text, NULL, 10);
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
}

/* The kernel loads the module that a message is for. */
static void load_tracking(void)
{
    char request[64];
    struct nlmsghdr *h = mnl_nlmsg_put_header(request);
    h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    struct nfgenmsg *head = mnl_nlmsg_put_extra_header(h, sizeof *head);
    *head = (struct nfgenmsg){.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (nl != NULL) {
        (void)mnl_socket_sendto(nl, h, h->nlmsg_len);
        (void)mnl_socket_close(nl);
    }
}

uint32_t flow_table_size(void)
{
    const uint32_t size = read_size();
    if (size > 0) {
        return size;
    }
    load_tracking();
    return read_size();
}
