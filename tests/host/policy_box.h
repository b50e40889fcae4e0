/*
 * A host with three guests (real TAPs, IPv4 and IPv6) and a namespace behind its uplink, and packets between them that are told apart by a
 * number in their last bytes: what the kernel lets through is asked of the kernel. For tests only; every fault fails the test.
 */
#ifndef SMARTVM_TESTS_HOST_POLICY_BOX_H
#define SMARTVM_TESTS_HOST_POLICY_BOX_H

#include "core/json.h"
#include "host/link/link.h"
#include "host/link/sysctl.h"
#include "host/nft/nft.h"
#include "host/nft/policy.h"
#include "tests/host/frames.h"

#include <netinet/icmp6.h>
#include <netinet/ip6.h>

enum { OUTSIDE = -1, GUESTS = 3, PACKETS_MAX = 4096, ARRIVAL_MS = 2000, QUIET_MS = 20 };

static const struct mac bridge_mac = {{0x02, 0x5a, 0, 0, 0, 1}};
static const char *const uplink[] = {"up0"};
static const struct nft_base base = {.mark = "smartvmtest",
                                     .bridge = "br0",
                                     .bridge_mac = {{0x02, 0x5a, 0, 0, 0, 1}},
                                     .tap_prefix = "svt",
                                     .subnet = {.address = 0xac1e0000, .prefix = 24},
                                     .gateway = 0xac1e0001,
                                     .masquerade = false,
                                     .ipv6 = true,
                                     .max_flows = 100000,
                                     .flow_rate = 100000};
/* 172.30.0.2 and fd30::2, and so on. */
static const struct nft_guest guests[GUESTS] = {
    {"svt1", {{0x02, 0x5a, 0, 0, 1, 1}}, 0xac1e0002, {0xfd, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, 1},
    {"svt2", {{0x02, 0x5a, 0, 0, 1, 2}}, 0xac1e0003, {0xfd, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, 1},
    {"svt3", {{0x02, 0x5a, 0, 0, 1, 3}}, 0xac1e0004, {0xfd, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, 1},
};

static struct error err;

static struct {
    int host, beyond; /* namespaces */
    int tap[GUESTS];
    int outside; /* packet socket of the namespace behind the uplink */
    int outside_index;
    struct mac up_mac, peer_mac;
    pid_t other;
    struct ip_addr addresses[GUESTS][2];
    struct {
        int from, to;
        bool arrived;    /* where it was to go */
        bool astray;     /* where it has no business to be */
    } sent[PACKETS_MAX]; /* by number */
} net;

/* ---- setting up ---- */

static inline struct mac mac_of(const char *link)
{
    struct ifreq request = {0};
    struct mac mac;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)snprintf(request.ifr_name, sizeof request.ifr_name, "%s", link);
    ck_assert(fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &request) == 0);
    memcpy(mac.bytes, request.ifr_hwaddr.sa_data, sizeof mac.bytes);
    (void)close(fd);
    return mac;
}

static inline void neighbour(const char *address, struct mac mac, const char *link)
{
    char command[160];
    const uint8_t *m = mac.bytes;
    (void)snprintf(command, sizeof command, "ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev %s nud permanent", address, m[0], m[1], m[2], m[3],
                   m[4], m[5], link);
    netns_run(command);
}

static inline void make_outside(void)
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
    netns_run("ip -6 addr add fd09::1/64 dev up0 nodad");
    netns_run("ip link set up0 up");
    netns_go(net.beyond);
    netns_run("ip link set peer0 up");
    net.peer_mac = mac_of("peer0");
    net.outside = packet_socket("peer0");
    net.outside_index = (int)if_nametoindex("peer0");
    netns_go(net.host);
    net.up_mac = mac_of("up0");
}

static inline void make_routes(void)
{
    netns_run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 "
              "net.ipv4.conf.up0.rp_filter=0 net.ipv4.conf.br0.rp_filter=0 net.ipv4.conf.all.send_redirects=0 "
              "net.ipv4.conf.br0.send_redirects=0 net.ipv4.icmp_ratelimit=1000");
    netns_run("ip -6 addr add fd30::1/64 dev br0 nodad");
    neighbour("10.9.0.2", net.peer_mac, "up0");
    neighbour("fd09::2", net.peer_mac, "up0");
    netns_run("ip route add default via 10.9.0.2");
    netns_run("ip -6 route add default via fd09::2 dev up0");
    for (int i = 0; i < GUESTS; i++) {
        char text[IP_TEXT_MAX];
        for (size_t v = 0; v < 2; v++) {
            neighbour(ip_addr_format(&net.addresses[i][v], text), guests[i].mac, "br0");
        }
    }
}

static inline bool guest_answers(const uint8_t *frame, size_t len, const void *wanted)
{
    (void)wanted;
    return len >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == ARPOP_REPLY;
}

