/* The difference between two devices, and how each back end is told of it, byte for byte. */
#include "core/cleanup.h"
#include "host/tunnel/wireguard_backends.h"

#include <arpa/inet.h>
#include <check.h>
#include <linux/genetlink.h>
#include <linux/time_types.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAMILY = 0x1f };

static struct wireguard_device seen;
static struct wireguard_device wanted;
static struct wireguard_change change;
static struct error err;

static struct ip_net net_of(const char *text)
{
    struct ip_net net;
    ck_assert_int_eq(ip_net_parse(text, ERR_INTERNAL, &net, &err), 0);
    return net;
}

static struct wireguard_device_peer *add_peer(struct wireguard_device *device, uint8_t key, const char *allowed)
{
    struct wireguard_device_peer *peer = wireguard_device_add_peer(device);
    struct ip_net net = net_of(allowed);
    memset(peer->public_key.bytes, key, sizeof peer->public_key.bytes);
    ck_assert_int_eq(wireguard_device_add_allowed(peer, &net), 0);
    peer->endpoint = (struct wireguard_endpoint){.address = {.version = IP_V4, .bytes = {192, 0, 2, key}}, .port = 51820};
    return peer;
}

static void fill(struct wireguard_device *device)
{
    memset(device->private_key.bytes, 0x11, sizeof device->private_key.bytes);
    (void)add_peer(device, 1, "10.1.0.0/16");
    (void)add_peer(device, 2, "10.2.0.0/16");
    (void)add_peer(device, 3, "10.3.0.0/16");
}

static void setup(void)
{
    fill(&seen);
    fill(&wanted);
    seen.listen_port = 4711;
}

static void teardown(void)
{
    wireguard_change_free(&change);
    wireguard_device_free(&seen);
    wireguard_device_free(&wanted);
}

static void diff(void)
{
    wireguard_device_sort(&seen);
    wireguard_device_sort(&wanted);
    ck_assert_int_eq(wireguard_diff(&seen, &wanted, &change, &err), 0);
}

START_TEST(nothing_differs)
{
    seen.peers[0].endpoint.port = 9; /* heard from elsewhere */
    seen.peers[0].handshake_ms = 5;
    diff();
    ck_assert(wireguard_change_is_empty(&change));
}
END_TEST

START_TEST(only_what_differs)
{
    wanted.peers[1].keepalive = 25;
    wanted.peers[2].public_key.bytes[0] = 9; /* another peer: one goes, one comes */
    diff();
    ck_assert(!change.private_key && !change.listen_port && !change.fwmark);
    ck_assert_uint_eq(change.peer_count, 3);
    ck_assert(change.peers[0].is_removed && change.peers[0].peer->public_key.bytes[0] == 3);
    ck_assert(change.peers[1].keepalive && !change.peers[1].is_new && !change.peers[1].allowed && !change.peers[1].endpoint);
    ck_assert(change.peers[2].is_new && change.peers[2].allowed && change.peers[2].endpoint && !change.peers[2].keepalive);
}
END_TEST

START_TEST(endpoints)
{
    wanted.peers[0].endpoint.port = 7;
    wanted.peers[1].endpoint.port = 7;
    wanted.peers[1].endpoint_due = true;
    wanted.peers[2].endpoint_due = true;
    diff();
    ck_assert_uint_eq(change.peer_count, 1);
    ck_assert(change.peers[0].endpoint && change.peers[0].peer->public_key.bytes[0] == 2);
    wireguard_change_free(&change);
    seen.peers[0].endpoint.address.version = IP_NONE;
    wanted.peers[1].endpoint_due = false;
    diff();
    ck_assert_uint_eq(change.peer_count, 1);
    ck_assert_uint_eq(change.peers[0].peer->public_key.bytes[0], 1);
}
END_TEST

START_TEST(of_the_device)
{
    char text[128];
    wanted.private_key.bytes[0] = 0x12;
    wanted.listen_port = 5;
    wanted.fwmark = 6;
    diff();
    ck_assert(change.private_key && change.listen_port && change.fwmark && change.peer_count == 0);
    wireguard_change_describe(&change, text, sizeof text);
    ck_assert_str_eq(text, "other than wanted: private key listening port mark ");
}
END_TEST

