/*
 * A host with two guests behind its bridge, and a second namespace behind its uplink: real TAPs, real frames. For tests
 * only; every fault fails the test.
 */
#ifndef SMARTVM_TESTS_HOST_GUEST_BOX_H
#define SMARTVM_TESTS_HOST_GUEST_BOX_H

#include "host/gate/gate.h"
#include "host/link/link.h"
#include "host/link/sysctl.h"
#include "host/nft/nft.h"
#include "tests/host/frames.h"

static const uint32_t gateway = 0xac1e0001;       /* 172.30.0.1 */
static const uint32_t far = 0x0a090002;           /* 10.9.0.2, behind the uplink */
static const uint32_t metadata_host = 0xa9fea9fe; /* 169.254.169.254 */
static const struct mac bridge_mac = {{0x02, 0x5a, 0, 0, 0, 1}};
static const char *const uplink[] = {"up0"};

#define V4(a, b, c, d) \
    { \
        .version = IP_V4, .bytes = { a, b, c, d } \
    }

static const struct ip_range closed[] = {
    {.first = V4(127, 0, 0, 0), .last = V4(127, 255, 255, 255)},
    {.first = V4(169, 254, 0, 0), .last = V4(169, 254, 255, 255)},
    {.first = V4(224, 0, 0, 0), .last = V4(255, 255, 255, 255)}, /* up to the end of all addresses */
    {.first = {.version = IP_V6, .bytes = {0xfe, 0x80}},
     .last = {.version = IP_V6, .bytes = {0xfe, 0xbf, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}}},
};

static const struct nft_base base = {.mark = "smartvmtest",
                                     .bridge = "br0",
                                     .bridge_mac = {{0x02, 0x5a, 0, 0, 0, 1}},
                                     .tap_prefix = "svt",
                                     .subnet = {.address = 0xac1e0000, .prefix = 24},
                                     .gateway = 0xac1e0001,
                                     .masquerade = true,
                                     .max_flows = 4096,
                                     .flow_rate = 1000,
                                     .closed = closed,
                                     .closed_count = ARRAY_LEN(closed)};

static const struct nft_guest guests[] = {
    {.tap = "svt1", .mac = {{0x02, 0x5a, 0, 0, 1, 1}}, .address = 0xac1e0002},
    {.tap = "svt2", .mac = {{0x02, 0x5a, 0, 0, 1, 2}}, .address = 0xac1e0003},
};
enum { GUESTS = 2, QUIET_MS = 150, ANSWER_MS = 2000 };

static const struct gate gate = {.bridge = "br0", .subnet = {.address = 0xac1e0000, .prefix = 24}};

static struct error err;

static inline void apply(void)
{
    MUST(nft_base_apply(&base, uplink, 1, guests, GUESTS, &err));
}

/* Neither tables nor gate: so that a test shows what they are there for. */
static inline void take_all_away(void)
{
    MUST(nft_base_remove(base.mark, &err));
    netns_run("tc qdisc del dev br0 clsact");
    netns_run("ip rule del pref 64 iif br0");
    netns_run("ip rule del pref 64 iif lo");
}

/* A host with two guests, and a second namespace behind its uplink. */
static struct {
    int host, beyond; /* namespaces */
    int tap[GUESTS];
    int bridge; /* packet socket: what got past the bridge chain */
    pid_t other;
} net;

static inline void make_beyond(void)
{
    char command[128];
    char path[64];
    int ready[2];
    char byte = 0;
    ck_assert(pipe2(ready, O_CLOEXEC) == 0);
    net.other = fork();
    if (net.other == 0) {
        _exit(unshare(CLONE_NEWNET) == 0 && write(ready[1], "x", 1) == 1 && pause() != 0 ? 0 : 1);
    }
    ck_assert(read(ready[0], &byte, 1) == 1);
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)net.other);
    net.beyond = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert(net.beyond >= 0);
    (void)snprintf(command, sizeof command, "ip link add up0 type veth peer name peer0 netns %d", (int)net.other);
    netns_run(command);
    netns_run("ip addr add 10.9.0.1/24 dev up0");
    netns_run("ip link set up0 up");
    netns_go(net.beyond);
    netns_run("ip link set lo up");
    netns_run("ip addr add 10.9.0.2/24 dev peer0");
    netns_run("ip link set peer0 up");
    netns_run("ip route add 172.30.0.0/24 via 10.9.0.1");
    netns_go(net.host);
}

