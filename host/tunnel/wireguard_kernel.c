/* The kernel's WireGuard, by generic netlink: <linux/wireguard.h> is the source of every attribute here. */
#include "core/cleanup.h"
#include "host/link/rtnl.h"
#include "host/tunnel/wireguard_backends.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/time_types.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <string.h>

enum {
    MESSAGE_MAX = 48 * 1024, /* a nested attribute holds less than 64 KiB */
    PEER_ROOM = 16 * 1024,   /* the largest peer has WIREGUARD_ALLOWED_MAX networks of 40 bytes at most */
};

static struct nl_msg *message(uint16_t family, uint8_t command, int flags)
{
    struct genlmsghdr head = {.cmd = command, .version = WG_GENL_VERSION};
    AUTO_MSG *msg = nlmsg_alloc_size(MESSAGE_MAX);
    if (msg == NULL || nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags | NLM_F_REQUEST) == NULL ||
        nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO) < 0) {
        return NULL;
    }
    return TAKE_PTR(msg);
}

static int put_key(struct nl_msg *msg, int attribute, const struct wireguard_key *key)
{
    return nla_put(msg, attribute, sizeof key->bytes, key->bytes);
}

static int put_endpoint(struct nl_msg *msg, const struct wireguard_endpoint *endpoint)
{
    if (endpoint->address.version == IP_V4) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(endpoint->port)};
        memcpy(&address.sin_addr, endpoint->address.bytes, sizeof address.sin_addr);
        return nla_put(msg, WGPEER_A_ENDPOINT, sizeof address, &address);
    }
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint->port)};
    memcpy(&address.sin6_addr, endpoint->address.bytes, sizeof address.sin6_addr);
    return nla_put(msg, WGPEER_A_ENDPOINT, sizeof address, &address);
}

static int put_allowed(struct nl_msg *msg, const struct wireguard_device_peer *peer)
{
    struct nlattr *list = nla_nest_start(msg, WGPEER_A_ALLOWEDIPS);
    int result = list == NULL ? -1 : 0;
    for (size_t i = 0; result == 0 && i < peer->allowed_count; i++) {
        const struct ip_net *net = &peer->allowed[i];
        bool v4 = net->address.version == IP_V4;
        struct nlattr *item = nla_nest_start(msg, 0);
        if (item == NULL || nla_put_u16(msg, WGALLOWEDIP_A_FAMILY, v4 ? AF_INET : AF_INET6) != 0 ||
            nla_put(msg, WGALLOWEDIP_A_IPADDR, v4 ? 4 : 16, net->address.bytes) != 0 || nla_put_u8(msg, WGALLOWEDIP_A_CIDR_MASK, net->prefix) != 0) {
            return -1;
        }
        (void)nla_nest_end(msg, item);
    }
    return result == 0 ? nla_nest_end(msg, list) : -1;
}

static uint32_t peer_flags(const struct wireguard_peer_change *change)
{
    if (change->is_removed) {
        return WGPEER_F_REMOVE_ME;
    }
    return (change->is_new ? 0U : (uint32_t)WGPEER_F_UPDATE_ONLY) | (change->allowed ? (uint32_t)WGPEER_F_REPLACE_ALLOWEDIPS : 0U);
}

static int put_peer(struct nl_msg *msg, const struct wireguard_peer_change *change)
{
    const struct wireguard_device_peer *peer = change->peer;
    struct nlattr *nest = nla_nest_start(msg, 0);
    if (nest == NULL || put_key(msg, WGPEER_A_PUBLIC_KEY, &peer->public_key) != 0 || nla_put_u32(msg, WGPEER_A_FLAGS, peer_flags(change)) != 0 ||
        (change->preshared_key && put_key(msg, WGPEER_A_PRESHARED_KEY, &peer->preshared_key) != 0) ||
        (change->endpoint && put_endpoint(msg, &peer->endpoint) != 0) ||
        (change->keepalive && nla_put_u16(msg, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer->keepalive) != 0) ||
        (change->allowed && put_allowed(msg, peer) != 0)) {
        return -1;
    }
    return nla_nest_end(msg, nest);
}

static int put_device(struct nl_msg *msg, const struct wireguard_change *change)
{
    const struct wireguard_device *wanted = change->wanted;
    return (change->private_key && put_key(msg, WGDEVICE_A_PRIVATE_KEY, &wanted->private_key) != 0) ||
                   (change->listen_port && nla_put_u16(msg, WGDEVICE_A_LISTEN_PORT, wanted->listen_port) != 0) ||
                   (change->fwmark && nla_put_u32(msg, WGDEVICE_A_FWMARK, wanted->fwmark) != 0)
               ? -1
               : 0;
}