/* Bytes as they must stand there, put together by hand. */
struct bytes {
    uint8_t data[1024];
    size_t len;
};

static void put(struct bytes *b, const void *data, size_t len)
{
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static size_t begin(struct bytes *b, uint16_t type)
{
    struct nlattr a = {.nla_type = type};
    put(b, &a, sizeof a);
    return b->len - sizeof a;
}

static void end(struct bytes *b, size_t at)
{
    struct nlattr a;
    memcpy(&a, b->data + at, sizeof a);
    a.nla_len = (uint16_t)(b->len - at);
    memcpy(b->data + at, &a, sizeof a);
    while (b->len % 4 != 0) {
        b->data[b->len++] = 0;
    }
}

static void attribute(struct bytes *b, uint16_t type, const void *data, size_t len)
{
    size_t at = begin(b, type);
    put(b, data, len);
    end(b, at);
}

static void head(struct bytes *b, uint8_t command)
{
    struct genlmsghdr genl = {.cmd = command, .version = 1};
    put(b, &genl, sizeof genl);
}

static void allowed_attribute(struct bytes *b, uint16_t family, const uint8_t *address, size_t len, uint8_t prefix)
{
    size_t list = begin(b, WGPEER_A_ALLOWEDIPS | NLA_F_NESTED);
    size_t item = begin(b, 0 | NLA_F_NESTED);
    attribute(b, WGALLOWEDIP_A_FAMILY, &family, sizeof family);
    attribute(b, WGALLOWEDIP_A_IPADDR, address, len);
    attribute(b, WGALLOWEDIP_A_CIDR_MASK, &prefix, sizeof prefix);
    end(b, item);
    end(b, list);
}

static void assert_message(const struct nl_msg *msg, const struct bytes *expected)
{
    const struct nlmsghdr *h = nlmsg_hdr((struct nl_msg *)(uintptr_t)msg);
    ck_assert_int_eq(h->nlmsg_type, FAMILY);
    ck_assert_int_eq(h->nlmsg_flags & NLM_F_REQUEST, NLM_F_REQUEST);
    ck_assert_uint_eq((size_t)nlmsg_datalen(h), expected->len);
    ck_assert_mem_eq(nlmsg_data(h), expected->data, expected->len);
}

START_TEST(a_change_for_the_kernel)
{
    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8};
    struct bytes b = {.len = 0};
    uint32_t flags = 0;
    const uint32_t mark = 6;
    const uint16_t port = 5;
    const uint16_t keepalive = 25;
    struct sockaddr_in6 endpoint = {.sin6_family = AF_INET6, .sin6_port = htons(51821)};
    wanted.private_key.bytes[0] = 0x12;
    wanted.listen_port = 5;
    wanted.fwmark = 6;
    wanted.peers[1].allowed[0] = net_of("2001:db8::/32");
    wanted.peers[1].keepalive = 25;
    wanted.peers[1].preshared_key.bytes[0] = 0x77;
    wanted.peers[1].endpoint = (struct wireguard_endpoint){.address = {.version = IP_V6, .bytes = {[15] = 1}}, .port = 51821};
    wanted.peers[1].endpoint_due = true;
    endpoint.sin6_addr.s6_addr[15] = 1;
    wanted.peer_count = 2;
    diff();
    wanted.peer_count = 3; /* for the fixture */

    head(&b, WG_CMD_SET_DEVICE);
    attribute(&b, WGDEVICE_A_IFNAME, "wg7", 4);
    attribute(&b, WGDEVICE_A_PRIVATE_KEY, wanted.private_key.bytes, 32);
    attribute(&b, WGDEVICE_A_LISTEN_PORT, &port, sizeof port);
    attribute(&b, WGDEVICE_A_FWMARK, &mark, sizeof mark);
    size_t peers = begin(&b, WGDEVICE_A_PEERS | NLA_F_NESTED);
    size_t peer = begin(&b, 0 | NLA_F_NESTED);
    attribute(&b, WGPEER_A_PUBLIC_KEY, seen.peers[2].public_key.bytes, 32);
    flags = WGPEER_F_REMOVE_ME;
    attribute(&b, WGPEER_A_FLAGS, &flags, sizeof flags);
    end(&b, peer);
    peer = begin(&b, 0 | NLA_F_NESTED);
    attribute(&b, WGPEER_A_PUBLIC_KEY, wanted.peers[1].public_key.bytes, 32);
    flags = WGPEER_F_UPDATE_ONLY | WGPEER_F_REPLACE_ALLOWEDIPS;
    attribute(&b, WGPEER_A_FLAGS, &flags, sizeof flags);
    attribute(&b, WGPEER_A_PRESHARED_KEY, wanted.peers[1].preshared_key.bytes, 32);
    attribute(&b, WGPEER_A_ENDPOINT, &endpoint, sizeof endpoint);
    attribute(&b, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, &keepalive, sizeof keepalive);
    allowed_attribute(&b, AF_INET6, v6, sizeof v6, 32);
    end(&b, peer);
    end(&b, peers);

    size_t at = 0;
    struct nl_msg *msg = wireguard_kernel_message(FAMILY, "wg7", &change, &at);
    ck_assert_ptr_nonnull(msg);
    ck_assert_uint_eq(at, 2);
    assert_message(msg, &b);
    nlmsg_free(msg);
}
END_TEST