static inline void attach_guest(int i)
{
    const struct frame arp = frame_arp(&(struct arp_fields){.ether_from = guests[i].mac,
                                                            .ether_to = broadcast_mac,
                                                            .operation = ARPOP_REQUEST,
                                                            .sender_mac = guests[i].mac,
                                                            .sender = guests[i].address,
                                                            .target = base.gateway});
    bool up = false; /* the bridge takes note of carriers when it finds time */
    MUST(link_tap_ensure(guests[i].tap, "smartvmtest:vm", base.bridge, guests[i].mac, (uid_t)-1, &err));
    net.tap[i] = tap_attach(guests[i].tap);
    for (int tries = 0; tries < 50 && !up; tries++) {
        frame_send(net.tap[i], &arp);
        up = frame_await(net.tap[i], VNET_HEADER_BYTES, guest_answers, NULL, 100);
    }
    ck_assert_msg(up, "guest %d does not reach the gateway", i);
}

static inline void make_box(void)
{
    bool created = false;
    netns_enter();
    net.host = netns_here();
    for (int i = 0; i < GUESTS; i++) {
        net.addresses[i][0] = ip_addr_from_ipv4(guests[i].address);
        net.addresses[i][1] = (struct ip_addr){.version = IP_V6};
        memcpy(net.addresses[i][1].bytes, guests[i].address6, sizeof guests[i].address6);
    }
    make_outside();
    MUST(link_bridge_ensure(base.bridge, "smartvmtest:bridge", bridge_mac, base.gateway, 24, &created, &err));
    MUST(nft_base_apply(&base, uplink, 1, guests, GUESTS, &err));
    make_routes();
    for (int i = 0; i < GUESTS; i++) {
        attach_guest(i);
    }
}

static inline void end_box(void)
{
    (void)kill(net.other, SIGKILL);
    (void)waitpid(net.other, NULL, 0);
    for (int i = 0; i < GUESTS; i++) {
        (void)close(net.tap[i]);
    }
    (void)close(net.outside);
    (void)close(net.beyond);
    (void)close(net.host);
}

/* ---- packets ---- */

enum { MAGIC = 0x50414b21 };

struct packet {
    int from, to; /* numbers of guests, or OUTSIDE */
    struct ip_addr source, destination;
    uint8_t protocol;
    uint16_t source_port, port;
    uint32_t number; /* below PACKETS_MAX; told again when it arrives */
};

static inline uint32_t pseudo_sum(const struct packet *p, size_t len)
{
    const size_t width = p->source.version == IP_V4 ? 4 : 16;
    uint32_t sum = p->protocol + (uint32_t)len;
    for (size_t i = 0; i < width; i++) {
        const uint32_t shift = i % 2 == 0 ? 8 : 0;
        sum += ((uint32_t)p->source.bytes[i] << shift) + ((uint32_t)p->destination.bytes[i] << shift);
    }
    return sum;
}

/* What stands behind the IP header, with the number at its end. */
static inline size_t packet_payload(const struct packet *p, uint8_t buf[64])
{
    const uint32_t tail[] = {htonl(MAGIC), htonl(p->number)};
    size_t head = 0;
    memset(buf, 0, 64);
    if (p->protocol == IPPROTO_UDP) {
        const struct udphdr udp = {.source = htons(p->source_port), .dest = htons(p->port), .len = htons(sizeof udp + sizeof tail)};
        memcpy(buf, &udp, head = sizeof udp);
    } else if (p->protocol == IPPROTO_TCP) {
        const struct tcphdr tcp = {.source = htons(p->source_port), .dest = htons(p->port), .seq = htonl(1), .doff = 5, .syn = 1, .window = 1024};
        memcpy(buf, &tcp, head = sizeof tcp);
    } else if (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6) {
        const struct icmphdr icmp = {.type = p->protocol == IPPROTO_ICMP ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
                                     .un.echo = {.id = htons(p->source_port), .sequence = htons(1)}};
        memcpy(buf, &icmp, head = sizeof icmp);
    }
    memcpy(buf + head, tail, sizeof tail);
    const size_t len = head + sizeof tail;
    const uint16_t with = frame_checksum(pseudo_sum(p, len), buf, len);
    const uint16_t without = frame_checksum(0, buf, len);
    if (p->protocol == IPPROTO_UDP) {
        memcpy(buf + 6, &with, sizeof with);
    } else if (p->protocol == IPPROTO_TCP) {
        memcpy(buf + 16, &with, sizeof with);
    } else if (p->protocol == IPPROTO_ICMP) {
        memcpy(buf + 2, &without, sizeof without);
    } else if (p->protocol == IPPROTO_ICMPV6) {
        memcpy(buf + 2, &with, sizeof with);
    }
    return len;
}