struct nl_msg *wireguard_kernel_message(uint16_t family, const char *interface, const struct wireguard_change *change, size_t *at)
{
    bool is_first = *at == 0;
    AUTO_MSG *msg = message(family, WG_CMD_SET_DEVICE, 0);
    if (msg == NULL || nla_put_string(msg, WGDEVICE_A_IFNAME, interface) != 0 || (is_first && put_device(msg, change) != 0)) {
        return NULL;
    }
    if (*at == change->peer_count) {
        return TAKE_PTR(msg);
    }
    struct nlattr *peers = nla_nest_start(msg, WGDEVICE_A_PEERS);
    while (peers != NULL && *at < change->peer_count && nlmsg_hdr(msg)->nlmsg_len < MESSAGE_MAX - PEER_ROOM) {
        if (put_peer(msg, &change->peers[*at]) != 0) {
            return NULL;
        }
        (*at)++;
    }
    return peers != NULL && nla_nest_end(msg, peers) == 0 ? TAKE_PTR(msg) : NULL;
}

static bool read_key(struct nlattr *a, struct wireguard_key *ret)
{
    if (a == NULL || nla_len(a) != WG_KEY_LEN) {
        return false;
    }
    memcpy(ret->bytes, nla_data(a), sizeof ret->bytes);
    return true;
}

static void read_endpoint(struct nlattr *a, struct wireguard_endpoint *ret)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (a != NULL && nla_len(a) == (int)sizeof v4) {
        memcpy(&v4, nla_data(a), sizeof v4);
        ret->address = (struct ip_addr){.version = IP_V4};
        memcpy(ret->address.bytes, &v4.sin_addr, sizeof v4.sin_addr);
        ret->port = ntohs(v4.sin_port);
    } else if (a != NULL && nla_len(a) == (int)sizeof v6) {
        memcpy(&v6, nla_data(a), sizeof v6);
        ret->address = (struct ip_addr){.version = IP_V6};
        memcpy(ret->address.bytes, &v6.sin6_addr, sizeof v6.sin6_addr);
        ret->port = ntohs(v6.sin6_port);
    }
}

static int read_allowed(struct nlattr *list, struct wireguard_device_peer *peer)
{
    struct nlattr *item = NULL;
    int left = 0;
    nla_for_each_nested(item, list, left)
    {
        struct nlattr *tb[WGALLOWEDIP_A_MAX + 1] = {NULL};
        struct ip_net net = {.prefix = 0};
        if (nla_parse_nested(tb, WGALLOWEDIP_A_MAX, item, NULL) != 0 || tb[WGALLOWEDIP_A_IPADDR] == NULL) {
            return -1;
        }
        int len = nla_len(tb[WGALLOWEDIP_A_IPADDR]);
        const uint8_t prefix = rtnl_u8(tb[WGALLOWEDIP_A_CIDR_MASK], UINT8_MAX);
        if ((len != 4 && len != 16) || prefix > 8 * len) {
            return -1;
        }
        net.address.version = len == 4 ? IP_V4 : IP_V6;
        memcpy(net.address.bytes, nla_data(tb[WGALLOWEDIP_A_IPADDR]), (size_t)len);
        net.prefix = prefix;
        if (wireguard_device_add_allowed(peer, &net) != 0) {
            return -1;
        }
    }
    return 0;
}

static uint64_t read_number(struct nlattr *a)
{
    return a != NULL && nla_len(a) >= 8 ? nla_get_u64(a) : 0;
}

static int64_t read_handshake_ms(struct nlattr *a)
{
    struct __kernel_timespec time;
    int64_t ms = 0;
    if (a != NULL && nla_len(a) >= (int)sizeof time) {
        memcpy(&time, nla_data(a), sizeof time);
        (void)wireguard_handshake_time((uint64_t)time.tv_sec, (uint64_t)time.tv_nsec, &ms);
    }
    return ms;
}

/* A peer with many networks goes on in the next message, which then begins with its key. */
static struct wireguard_device_peer *peer_of(struct wireguard_device *device, const struct wireguard_key *key, bool *ret_is_new)
{
    struct wireguard_device_peer *last = device->peer_count > 0 ? &device->peers[device->peer_count - 1] : NULL;
    *ret_is_new = last == NULL || !wireguard_key_equal(&last->public_key, key);
    struct wireguard_device_peer *peer = *ret_is_new ? wireguard_device_add_peer(device) : last;
    if (peer != NULL) {
        peer->public_key = *key;
    }
    return peer;
}