/* More than one message holds: each but the first has no more than name and peers. */
START_TEST(a_large_change_for_the_kernel)
{
    struct wireguard_device large = {.peers = NULL};
    size_t at = 0;
    int messages = 0;
    for (unsigned i = 0; i < WIREGUARD_PEERS_MAX; i++) {
        struct wireguard_device_peer *peer = wireguard_device_add_peer(&large);
        peer->public_key.bytes[0] = (uint8_t)(i + 1);
        for (unsigned j = 0; j < WIREGUARD_ALLOWED_MAX; j++) {
            struct ip_net net = {.address = {.version = IP_V6, .bytes = {0x20, 1, (uint8_t)i, (uint8_t)j}}, .prefix = 64};
            ck_assert_int_eq(wireguard_device_add_allowed(peer, &net), 0);
        }
    }
    wireguard_device_sort(&large);
    const struct wireguard_device none = {.peers = NULL};
    ck_assert_int_eq(wireguard_diff(&none, &large, &change, &err), 0);
    struct wireguard_device again = {.peers = NULL};
    while (at < change.peer_count) {
        struct nl_msg *msg = wireguard_kernel_message(FAMILY, "wg7", &change, &at);
        ck_assert_ptr_nonnull(msg);
        ck_assert_uint_lt(nlmsg_hdr(msg)->nlmsg_len, 65536);
        ck_assert_int_eq(wireguard_kernel_parse(nlmsg_hdr(msg), &again), 0);
        nlmsg_free(msg);
        messages++;
    }
    ck_assert_int_gt(messages, 5);
    ck_assert_uint_eq(again.peer_count, WIREGUARD_PEERS_MAX);
    ck_assert_uint_eq(again.peers[63].allowed_count, WIREGUARD_ALLOWED_MAX);
    wireguard_device_free(&again);
    wireguard_device_free(&large);
}
END_TEST

static void parse_bytes(const struct bytes *b, struct wireguard_device *device, int expected)
{
    struct nl_msg *msg = nlmsg_alloc();
    (void)nlmsg_put(msg, 0, 1, FAMILY, 0, 0);
    ck_assert_int_eq(nlmsg_append(msg, (void *)(uintptr_t)b->data, b->len, 0), 0);
    ck_assert_int_eq(wireguard_kernel_parse(nlmsg_hdr(msg), device), expected);
    nlmsg_free(msg);
}

