/*
 * Checksums that a guest leaves open (VIRTIO_NET_HDR_F_NEEDS_CSUM), where the uplink has the kernel fill them in: those of honest guests come out
 * right, and none is ever written over what the firewall has judged.
 */
#include "tests/host/guest_box.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>

enum {
    PORT = 4242,
    MARKER = 1000000, /* its number: the last packet of a series */
    GSO_UDP_L4 = 5,   /* VIRTIO_NET_HDR_GSO_UDP_L4, which headers of 6.1 lack */
    IN_UDP = 6,
    IN_TCP = 16,
    SEGMENT = 400, /* bytes of data */
    SEGMENTS = 3,
    IN_SEGMENTS = SEGMENT * SEGMENTS,
};

static struct nft_guest six[GUESTS];
static const char *const far6 = "fd00:9::2";
static int peer; /* packet socket beyond the uplink */

static void checksums_in_software(const char *link)
{
    struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM};
    struct ifreq request = {.ifr_data = (void *)&off};
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(request.ifr_name, link, strlen(link));
    ck_assert_int_eq(ioctl(fd, SIOCETHTOOL, &request), 0);
}

static void set_up(void)
{
    struct nft_base with = base;
    with.ipv6 = true;
    make_host();
    memcpy(six, guests, sizeof six);
    ck_assert_int_eq(inet_pton(AF_INET6, "fd00:7::2", six[0].address6), 1);
    ck_assert_int_eq(inet_pton(AF_INET6, "fd00:7::3", six[1].address6), 1);
    MUST(nft_base_apply(&with, uplink, 1, six, GUESTS, &err));
    MUST(sysctl_number_set("ipv6", "conf", "br0", "disable_ipv6", 0, &err));
    MUST(sysctl_number_set("ipv6", "conf", "all", "forwarding", 1, &err));
    netns_run("ip addr add fd00:9::1/64 dev up0 nodad");
    checksums_in_software("up0");
    netns_go(net.beyond);
    netns_run("ip addr add fd00:9::2/64 dev peer0 nodad");
    netns_go(net.host);
    netns_run("ping -c 1 -W 2 fd00:9::2"); /* both know each other's MAC from here on: nothing waits, and the order stays */
    netns_run("ping -c 1 -W 2 10.9.0.2");
    netns_go(net.beyond);
    peer = packet_socket("peer0");
    netns_go(net.host);
}

static void tear_down(void)
{
    (void)close(peer);
    end_host();
}

static uint32_t sum_of(const void *bytes, size_t len)
{
    return (uint16_t)~ntohs(frame_checksum(0, bytes, len));
}

/* What stands behind the addresses of a packet, and where in the frame. */
static size_t transport_at(const struct frame *f)
{
    return f->bytes[12] == 0x08 ? 34 : 54;
}

static uint8_t protocol_of(const struct frame *f)
{
    return f->bytes[f->bytes[12] == 0x08 ? 23 : 20];
}

static uint32_t pseudo_sum(const struct frame *f)
{
    const size_t at = transport_at(f);
    const size_t addresses = at == 34 ? 8 : 32;
    return sum_of(f->bytes + at - addresses, addresses) + protocol_of(f) + (uint32_t)(f->len - at);
}

static bool has_right_checksum(const struct frame *f)
{
    const size_t at = transport_at(f);
    return frame_checksum(pseudo_sum(f), f->bytes + at, f->len - at) == 0;
}

/* Of guest 0 to the far side, with a number in its data, and the checksum as one who leaves it open begins it. */
struct open_packet {
    int version;
    uint8_t protocol;
    uint16_t port;
    uint16_t fragment; /* IPv4: flags and offset */
    bool extended;     /* IPv6: with an empty header of destination options */
    size_t more;       /* bytes of data behind the number */
};