static int read_peer(struct nlattr *nest, struct wireguard_device *device)
{
    struct nlattr *tb[WGPEER_A_MAX + 1] = {NULL};
    struct wireguard_key key;
    bool is_new = false;
    if (nla_parse_nested(tb, WGPEER_A_MAX, nest, NULL) != 0 || !read_key(tb[WGPEER_A_PUBLIC_KEY], &key)) {
        return -1;
    }
    struct wireguard_device_peer *peer = peer_of(device, &key, &is_new);
    if (peer == NULL) {
        return -1;
    }
    if (is_new) {
        (void)read_key(tb[WGPEER_A_PRESHARED_KEY], &peer->preshared_key);
        read_endpoint(tb[WGPEER_A_ENDPOINT], &peer->endpoint);
        peer->keepalive = rtnl_u16(tb[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL], 0);
        peer->handshake_ms = read_handshake_ms(tb[WGPEER_A_LAST_HANDSHAKE_TIME]);
        peer->received_bytes = read_number(tb[WGPEER_A_RX_BYTES]);
        peer->sent_bytes = read_number(tb[WGPEER_A_TX_BYTES]);
    }
    return tb[WGPEER_A_ALLOWEDIPS] != NULL ? read_allowed(tb[WGPEER_A_ALLOWEDIPS], peer) : 0;
}

int wireguard_kernel_parse(const struct nlmsghdr *h, struct wireguard_device *device)
{
    struct nlattr *tb[WGDEVICE_A_MAX + 1] = {NULL};
    struct nlattr *peer = NULL;
    int left = 0;
    if (nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, GENL_HDRLEN, tb, WGDEVICE_A_MAX, NULL) != 0) {
        return -1;
    }
    (void)read_key(tb[WGDEVICE_A_PRIVATE_KEY], &device->private_key);
    device->listen_port = rtnl_u16(tb[WGDEVICE_A_LISTEN_PORT], device->listen_port);
    device->fwmark = rtnl_u32(tb[WGDEVICE_A_FWMARK], device->fwmark);
    if (tb[WGDEVICE_A_PEERS] == NULL) {
        return 0;
    }
    nla_for_each_nested(peer, tb[WGDEVICE_A_PEERS], left)
    {
        if (read_peer(peer, device) != 0) {
            return -1;
        }
    }
    return 0;
}

static void got_family(const struct nlmsghdr *h, void *ctx)
{
    uint16_t *family = ctx;
    struct nlattr *tb[CTRL_ATTR_MAX + 1] = {NULL};
    if (nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, GENL_HDRLEN, tb, CTRL_ATTR_MAX, NULL) == 0) {
        *family = rtnl_u16(tb[CTRL_ATTR_FAMILY_ID], *family);
    }
}

static int open_family(struct rtnl *r, uint16_t *ret, struct error *err)
{
    uint16_t family = 0;
    if (rtnl_open_protocol(r, NETLINK_GENERIC, err) != 0) {
        return -1;
    }
    AUTO_MSG *msg = message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
    if (msg == NULL || nla_put_string(msg, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME) != 0) {
        return error_oom(err);
    }
    int result = rtnl_talk(r, msg, got_family, &family);
    if (result != 0 || family == 0) {
        return rtnl_fail(r, ERR_WIREGUARD_SETUP_FAILED, result != 0 ? result : ENOENT, err, "the kernel's WireGuard can't be spoken to");
    }
    *ret = family;
    return 0;
}

struct get_state {
    struct wireguard_device *device;
    bool failed;
};

static void got_device(const struct nlmsghdr *h, void *ctx)
{
    struct get_state *state = ctx;
    state->failed = wireguard_kernel_parse(h, state->device) != 0 || state->failed;
}

int wireguard_kernel_get(const char *interface, struct wireguard_device *ret, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct get_state state = {.device = ret};
    uint16_t family = 0;
    if (open_family(&r, &family, err) != 0) {
        return -1;
    }
    AUTO_MSG *msg = message(family, WG_CMD_GET_DEVICE, NLM_F_DUMP);
    if (msg == NULL || nla_put_string(msg, WGDEVICE_A_IFNAME, interface) != 0) {
        return error_oom(err);
    }
    int result = rtnl_talk(&r, msg, got_device, &state);
    if (result != 0) {
        return rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result, err, "cannot read the state of tunnel %s", interface);
    }
    return state.failed ? error_set(err, ERR_WIREGUARD_SETUP_FAILED, "the state of tunnel %s can't be read", interface) : 0;
}

int wireguard_kernel_set(const char *interface, const struct wireguard_change *change, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    uint16_t family = 0;
    size_t at = 0;
    if (open_family(&r, &family, err) != 0) {
        return -1;
    }
    do {
        AUTO_MSG *msg = wireguard_kernel_message(family, interface, change, &at);
        int result = rtnl_talk(&r, msg, NULL, NULL);
        if (msg != NULL) {
            explicit_bzero(nlmsg_data(nlmsg_hdr(msg)), (size_t)nlmsg_datalen(nlmsg_hdr(msg)));
        }
        if (result != 0) {
            return rtnl_fail(&r, ERR_WIREGUARD_SETUP_FAILED, result, err, "cannot set up tunnel %s", interface);
        }
    } while (at < change->peer_count);
    return 0;
}