START_TEST(an_answer_of_the_kernel)
{
    static const uint8_t v4[4] = {10, 7, 0, 0};
    static const uint8_t v4_more[4] = {10, 8, 0, 0};
    const uint8_t key[32] = {5};
    const uint16_t port = 51820;
    const uint16_t keepalive = 25;
    const uint64_t received = 1ULL << 40;
    const struct __kernel_timespec time = {.tv_sec = 1700000000, .tv_nsec = 123456789};
    struct sockaddr_in endpoint = {.sin_family = AF_INET, .sin_port = htons(7), .sin_addr.s_addr = htonl(0xc0000201)};
    struct wireguard_device device = {.peers = NULL};
    struct bytes first = {.len = 0};
    struct bytes second = {.len = 0};
    head(&first, WG_CMD_GET_DEVICE);
    attribute(&first, WGDEVICE_A_LISTEN_PORT, &port, sizeof port);
    attribute(&first, WGDEVICE_A_PRIVATE_KEY, key, sizeof key);
    size_t peers = begin(&first, WGDEVICE_A_PEERS);
    size_t peer = begin(&first, 0);
    attribute(&first, WGPEER_A_PUBLIC_KEY, key, sizeof key);
    attribute(&first, WGPEER_A_ENDPOINT, &endpoint, sizeof endpoint);
    attribute(&first, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, &keepalive, sizeof keepalive);
    attribute(&first, WGPEER_A_LAST_HANDSHAKE_TIME, &time, sizeof time);
    attribute(&first, WGPEER_A_RX_BYTES, &received, sizeof received);
    allowed_attribute(&first, AF_INET, v4, sizeof v4, 16);
    end(&first, peer);
    end(&first, peers);
    head(&second, WG_CMD_GET_DEVICE);
    peers = begin(&second, WGDEVICE_A_PEERS);
    peer = begin(&second, 0);
    attribute(&second, WGPEER_A_PUBLIC_KEY, key, sizeof key);
    allowed_attribute(&second, AF_INET, v4_more, sizeof v4_more, 16);
    end(&second, peer);
    end(&second, peers);
    parse_bytes(&first, &device, 0);
    parse_bytes(&second, &device, 0);
    ck_assert_uint_eq(device.listen_port, 51820);
    ck_assert_mem_eq(device.private_key.bytes, key, sizeof key);
    ck_assert_uint_eq(device.peer_count, 1);
    const struct wireguard_device_peer *found = &device.peers[0];
    ck_assert_uint_eq(found->endpoint.port, 7);
    ck_assert_uint_eq(found->endpoint.address.bytes[3], 1);
    ck_assert_uint_eq(found->keepalive, 25);
    ck_assert_int_eq(found->handshake_ms, 1700000000123);
    ck_assert_uint_eq(found->received_bytes, received);
    ck_assert_uint_eq(found->allowed_count, 2);
    wireguard_device_free(&device);
}
END_TEST

START_TEST(a_malformed_answer_of_the_kernel)
{
    const uint8_t key[32] = {5};
    struct wireguard_device device = {.peers = NULL};
    struct bytes b = {.len = 0};
    head(&b, WG_CMD_GET_DEVICE);
    size_t peers = begin(&b, WGDEVICE_A_PEERS);
    size_t peer = begin(&b, 0);
    attribute(&b, WGPEER_A_PUBLIC_KEY, key, 31);
    end(&b, peer);
    end(&b, peers);
    parse_bytes(&b, &device, -1);
    b.len = 0;
    head(&b, WG_CMD_GET_DEVICE);
    peers = begin(&b, WGDEVICE_A_PEERS);
    peer = begin(&b, 0);
    attribute(&b, WGPEER_A_PUBLIC_KEY, key, 32);
    allowed_attribute(&b, AF_INET, key, 5, 16);
    end(&b, peer);
    end(&b, peers);
    parse_bytes(&b, &device, -1);
    wireguard_device_free(&device);
}
END_TEST