static void add_network(struct frame *f, const struct open_packet *p, const void *payload, size_t len)
{
    static const uint8_t options[8] = {0, 0, 1, 4};
    if (p->version == 4) {
        struct iphdr ip = {.version = 4,
                           .ihl = 5,
                           .tot_len = htons((uint16_t)(sizeof ip + len)),
                           .id = htons(1),
                           .frag_off = htons(p->fragment),
                           .ttl = 64,
                           .protocol = p->protocol,
                           .saddr = htonl(guests[0].address),
                           .daddr = htonl(far)};
        ip.check = frame_checksum(0, &ip, sizeof ip);
        frame_add(f, &ip, sizeof ip);
    } else {
        const size_t between = p->extended ? sizeof options : 0;
        struct ip6_hdr ip = {.ip6_flow = htonl(0x60000000),
                             .ip6_plen = htons((uint16_t)(between + len)),
                             .ip6_nxt = p->extended ? IPPROTO_DSTOPTS : p->protocol,
                             .ip6_hlim = 64};
        memcpy(&ip.ip6_src, six[0].address6, sizeof ip.ip6_src);
        ck_assert_int_eq(inet_pton(AF_INET6, far6, &ip.ip6_dst), 1);
        frame_add(f, &ip, sizeof ip);
        frame_add(f, options, between);
        f->bytes[transport_at(f)] = p->extended ? p->protocol : f->bytes[transport_at(f)];
    }
    frame_add(f, payload, len);
}

static struct frame open_frame(const struct open_packet *p, uint32_t number)
{
    struct frame f = frame_ether(bridge_mac, guests[0].mac, p->version == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
    uint8_t payload[FRAME_MAX] = {0};
    const size_t header = p->protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
    const size_t len = header + sizeof number + p->more;
    if (p->protocol == IPPROTO_TCP) {
        const struct tcphdr tcp = {.source = htons(5000), .dest = htons(p->port), .seq = htonl(1), .doff = 5, .ack = 1, .psh = 1, .window = 1024};
        memcpy(payload, &tcp, sizeof tcp);
    } else if (p->protocol == IPPROTO_UDP) {
        const struct udphdr udp = {.source = htons(5000), .dest = htons(p->port), .len = htons((uint16_t)len)};
        memcpy(payload, &udp, sizeof udp);
    } else {
        payload[0] = p->version == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
    }
    number = htonl(number);
    memcpy(payload + header, &number, sizeof number);
    add_network(&f, p, payload, len);
    if (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP) {
        const uint16_t begun = (uint16_t)~frame_checksum(pseudo_sum(&f), f.bytes, 0);
        memcpy(f.bytes + f.len - len + (p->protocol == IPPROTO_TCP ? IN_TCP : IN_UDP), &begun, sizeof begun);
    }
    return f;
}

/* False when the kernel itself refuses the header. */
static bool send_with(const struct frame *f, struct virtio_net_hdr head)
{
    uint8_t buf[VNET_HEADER_BYTES + FRAME_MAX] = {0};
    _Static_assert(sizeof head == VNET_HEADER_BYTES, "as it is sent");
    memcpy(buf, &head, sizeof head);
    memcpy(buf + sizeof head, f->bytes, f->len);
    return write(net.tap[0], buf, sizeof head + f->len) == (ssize_t)(sizeof head + f->len);
}

static bool send_open(const struct frame *f, size_t start, size_t offset)
{
    return send_with(f, (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = (uint16_t)start, .csum_offset = (uint16_t)offset});
}

static bool is_of_guests(const struct frame *f)
{
    uint32_t to = htonl(far);
    uint8_t to6[16];
    ck_assert_int_eq(inet_pton(AF_INET6, far6, to6), 1);
    return f->len > 62 && ((f->bytes[12] == 0x08 && f->bytes[13] == 0 && memcmp(f->bytes + 30, &to, sizeof to) == 0) ||
                           (f->bytes[12] == 0x86 && memcmp(f->bytes + 38, to6, sizeof to6) == 0 && protocol_of(f) != IPPROTO_ICMPV6));
}

static uint32_t number_of(const struct frame *f)
{
    uint32_t number = 0;
    const size_t at = transport_at(f) + (protocol_of(f) == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr));
    memcpy(&number, f->bytes + at, sizeof number);
    return ntohl(number);
}