static inline bool is_arp_reply(const uint8_t *frame, size_t len, const void *wanted)
{
    static const uint8_t reply[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 2};
    return len >= 42 && memcmp(frame + 12, reply, sizeof reply) == 0 && memcmp(frame + 28, wanted, sizeof(uint32_t)) == 0;
}

static inline struct frame good_arp(int guest)
{
    return frame_arp(&(struct arp_fields){.ether_from = guests[guest].mac,
                                          .ether_to = broadcast_mac,
                                          .operation = ARPOP_REQUEST,
                                          .sender_mac = guests[guest].mac,
                                          .sender = guests[guest].address,
                                          .target = gateway});
}

/* The gateway answers the guest's ARP request. */
static inline bool has_gateway(int guest, int timeout_ms)
{
    const uint32_t wanted = htonl(gateway);
    const struct frame arp = good_arp(guest);
    frame_send(net.tap[guest], &arp);
    return frame_await(net.tap[guest], VNET_HEADER_BYTES, is_arp_reply, &wanted, timeout_ms);
}

static inline void make_host(void)
{
    bool created = false;
    netns_enter();
    net.host = netns_here();
    make_beyond();
    MUST(link_bridge_ensure(base.bridge, "smartvmtest:bridge", bridge_mac, gateway, 24, &created, &err));
    MUST(sysctl_number_set("ipv6", "conf", base.bridge, "disable_ipv6", 1, &err));
    MUST(sysctl_number_set("ipv4", "conf", base.bridge, "rp_filter", 1, &err)); /* the gate needs both */
    MUST(sysctl_number_set("ipv4", "conf", base.bridge, "src_valid_mark", 1, &err));
    MUST(sysctl_forwarding_set(base.bridge, true, &err));
    MUST(sysctl_forwarding_set("up0", true, &err));
    netns_run("ip route add 169.254.0.0/16 via 10.9.0.2");
    apply();
    MUST(gate_apply(&gate, &err));
    for (int i = 0; i < GUESTS; i++) {
        MUST(link_tap_ensure(guests[i].tap, "smartvmtest:vm", base.bridge, guests[i].mac, (uid_t)-1, &err));
        net.tap[i] = tap_attach(guests[i].tap);
    }
    for (int i = 0; i < GUESTS; i++) {
        bool up = false; /* the bridge takes note of carriers when it finds time */
        for (int tries = 0; tries < 50 && !up; tries++) {
            up = has_gateway(i, 100);
        }
        ck_assert_msg(up, "guest %d does not reach the gateway", i);
    }
    net.bridge = packet_socket(base.bridge);
}

static inline void end_host(void)
{
    (void)kill(net.other, SIGKILL);
    (void)waitpid(net.other, NULL, 0);
    for (int i = 0; i < GUESTS; i++) {
        (void)close(net.tap[i]);
    }
    (void)close(net.bridge);
    (void)close(net.beyond);
    (void)close(net.host);
}

/* Does the frame get past the bridge chain, as seen on the bridge? */
static inline bool passes(int guest, const struct frame *f)
{
    const struct frame marker = good_arp(guest);
    frame_send(net.tap[guest], f);
    if (frame_await(net.bridge, 0, frame_is, f, QUIET_MS)) {
        return true;
    }
    /* The path itself is open. */
    frame_send(net.tap[guest], &marker);
    ck_assert(frame_await(net.bridge, 0, frame_is, &marker, ANSWER_MS));
    return false;
}

/* A UDP socket of this namespace; does something come in? */
static inline int udp_server(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0);
    return fd;
}

static inline bool comes_in(int fd, struct sockaddr_in *ret_from, int timeout_ms)
{
    char buf[64];
    struct sockaddr_in from = {0};
    socklen_t len = sizeof from;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, timeout_ms) <= 0) {
        return false;
    }
    ck_assert(recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len) > 0);
    if (ret_from != NULL) {
        *ret_from = from;
    }
    return true;
}

static inline void host_sends(int fd, uint32_t address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    ck_assert_int_eq(sendto(fd, "host", 4, 0, (struct sockaddr *)&to, sizeof to), 4);
}

static inline int beyond_server(uint16_t port)
{
    netns_go(net.beyond);
    int fd = udp_server(port);
    netns_go(net.host);
    return fd;
}

#endif
