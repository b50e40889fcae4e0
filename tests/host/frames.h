/* Frames as a guest would send them, through a TAP's descriptor. For tests only. */
#ifndef SMARTVM_TESTS_HOST_FRAMES_H
#define SMARTVM_TESTS_HOST_FRAMES_H

#include "core/clock.h"
#include "core/net_addr.h"
#include "tests/host/netns.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

enum { VNET_HEADER_BYTES = 10, FRAME_MAX = 2048 };

struct frame {
    size_t len;
    uint8_t bytes[FRAME_MAX];
};

static const struct mac broadcast_mac = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

static inline void frame_add(struct frame *f, const void *bytes, size_t len)
{
    ck_assert(f->len + len <= sizeof f->bytes);
    memcpy(f->bytes + f->len, bytes, len);
    f->len += len;
}

static inline struct frame frame_ether(struct mac to, struct mac from, uint16_t type)
{
    struct frame f = {.len = 0};
    const uint16_t wire_type = htons(type);
    frame_add(&f, to.bytes, sizeof to.bytes);
    frame_add(&f, from.bytes, sizeof from.bytes);
    frame_add(&f, &wire_type, sizeof wire_type);
    return f;
}

struct arp_fields {
    struct mac ether_from;
    struct mac ether_to;
    uint16_t operation;
    struct mac sender_mac;
    uint32_t sender;
    uint32_t target;
};

static inline struct frame frame_arp(const struct arp_fields *fields)
{
    struct ether_arp arp = {
        .ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETHERTYPE_IP), .ar_hln = ETH_ALEN, .ar_pln = 4, .ar_op = htons(fields->operation)}};
    const uint32_t sender = htonl(fields->sender);
    const uint32_t target = htonl(fields->target);
    struct frame f = frame_ether(fields->ether_to, fields->ether_from, ETHERTYPE_ARP);
    memcpy(arp.arp_sha, fields->sender_mac.bytes, sizeof arp.arp_sha);
    memcpy(arp.arp_spa, &sender, sizeof arp.arp_spa);
    memcpy(arp.arp_tpa, &target, sizeof arp.arp_tpa);
    frame_add(&f, &arp, sizeof arp);
    return f;
}

static inline uint16_t frame_checksum(uint32_t sum, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len; i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): frames are filled from their first byte
        sum += (uint32_t)p[i] << (i % 2 == 0 ? 8 : 0);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return htons((uint16_t)~sum);
}

static inline void frame_add_ipv4(struct frame *f, uint32_t from, uint32_t to, uint8_t protocol, const void *payload, size_t len)
{
    struct iphdr ip = {.version = 4,
                       .ihl = 5,
                       .tot_len = htons((uint16_t)(sizeof ip + len)),
                       .id = htons(1),
                       .ttl = 64,
                       .protocol = protocol,
                       .saddr = htonl(from),
                       .daddr = htonl(to)};
    ip.check = frame_checksum(0, &ip, sizeof ip);
    frame_add(f, &ip, sizeof ip);
    frame_add(f, payload, len);
}

static inline struct frame frame_udp(struct mac to_mac, struct mac from_mac, uint32_t from, uint32_t to, uint16_t port)
{
    struct {
        struct udphdr head;
        char text[8];
    } udp = {.head = {.source = htons(5000), .dest = htons(port), .len = htons(sizeof udp)}, .text = "guest"};
    struct frame f = frame_ether(to_mac, from_mac, ETHERTYPE_IP);
    frame_add_ipv4(&f, from, to, IPPROTO_UDP, &udp, sizeof udp); /* checksum 0: none */
    return f;
}

static inline struct frame frame_ping(struct mac to_mac, struct mac from_mac, uint32_t from, uint32_t to)
{
    struct icmphdr icmp = {.type = ICMP_ECHO, .un.echo = {.id = htons(7), .sequence = htons(1)}};
    struct frame f = frame_ether(to_mac, from_mac, ETHERTYPE_IP);
    icmp.checksum = frame_checksum(0, &icmp, sizeof icmp);
    frame_add_ipv4(&f, from, to, IPPROTO_ICMP, &icmp, sizeof icmp);
    return f;
}

static inline struct frame frame_syn(struct mac to_mac, struct mac from_mac, uint32_t from, uint32_t to, uint16_t port)
{
    struct tcphdr tcp = {.source = htons(5001), .dest = htons(port), .seq = htonl(1), .doff = 5, .syn = 1, .window = 1024};
    struct frame f = frame_ether(to_mac, from_mac, ETHERTYPE_IP);
    uint32_t sum = (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + IPPROTO_TCP + (uint32_t)sizeof tcp;
    tcp.check = frame_checksum(sum, &tcp, sizeof tcp);
    frame_add_ipv4(&f, from, to, IPPROTO_TCP, &tcp, sizeof tcp);
    return f;
}

/* The same frame with an 802.1Q tag. */
static inline struct frame frame_tagged(const struct frame *plain)
{
    static const uint8_t tag[] = {0x81, 0x00, 0x00, 0x05};
    struct frame f = {.len = 0};
    frame_add(&f, plain->bytes, 12);
    frame_add(&f, tag, sizeof tag);
    frame_add(&f, plain->bytes + 12, plain->len - 12);
    return f;
}

static inline void frame_send(int tap, const struct frame *f)
{
    uint8_t buf[VNET_HEADER_BYTES + FRAME_MAX] = {0};
    memcpy(buf + VNET_HEADER_BYTES, f->bytes, f->len);
    ck_assert_int_eq(write(tap, buf, VNET_HEADER_BYTES + f->len), (ssize_t)(VNET_HEADER_BYTES + f->len));
}

typedef bool (*frame_matcher)(const uint8_t *frame, size_t len, const void *wanted);

/* Reads what comes in on a TAP (skip VNET_HEADER_BYTES) or a packet socket (skip 0) until something matches
 * or the time is over. */
static inline bool frame_await(int fd, size_t skip, frame_matcher matches, const void *wanted, int timeout_ms)
{
    const int64_t deadline = clock_monotonic_ms() + timeout_ms;
    for (;;) {
        uint8_t buf[4096];
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0 || poll(&readable, 1, (int)left) <= 0) {
            return false;
        }
        ssize_t got = read(fd, buf, sizeof buf);
        if (got > (ssize_t)skip && matches(buf + skip, (size_t)got - skip, wanted)) {
            return true;
        }
    }
}

static inline bool frame_is(const uint8_t *frame, size_t len, const void *wanted)
{
    const struct frame *f = wanted;
    return len >= f->len && memcmp(frame, f->bytes, f->len) == 0;
}

/* Sees what a link delivers to this host. */
static inline int packet_socket(const char *link)
{
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(link)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(fd >= 0 && where.sll_ifindex > 0);
    ck_assert(bind(fd, (struct sockaddr *)&where, sizeof where) == 0);
    return fd;
}

#endif