/* The next packet that arrives beyond the uplink. Padding of Ethernet is cut off. */
static bool arrives(struct frame *ret, int timeout_ms)
{
    const int64_t deadline = clock_monotonic_ms() + timeout_ms;
    for (;;) {
        struct pollfd readable = {.fd = peer, .events = POLLIN};
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0 || poll(&readable, 1, (int)left) <= 0) {
            return false;
        }
        ssize_t got = read(peer, ret->bytes, sizeof ret->bytes);
        ret->len = got > 0 ? (size_t)got : 0;
        if (is_of_guests(ret)) {
            return true;
        }
    }
}

static const struct open_packet marker = {.version = 4, .protocol = IPPROTO_UDP, .port = PORT, .more = 32};

/* How many came before the marker, which is sent now and takes the same way. */
static size_t came_through(void)
{
    size_t count = 0;
    struct frame f = open_frame(&marker, MARKER);
    ck_assert(send_open(&f, transport_at(&f), IN_UDP));
    for (;;) {
        ck_assert_msg(arrives(&f, ANSWER_MS), "the marker does not arrive");
        if (f.bytes[12] == 0x08 && protocol_of(&f) == IPPROTO_UDP && number_of(&f) == MARKER) {
            return count;
        }
        count++;
    }
}

static const struct open_packet plain[] = {
    {.version = 4, .protocol = IPPROTO_UDP, .port = PORT, .more = 32},
    {.version = 4, .protocol = IPPROTO_TCP, .port = PORT, .more = 32},
    {.version = 6, .protocol = IPPROTO_UDP, .port = PORT, .more = 32},
    {.version = 6, .protocol = IPPROTO_TCP, .port = PORT, .more = 33},
};

static size_t right_offset(const struct open_packet *p)
{
    return p->protocol == IPPROTO_TCP ? IN_TCP : IN_UDP;
}

START_TEST(right_ones_are_filled_in)
{
    const struct frame sent = open_frame(&plain[_i], 7);
    const size_t at = transport_at(&sent);
    struct frame f;
    ck_assert(send_open(&sent, at, right_offset(&plain[_i])));
    ck_assert(arrives(&f, ANSWER_MS));
    ck_assert_uint_eq(f.len, sent.len);
    ck_assert(has_right_checksum(&f));
    const size_t checksum = at + right_offset(&plain[_i]);
    ck_assert_mem_eq(f.bytes + 12, sent.bytes + 12, 2);
    ck_assert_mem_eq(f.bytes + at, sent.bytes + at, checksum - at);
    ck_assert_mem_eq(f.bytes + checksum + 2, sent.bytes + checksum + 2, sent.len - checksum - 2);
}
END_TEST

START_TEST(those_that_are_not_open_pass)
{
    struct frame sent = open_frame(&plain[_i], 8);
    const size_t at = transport_at(&sent);
    struct frame f;
    memset(sent.bytes + at + right_offset(&plain[_i]), 0, 2);
    const uint16_t whole = frame_checksum(pseudo_sum(&sent), sent.bytes + at, sent.len - at);
    memcpy(sent.bytes + at + right_offset(&plain[_i]), &whole, sizeof whole);
    frame_send(net.tap[0], &sent);
    ck_assert(arrives(&f, ANSWER_MS));
    ck_assert(has_right_checksum(&f));
    ck_assert_mem_eq(f.bytes + 12, sent.bytes + 12, 2);
    if (at == 54) { /* IPv4 is translated */
        ck_assert_mem_eq(f.bytes + at, sent.bytes + at, sent.len - at);
    }
}
END_TEST

