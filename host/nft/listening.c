#include "host/nft/listening.h"

#include "core/cleanup.h"
#include "host/link/mnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>

enum { ANSWER_BYTES = 64 * 1024 };

struct search {
    uint8_t protocol;
    void (*found)(const struct listener *listener, void *ctx);
    void *ctx;
};

/* Of an IPv6 socket: does it leave IPv4 to others? */
static int note_v6_only(const struct nlattr *attribute, void *ctx)
{
    if (mnl_attr_get_type(attribute) == INET_DIAG_SKV6ONLY && mnl_attr_get_payload_len(attribute) >= 1) {
        *(bool *)ctx = mnl_attr_get_u8(attribute) != 0;
    }
    return MNL_CB_OK;
}

static void read_address(const struct inet_diag_msg *socket, bool v6_only, struct listener *ret)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96 is IPv4 */
    static const uint8_t zeroes[16];
    const uint8_t *bytes = (const uint8_t *)socket->id.idiag_src;
    if (socket->idiag_family == AF_INET || memcmp(bytes, mapped, sizeof mapped) == 0) {
        ret->host.version = IP_V4;
        memcpy(ret->host.bytes, socket->idiag_family == AF_INET ? bytes : bytes + sizeof mapped, 4);
        return;
    }
    ret->host.version = IP_V6;
    memcpy(ret->host.bytes, bytes, sizeof ret->host.bytes);
    ret->both = !v6_only && memcmp(bytes, zeroes, sizeof zeroes) == 0;
}

static void read_socket(const struct nlmsghdr *h, void *ctx)
{
    const struct search *search = ctx;
    const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(h);
    bool v6_only = false;
    if (mnl_nlmsg_get_payload_len(h) < sizeof *socket || socket->id.idiag_sport == 0) {
        return;
    }
    (void)mnl_attr_parse(h, sizeof *socket, note_v6_only, &v6_only);
    struct listener listener = {.protocol = search->protocol, .port = ntohs(socket->id.idiag_sport), .inode = socket->idiag_inode};
    read_address(socket, v6_only, &listener);
    search->found(&listener, search->ctx);
}

static int query(struct mnl_socket *nl, uint8_t family, uint8_t protocol, struct search *search)
{
    /* A UDP socket that is not connected is in the state that TCP calls closed. */
    const struct inet_diag_req_v2 request = {
        .sdiag_family = family, .sdiag_protocol = protocol, .idiag_states = 1U << (protocol == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE)};
    AUTO_FREE char *buf = malloc(ANSWER_BYTES);
    if (buf == NULL) {
        return ENOMEM;
    }
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    memcpy(mnl_nlmsg_put_extra_header(h, sizeof request), &request, sizeof request);
    if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0) {
        return errno;
    }
    int result = mnl_read_answer(nl, buf, ANSWER_BYTES, read_socket, search, NULL);
    /* The kernel has no such module, or none of this protocol. */
    return result == ENOENT || result == EOPNOTSUPP ? 0 : result;
}

bool listener_meets(const struct listener *listener, const struct vm_port *port)
{
    static const uint8_t zeroes[16];
    if (listener->protocol != port->protocol || listener->port < port->host_port || listener->port - port->host_port >= port->count) {
        return false;
    }
    if (listener->both) {
        return true;
    }
    return listener->host.version == port->host.version &&
           (vm_port_is_everywhere(port) || memcmp(listener->host.bytes, zeroes, sizeof zeroes) == 0 || ip_addr_equal(&listener->host, &port->host));
}

int listener_each(uint8_t protocol, void (*found)(const struct listener *listener, void *ctx), void *ctx, struct error *err)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct search search = {protocol, found, ctx};
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    int result = nl == NULL || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) != 0 ? errno : 0;
    for (size_t i = 0; i < ARRAY_LEN(families) && result == 0; i++) {
        result = query(nl, families[i], protocol, &search);
    }
    if (nl != NULL) {
        (void)mnl_socket_close(nl);
    }
    return result == 0 || result == EPROTONOSUPPORT ? 0 : error_sys(err, ERR_SYSTEM, result, "cannot look for listeners of the host");
}