static inline struct frame packet_frame(const struct packet *p, struct mac to, struct mac from)
{
    uint8_t payload[64];
    const size_t len = packet_payload(p, payload);
    const bool v4 = p->source.version == IP_V4;
    struct frame f = frame_ether(to, from, v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
    if (v4) {
        uint32_t source = 0;
        uint32_t destination = 0;
        memcpy(&source, p->source.bytes, sizeof source);
        memcpy(&destination, p->destination.bytes, sizeof destination);
        frame_add_ipv4(&f, ntohl(source), ntohl(destination), p->protocol, payload, len);
    } else {
        struct ip6_hdr ip = {.ip6_flow = htonl(6U << 28), .ip6_plen = htons((uint16_t)len), .ip6_nxt = p->protocol, .ip6_hlim = 64};
        memcpy(&ip.ip6_src, p->source.bytes, sizeof ip.ip6_src);
        memcpy(&ip.ip6_dst, p->destination.bytes, sizeof ip.ip6_dst);
        frame_add(&f, &ip, sizeof ip);
        frame_add(&f, payload, len);
    }
    return f;
}

static inline void packet_send(const struct packet *p)
{
    ck_assert_uint_lt(p->number, PACKETS_MAX);
    net.sent[p->number].from = p->from;
    net.sent[p->number].to = p->to;
    net.sent[p->number].arrived = net.sent[p->number].astray = false;
    if (p->from != OUTSIDE) {
        const struct frame f = packet_frame(p, bridge_mac, guests[p->from].mac);
        frame_send(net.tap[p->from], &f);
        return;
    }
    const struct frame f = packet_frame(p, net.up_mac, net.peer_mac);
    ck_assert_int_eq(send(net.outside, f.bytes, f.len, 0), (ssize_t)f.len);
}

static inline void note_number(uint32_t number, int where)
{
    if (number < PACKETS_MAX && where == net.sent[number].to) {
        net.sent[number].arrived = true;
    } else if (number < PACKETS_MAX && where != net.sent[number].from) {
        net.sent[number].astray = true; /* who sent it may get it back inside an error or a redirect */
    }
}

static inline bool note_arrival(int fd, size_t skip, int where)
{
    uint8_t buf[2048];
    uint32_t tail[2];
    struct sockaddr_ll from = {0};
    socklen_t len = sizeof from;
    ssize_t got = where == OUTSIDE ? recvfrom(fd, buf, sizeof buf, MSG_DONTWAIT, (struct sockaddr *)&from, &len) : read(fd, buf, sizeof buf);
    if (got < 0) {
        return false;
    }
    if ((size_t)got >= skip + sizeof tail && from.sll_pkttype != PACKET_OUTGOING) {
        memcpy(tail, buf + got - sizeof tail, sizeof tail);
        if (ntohl(tail[0]) == MAGIC) {
            note_number(ntohl(tail[1]), where);
        }
    }
    return true;
}

static inline void note_arrivals(void)
{
    while (note_arrival(net.outside, 0, OUTSIDE)) {
    }
    for (int i = 0; i < GUESTS; i++) {
        while (note_arrival(net.tap[i], VNET_HEADER_BYTES, i)) {
        }
    }
}

/* Waits for those that are expected, and a while for others. */
static inline void packets_await(const struct packet *packets, const bool *expected, size_t count)
{
    const int64_t deadline = clock_monotonic_ms() + ARRIVAL_MS;
    bool all = false;
    while (!all && clock_monotonic_ms() < deadline) {
        note_arrivals();
        all = true;
        for (size_t i = 0; i < count && all; i++) {
            all = !expected[i] || net.sent[packets[i].number].arrived;
        }
        if (!all) {
            (void)poll(NULL, 0, 1);
        }
    }
    (void)poll(NULL, 0, QUIET_MS);
    note_arrivals();
}

static inline void packet_text(const struct packet *p, char *buf, size_t size)
{
    char source[IP_TEXT_MAX];
    char destination[IP_TEXT_MAX];
    (void)snprintf(buf, size, "%s port %u -> %s port %u protocol %u", ip_addr_format(&p->source, source), p->source_port,
                   ip_addr_format(&p->destination, destination), p->port, p->protocol);
}

/* ---- policies ---- */

static inline struct policy policy_of(const char *text)
{
    json_t *json = NULL;
    struct policy policy = {0};
    MUST(json_parse(text, strlen(text), &json, &err));
    MUST(policy_parse(json, &policy, &err));
    json_decref(json);
    return policy;
}

static inline struct nft_policy_vm vm_of(int guest, const struct policy *policy)
{
    return (struct nft_policy_vm){.uid = guest + 1, .policy = policy, .addresses = net.addresses[guest], .address_count = ARRAY_LEN(net.addresses[guest])};
}

#endif