START_TEST(a_change_for_the_socket)
{
    struct strbuf b = STRBUF_INIT;
    wanted.private_key.bytes[0] = 0x12;
    wanted.fwmark = 6;
    wanted.peers[1].allowed[0] = net_of("2001:db8::/32");
    wanted.peers[1].keepalive = 25;
    wanted.peers[1].endpoint = (struct wireguard_endpoint){.address = {.version = IP_V6, .bytes = {[15] = 1}}, .port = 51821};
    wanted.peers[1].endpoint_due = true;
    wanted.peer_count = 2;
    diff();
    wanted.peer_count = 3;
    wireguard_uapi_request(&change, &b);
    ck_assert_str_eq(b.data, "set=1\nprivate_key=1211111111111111111111111111111111111111111111111111111111111111\nfwmark=6\n"
                             "public_key=0303030303030303030303030303030303030303030303030303030303030303\nremove=true\n"
                             "public_key=0202020202020202020202020202020202020202020202020202020202020202\nupdate_only=true\n"
                             "endpoint=[::1]:51821\npersistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=2001:db8::/32\n\n");
    strbuf_free(&b);
}
END_TEST

START_TEST(an_answer_of_the_socket)
{
    struct wireguard_device device = {.peers = NULL};
    char answer[] = "private_key=1211111111111111111111111111111111111111111111111111111111111111\nlisten_port=7\nfwmark=51820\n"
                    "public_key=0202020202020202020202020202020202020202020202020202020202020202\n"
                    "preshared_key=0000000000000000000000000000000000000000000000000000000000000000\nprotocol_version=1\n"
                    "endpoint=[2001:db8::1%eth0]:9\nlast_handshake_time_sec=1700000000\nlast_handshake_time_nsec=123456789\n"
                    "tx_bytes=5\nrx_bytes=6\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\nallowed_ip=2001:db8::/32\nerrno=0\n\n";
    ck_assert_int_eq(wireguard_uapi_parse(answer, &device, &err), 0);
    ck_assert_uint_eq(device.listen_port, 7);
    ck_assert_uint_eq(device.fwmark, 51820);
    ck_assert_uint_eq(device.peer_count, 1);
    ck_assert_uint_eq(device.peers[0].endpoint.port, 9);
    ck_assert_uint_eq(device.peers[0].endpoint.address.version, IP_V6);
    ck_assert_int_eq(device.peers[0].handshake_ms, 1700000000123);
    ck_assert_uint_eq(device.peers[0].sent_bytes, 5);
    ck_assert_uint_eq(device.peers[0].received_bytes, 6);
    ck_assert_uint_eq(device.peers[0].allowed_count, 2);
    wireguard_device_free(&device);
}
END_TEST

static const char *const bad_answers[] = {
    "", "errno=-22\n\n", "private_key=12\nerrno=0\n\n", "listen_port\nerrno=0\n\n", "listen_port=7\n\n", "public_key=02\nerrno=0\n\n"};

START_TEST(a_bad_answer_of_the_socket)
{
    struct wireguard_device device = {.peers = NULL};
    char answer[128];
    (void)snprintf(answer, sizeof answer, "%s", bad_answers[_i]);
    ck_assert_int_eq(wireguard_uapi_parse(answer, &device, &err), -1);
    ck_assert_int_eq(err.code, ERR_WIREGUARD_SETUP_FAILED);
    wireguard_device_free(&device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wireguard_device");
    TCase *tests = tcase_create("device");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nothing_differs);
    tcase_add_test(tests, only_what_differs);
    tcase_add_test(tests, endpoints);
    tcase_add_test(tests, of_the_device);
    tcase_add_test(tests, a_change_for_the_kernel);
    tcase_add_test(tests, a_large_change_for_the_kernel);
    tcase_add_test(tests, an_answer_of_the_kernel);
    tcase_add_test(tests, a_malformed_answer_of_the_kernel);
    tcase_add_test(tests, a_change_for_the_socket);
    tcase_add_test(tests, an_answer_of_the_socket);
    tcase_add_loop_test(tests, a_bad_answer_of_the_socket, 0, (int)ARRAY_LEN(bad_answers));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