/* Segments that the host cuts: TCP (TSO) and UDP (USO, of Linux 6.2 on). */
START_TEST(segments_are_filled_in)
{
    struct open_packet p = plain[_i];
    p.more = IN_SEGMENTS - sizeof(uint32_t);
    const struct frame sent = open_frame(&p, 9);
    const size_t at = transport_at(&sent);
    const bool tcp = p.protocol == IPPROTO_TCP;
    const uint8_t type = !tcp ? GSO_UDP_L4 : p.version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
    const struct virtio_net_hdr head = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                        .gso_type = type,
                                        .gso_size = SEGMENT,
                                        .hdr_len = (uint16_t)(at + (tcp ? sizeof(struct tcphdr) : sizeof(struct udphdr))),
                                        .csum_start = (uint16_t)at,
                                        .csum_offset = (uint16_t)right_offset(&p)};
    if (!send_with(&sent, head)) {
        ck_assert(!tcp);
        return;
    }
    for (int i = 0; i < SEGMENTS; i++) {
        struct frame f;
        ck_assert_msg(arrives(&f, ANSWER_MS), "segment %d of %d", i + 1, SEGMENTS);
        ck_assert_uint_eq(f.len, head.hdr_len + SEGMENT);
        ck_assert(has_right_checksum(&f));
    }
}
END_TEST

/* Every place in front of the right one, told in both ways: by the place to sum from, and by the distance. The port and the addresses are among them. */
static void send_all_wrong(const struct open_packet *p)
{
    const size_t at = transport_at(&(struct frame){.bytes = {[12] = p->version == 4 ? 0x08 : 0x86}});
    for (size_t place = 0; place < at + right_offset(p); place++) {
        const struct frame f = open_frame(p, (uint32_t)place);
        (void)send_open(&f, place, 0);
        if (place >= at) {
            (void)send_open(&f, at, place - at);
        }
    }
}

START_TEST(none_is_written_over_what_was_judged)
{
    send_all_wrong(&plain[_i]);
    ck_assert_uint_eq(came_through(), 0);
}
END_TEST

START_TEST(nor_in_segments)
{
    const struct open_packet p = {.version = 4, .protocol = IPPROTO_TCP, .port = PORT, .more = 1200};
    const struct frame f = open_frame(&p, 1);
    for (int start = 14; start < 34 + IN_TCP; start += 2) {
        (void)send_with(&f, (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                                    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                                    .gso_size = SEGMENT,
                                                    .hdr_len = 54,
                                                    .csum_start = (uint16_t)start,
                                                    .csum_offset = start < 34 ? IN_TCP : 0});
    }
    ck_assert_uint_eq(came_through(), 0);
}
END_TEST

/* Behind the checksum of UDP there is the guest's own data: what a tunnel inside the guest leaves open. */
START_TEST(its_own_data_is_its_own_affair)
{
    const struct frame sent = open_frame(&plain[0], 3);
    struct frame f;
    ck_assert(send_open(&sent, 50, IN_UDP));
    ck_assert(arrives(&f, ANSWER_MS));
    ck_assert_mem_eq(f.bytes + 34, sent.bytes + 34, 6);
}
END_TEST

/* Where no honest guest leaves one open. */
START_TEST(others_are_dropped)
{
    static const struct open_packet ping = {.version = 4, .protocol = IPPROTO_ICMP, .more = 32};
    static const struct open_packet odd = {.version = 4, .protocol = 253, .more = 32};
    static const struct open_packet extended = {.version = 6, .protocol = IPPROTO_UDP, .port = PORT, .extended = true, .more = 32};
    static const struct open_packet first = {.version = 4, .protocol = IPPROTO_UDP, .port = PORT, .fragment = IP_MF, .more = 36};
    struct frame f = open_frame(&ping, 1);
    ck_assert(send_open(&f, 34, 2));
    f = open_frame(&odd, 2);
    ck_assert(send_open(&f, 34, 6));
    f = open_frame(&extended, 3);
    ck_assert(send_open(&f, 62, 6));
    ck_assert_uint_eq(came_through(), 0);
    f = open_frame(&first, 4); /* 48 bytes, and 24 in the second one */
    ck_assert(send_open(&f, 34, IN_UDP));
    f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IP);
    add_network(&f, &(struct open_packet){.version = 4, .protocol = IPPROTO_UDP, .fragment = 48 / 8}, (const uint8_t[24]){0}, 24);
    frame_send(net.tap[0], &f);
    ck_assert_uint_eq(came_through(), 0);
    const struct frame arp = good_arp(0);
    const uint32_t wanted = htonl(gateway);
    ck_assert(send_open(&arp, 20, 0));
    ck_assert(!frame_await(net.tap[0], VNET_HEADER_BYTES, is_arp_reply, &wanted, QUIET_MS));
    ck_assert(has_gateway(0, ANSWER_MS));
}
END_TEST

/* To the host itself as well, where nobody fills anything in. */
START_TEST(to_the_host)
{
    const struct config_port open = {.protocol = IPPROTO_UDP, .port = PORT};
    struct nft_base with = base;
    with.open_ports = &open;
    with.open_port_count = 1;
    MUST(nft_base_apply(&with, uplink, 1, guests, GUESTS, &err));
    AUTO_CLOSE int fd = udp_server(PORT);
    struct frame f = open_frame(&plain[0], 1);
    const uint32_t to = htonl(gateway);
    memcpy(f.bytes + 30, &to, sizeof to);
    memset(f.bytes + 24, 0, 2);
    const uint16_t check = frame_checksum(0, f.bytes + 14, 20);
    memcpy(f.bytes + 24, &check, sizeof check);
    ck_assert(send_open(&f, 34, 2));
    ck_assert(!comes_in(fd, NULL, QUIET_MS));
    ck_assert(send_open(&f, 34, IN_UDP));
    ck_assert(comes_in(fd, NULL, ANSWER_MS));
}
END_TEST

/* That the tests above prove something. */
START_TEST(open_without_the_gate)
{
    netns_run("tc qdisc del dev br0 clsact");
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        send_all_wrong(&plain[i]);
        ck_assert_uint_gt(came_through(), 0);
    }
}
END_TEST

/* A sniffer holds a copy of each packet, which then may not be written to. */
START_TEST(under_the_eyes_of_a_sniffer)
{
    AUTO_CLOSE int tap = packet_socket(guests[0].tap);
    struct frame f;
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        const struct frame sent = open_frame(&plain[i], 5);
        ck_assert(send_open(&sent, transport_at(&sent), right_offset(&plain[i])));
        ck_assert(arrives(&f, ANSWER_MS));
        ck_assert(has_right_checksum(&f));
        ck_assert(frame_await(tap, 0, frame_is, &sent, ANSWER_MS));
        const struct frame closed_one = frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, PORT);
        frame_send(net.tap[0], &closed_one);
        ck_assert(frame_await(tap, 0, frame_is, &closed_one, ANSWER_MS));
        ck_assert(frame_await(net.bridge, 0, frame_is, &closed_one, ANSWER_MS));
        send_all_wrong(&plain[i]);
        ck_assert_uint_eq(came_through(), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checksum");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, right_ones_are_filled_in, 0, (int)ARRAY_LEN(plain));
    tcase_add_loop_test(tests, those_that_are_not_open_pass, 0, (int)ARRAY_LEN(plain));
    tcase_add_loop_test(tests, segments_are_filled_in, 0, (int)ARRAY_LEN(plain));
    tcase_add_loop_test(tests, none_is_written_over_what_was_judged, 0, (int)ARRAY_LEN(plain));
    tcase_add_test(tests, nor_in_segments);
    tcase_add_test(tests, its_own_data_is_its_own_affair);
    tcase_add_test(tests, others_are_dropped);
    tcase_add_test(tests, to_the_host);
    tcase_add_test(tests, open_without_the_gate);
    tcase_add_test(tests, under_the_eyes_of_a_sniffer);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
