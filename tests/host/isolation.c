/*
 * What a guest can't do, one frame at a time: each is dropped and counted under its reason, as the kernel's counters
 * say through nft_drops_get() and, as an independent judge, through `nft`; and beside each stands what passes.
 */
#include "host/nft/drops.h"

#include "tests/host/guest_box.h"

#include <netinet/icmp6.h>
#include <netinet/ip6.h>

static const struct mac wrong_mac = {{0x02, 0x5a, 0, 0, 9, 9}};
static const struct mac lldp_mac = {{0x01, 0x80, 0xc2, 0, 0, 0x0e}};

static uint64_t drops_of(int guest, enum nft_drop_reason reason)
{
    struct nft_drops drops;
    MUST(nft_drops_get(base.mark, &guests[guest], &drops, &err));
    return drops.packets[reason];
}

static uint64_t all_drops(int guest)
{
    struct nft_drops drops;
    uint64_t sum = 0;
    MUST(nft_drops_get(base.mark, &guests[guest], &drops, &err));
    for (size_t i = 0; i < ARRAY_LEN(drops.packets); i++) {
        sum += drops.packets[i];
    }
    return sum;
}

/* Each is counted once, under this reason, of this guest, and comes out nowhere. */
static void is_dropped(const char *what, struct frame f, enum nft_drop_reason reason)
{
    const uint64_t before = drops_of(0, reason);
    const uint64_t all = all_drops(0);
    const uint64_t other = all_drops(1);
    frame_send(net.tap[0], &f);
    ck_assert_msg(drops_of(0, reason) == before + 1, "%s: %llu packets of reason %s, were %llu; %llu of all, were %llu", what,
                  (unsigned long long)drops_of(0, reason), nft_drop_name(reason), (unsigned long long)before, (unsigned long long)all_drops(0),
                  (unsigned long long)all);
    ck_assert_uint_eq(all_drops(0), all + 1);
    ck_assert_uint_eq(all_drops(1), other);
}

static void is_let_through(const char *what, struct frame f)
{
    const uint64_t all = all_drops(0);
    frame_send(net.tap[0], &f);
    ck_assert_msg(all_drops(0) == all, "%s is dropped", what);
}

static struct frame to_gateway(void)
{
    return frame_ping(bridge_mac, guests[0].mac, guests[0].address, gateway);
}

static struct frame with_type(uint16_t type)
{
    struct frame f = to_gateway();
    const uint16_t wire = htons(type);
    memcpy(f.bytes + 12, &wire, sizeof wire);
    return f;
}

static struct frame tagged(uint16_t tag_type, uint16_t tag)
{
    const struct frame plain = to_gateway();
    struct frame f = frame_tagged(&plain);
    const uint16_t words[] = {htons(tag_type), htons(tag)};
    memcpy(f.bytes + 12, words, sizeof words);
    return f;
}

START_TEST(tags)
{
    const struct frame once = tagged(0x8100, 5);
    is_dropped("802.1Q", once, NFT_DROP_VLAN);
    is_dropped("a priority tag", tagged(0x8100, 0xe000), NFT_DROP_VLAN);
    is_dropped("802.1ad", tagged(0x88a8, 5), NFT_DROP_VLAN);
    is_dropped("0x9100", tagged(0x9100, 5), NFT_DROP_VLAN);
    is_dropped("two tags", frame_tagged(&once), NFT_DROP_VLAN);
    const struct frame outer = tagged(0x88a8, 5);
    is_dropped("802.1Q before 802.1ad", frame_tagged(&outer), NFT_DROP_VLAN);
    is_let_through("no tag", to_gateway());
}
END_TEST

START_TEST(ether_types)
{
    static const uint16_t types[] = {0x0000, 0x0100, 0x05ff, 0x0842, 0x8035, 0x8847, 0x8863, 0x8864, 0x88b5, 0x88cc, 0x88e5, 0xffff};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        is_dropped("a type that guests have no use for", with_type(types[i]), NFT_DROP_ETHER_TYPE);
    }
    struct frame lldp = with_type(0x88cc);
    memcpy(lldp.bytes, lldp_mac.bytes, sizeof lldp_mac.bytes);
    is_dropped("LLDP to its group", lldp, NFT_DROP_ETHER_TYPE);
}
END_TEST

START_TEST(source_macs)
{
    const struct mac macs[] = {wrong_mac, guests[1].mac, bridge_mac, {{0x02, 0x5a, 0, 0, 1, 0}}};
    const struct mac no_sources[] = {broadcast_mac, {{0}}, {{0x01, 0, 0x5e, 0, 0, 1}}};
    for (size_t i = 0; i < ARRAY_LEN(macs); i++) {
        struct frame f = to_gateway();
        memcpy(f.bytes + 6, macs[i].bytes, sizeof macs[i].bytes);
        is_dropped("IPv4 of another MAC", f, NFT_DROP_SOURCE_MAC);
        f = good_arp(0);
        memcpy(f.bytes + 6, macs[i].bytes, sizeof macs[i].bytes);
        is_dropped("ARP of another MAC", f, NFT_DROP_SOURCE_MAC);
        f = with_type(0x88b5);
        memcpy(f.bytes + 6, macs[i].bytes, sizeof macs[i].bytes);
        is_dropped("another type of another MAC", f, NFT_DROP_SOURCE_MAC);
    }
    /* What can't be a source, the bridge drops before it asks anybody: it is not counted. */
    for (size_t i = 0; i < ARRAY_LEN(no_sources); i++) {
        struct frame f = to_gateway();
        memcpy(f.bytes + 6, no_sources[i].bytes, sizeof no_sources[i].bytes);
        ck_assert(!passes(0, &f));
    }
}
END_TEST

START_TEST(destination_macs)
{
    static const struct mac group = {{0x01, 0, 0x5e, 0, 0, 1}};
    const struct mac macs[] = {guests[1].mac, guests[0].mac, wrong_mac, {{0}}, {{0x02, 0x5a, 0, 0, 0, 2}}};
    netns_run("ip link add lan0 type veth peer name lan1");
    netns_run("ip link set lan0 master br0 up");
    netns_run("ip link set lan1 up");
    int foreign = packet_socket("lan1");
    for (size_t i = 0; i < ARRAY_LEN(macs); i++) {
        struct frame f = frame_udp(macs[i], guests[0].mac, guests[0].address, far, 9);
        is_dropped("IPv4 for another MAC", f, NFT_DROP_DESTINATION_MAC);
        ck_assert(!frame_await(foreign, 0, frame_is, &f, 0));
        f = good_arp(0);
        memcpy(f.bytes, macs[i].bytes, sizeof macs[i].bytes);
        is_dropped("ARP for another MAC", f, NFT_DROP_DESTINATION_MAC);
        ck_assert(!frame_await(foreign, 0, frame_is, &f, 0));
    }
    is_let_through("for the bridge", frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, 9));
    is_let_through("for a group", frame_udp(group, guests[0].mac, guests[0].address, far, 9));
    /* That nothing came was no fault of the test: without the rule it does. */
    const struct frame to_foreign = frame_udp(wrong_mac, guests[0].mac, guests[0].address, far, 9);
    MUST(nft_base_remove(base.mark, &err));
    frame_send(net.tap[0], &to_foreign);
    ck_assert(frame_await(foreign, 0, frame_is, &to_foreign, ANSWER_MS));
    (void)close(foreign);
}
END_TEST

START_TEST(source_addresses)
{
    const uint32_t addresses[] = {guests[1].address, gateway, far, 0, 0x7f000001, 0xffffffff, 0xe0000001, metadata_host, guests[0].address + 256};
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        is_dropped("IPv4 of another address", frame_udp(bridge_mac, guests[0].mac, addresses[i], far, 9), NFT_DROP_SOURCE_ADDRESS);
    }
    is_dropped("a DHCP client's question", frame_udp(broadcast_mac, guests[0].mac, 0, 0xffffffff, 67), NFT_DROP_SOURCE_ADDRESS);
    is_dropped("the other guest's MAC and address", frame_udp(bridge_mac, guests[1].mac, guests[1].address, far, 9), NFT_DROP_SOURCE_MAC);
    is_let_through("its own address", frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, 9));
}
END_TEST

START_TEST(arp_senders)
{
    const struct arp_fields good = {.ether_from = guests[0].mac,
                                    .ether_to = broadcast_mac,
                                    .operation = ARPOP_REQUEST,
                                    .sender_mac = guests[0].mac,
                                    .sender = guests[0].address,
                                    .target = gateway};
    struct arp_fields f = good;
    is_let_through("a question", frame_arp(&good));
    f.sender_mac = wrong_mac;
    is_dropped("another's MAC in it", frame_arp(&f), NFT_DROP_ARP_SENDER);
    f = good;
    f.sender = gateway;
    f.target = gateway;
    f.operation = ARPOP_REPLY;
    is_dropped("I am the gateway", frame_arp(&f), NFT_DROP_ARP_SENDER);
    f.operation = ARPOP_REQUEST;
    is_dropped("I am the gateway, as a question", frame_arp(&f), NFT_DROP_ARP_SENDER);
    f = good;
    f.sender = guests[1].address;
    is_dropped("I am the other guest", frame_arp(&f), NFT_DROP_ARP_SENDER);
    f.sender = 0;
    is_dropped("a probe", frame_arp(&f), NFT_DROP_ARP_SENDER);
    f.sender = far;
    is_dropped("a foreign network", frame_arp(&f), NFT_DROP_ARP_SENDER);
    f = good;
    f.target = guests[0].address;
    is_let_through("I am who I am", frame_arp(&f));
}
END_TEST

static struct frame cut_to(struct frame f, size_t len)
{
    f.len = len;
    return f;
}

static struct frame with_byte(struct frame f, size_t at, uint8_t value)
{
    f.bytes[at] = value;
    return f;
}

/* The IPv4 header's checksum is made right again, so that only what is meant to be wrong is wrong. */
static struct frame with_header_byte(struct frame f, size_t at, uint8_t value)
{
    f = with_byte(f, at, value);
    memset(f.bytes + 24, 0, 2);
    const uint16_t sum = frame_checksum(0, f.bytes + 14, sizeof(struct iphdr));
    memcpy(f.bytes + 24, &sum, sizeof sum);
    return f;
}

START_TEST(malformed)
{
    const struct frame ping = to_gateway();
    for (size_t len = 14; len < 34; len++) {
        is_dropped("IPv4 that ends in its header", cut_to(ping, len), NFT_DROP_MALFORMED);
    }
    is_dropped("IPv4 that ends before its length", cut_to(ping, ping.len - 1), NFT_DROP_MALFORMED);
    is_dropped("version 5", with_header_byte(ping, 14, 0x55), NFT_DROP_MALFORMED);
    is_dropped("version 6 in IPv4's type", with_header_byte(ping, 14, 0x65), NFT_DROP_MALFORMED);
    is_dropped("a header of 16 bytes", with_header_byte(ping, 14, 0x44), NFT_DROP_MALFORMED);
    is_dropped("a header of 0 bytes", with_header_byte(ping, 14, 0x40), NFT_DROP_MALFORMED);
    is_dropped("a length of 0", with_header_byte(ping, 17, 0), NFT_DROP_MALFORMED);
    is_dropped("a length below the header's", with_header_byte(ping, 17, 19), NFT_DROP_MALFORMED);
    const struct frame arp = good_arp(0);
    for (size_t len = 14; len < 42; len++) {
        is_dropped("ARP that ends early", cut_to(arp, len), NFT_DROP_MALFORMED);
    }
    is_dropped("ARP of another hardware", with_byte(arp, 15, 6), NFT_DROP_MALFORMED);
    is_dropped("ARP of another protocol", with_byte(arp, 16, 9), NFT_DROP_MALFORMED);
    is_dropped("ARP of long MACs", with_byte(arp, 18, 8), NFT_DROP_MALFORMED);
    is_dropped("ARP of long addresses", with_byte(arp, 19, 16), NFT_DROP_MALFORMED);
    is_let_through("a whole one", ping);
}
END_TEST

/* An IPv4 packet with these options, padded to a whole number of words. */
static struct frame with_options(const uint8_t *options, size_t len)
{
    static const char text[] = "guest";
    struct frame f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IP);
    struct iphdr ip = {.version = 4,
                       .ihl = (uint8_t)(5 + len / 4),
                       .tot_len = htons((uint16_t)(20 + len + 8 + sizeof text)),
                       .ttl = 64,
                       .protocol = IPPROTO_UDP,
                       .saddr = htonl(guests[0].address),
                       .daddr = htonl(far)};
    const struct udphdr udp = {.source = htons(5000), .dest = htons(7777), .len = htons(8 + sizeof text)};
    uint8_t head[60];
    memcpy(head, &ip, sizeof ip);
    memcpy(head + sizeof ip, options, len);
    ip.check = frame_checksum(0, head, sizeof ip + len);
    frame_add(&f, &ip, sizeof ip);
    frame_add(&f, options, len);
    frame_add(&f, &udp, sizeof udp);
    frame_add(&f, text, sizeof text);
    return f;
}

START_TEST(ipv4_options)
{
    static const uint8_t nothing[] = {1, 1, 1, 0};
    static const uint8_t router_alert[] = {148, 4, 0, 0};
    static const uint8_t record_route[] = {7, 7, 4, 0, 0, 0, 0, 0};
    static const uint8_t timestamp[] = {68, 8, 5, 0, 0, 0, 0, 0};
    static const uint8_t loose_route[] = {131, 7, 4, 10, 9, 0, 2, 0};
    static const uint8_t strict_route[] = {137, 7, 4, 127, 0, 0, 1, 0};
    static const uint8_t longest[40] = {1};
    const int server = beyond_server(7777);
    is_dropped("no operation", with_options(nothing, sizeof nothing), NFT_DROP_IP_OPTIONS);
    is_dropped("router alert", with_options(router_alert, sizeof router_alert), NFT_DROP_IP_OPTIONS);
    is_dropped("record route", with_options(record_route, sizeof record_route), NFT_DROP_IP_OPTIONS);
    is_dropped("timestamp", with_options(timestamp, sizeof timestamp), NFT_DROP_IP_OPTIONS);
    is_dropped("loose source route", with_options(loose_route, sizeof loose_route), NFT_DROP_IP_OPTIONS);
    is_dropped("strict source route", with_options(strict_route, sizeof strict_route), NFT_DROP_IP_OPTIONS);
    is_dropped("40 bytes", with_options(longest, sizeof longest), NFT_DROP_IP_OPTIONS);
    ck_assert(!comes_in(server, NULL, QUIET_MS));
    is_let_through("none", with_options(nothing, 0));
    ck_assert(comes_in(server, NULL, ANSWER_MS));
    (void)close(server);
}
END_TEST

static struct frame from_port(uint16_t port, uint32_t to)
{
    struct frame f = frame_udp(broadcast_mac, guests[0].mac, guests[0].address, to, 68);
    const uint16_t wire = htons(port);
    memcpy(f.bytes + 34, &wire, sizeof wire);
    return f;
}

START_TEST(dhcp_servers)
{
    is_dropped("a DHCP reply", from_port(67, 0xffffffff), NFT_DROP_DHCP_SERVER);
    is_dropped("a DHCP reply to the gateway", from_port(67, gateway), NFT_DROP_DHCP_SERVER);
    is_dropped("another port to the gateway", from_port(66, gateway), NFT_DROP_HOST_PORT);
    is_let_through("another port", from_port(66, far));
}
END_TEST

/* One fragment of a UDP packet to port 7777 of `far`: what of it begins at `offset` bytes. */
static struct frame fragment(uint16_t id, size_t offset, size_t len, bool more, uint16_t port, char fill)
{
    uint8_t payload[64];
    struct frame f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IP);
    const struct udphdr udp = {.source = htons(5000), .dest = htons(port), .len = htons(48)};
    memset(payload, fill, sizeof payload);
    memcpy(payload, &udp, sizeof udp);
    struct iphdr ip = {.version = 4,
                       .ihl = 5,
                       .tot_len = htons((uint16_t)(sizeof ip + len)),
                       .id = htons(id),
                       .frag_off = htons((uint16_t)(offset / 8 | (more ? IP_MF : 0))),
                       .ttl = 64,
                       .protocol = IPPROTO_UDP,
                       .saddr = htonl(guests[0].address),
                       .daddr = htonl(far)};
    ip.check = frame_checksum(0, &ip, sizeof ip);
    frame_add(&f, &ip, sizeof ip);
    frame_add(&f, payload + (offset < sizeof payload - len ? offset : 0), len);
    return f;
}

/* Fragments are put together before anything is decided by ports; those that overlap are thrown away whole. */
START_TEST(fragments)
{
    const int server = beyond_server(7777);
    struct frame f = fragment(1, 0, 24, true, 7777, 'x');
    frame_send(net.tap[0], &f);
    ck_assert(!comes_in(server, NULL, QUIET_MS));
    f = fragment(1, 24, 24, false, 7777, 'x');
    frame_send(net.tap[0], &f);
    ck_assert_msg(comes_in(server, NULL, ANSWER_MS), "honest fragments do not arrive");
    /* The second one would write another port over the first. */
    f = fragment(2, 0, 24, true, 9, 'x');
    frame_send(net.tap[0], &f);
    f = fragment(2, 0, 16, true, 7777, 'y');
    frame_send(net.tap[0], &f);
    f = fragment(2, 24, 24, false, 7777, 'x');
    frame_send(net.tap[0], &f);
    ck_assert_msg(!comes_in(server, NULL, QUIET_MS), "overlapping fragments arrive");
    /* To the host: the port stands in a fragment of its own. */
    const int here = udp_server(7777);
    for (int part = 0; part < 2; part++) {
        f = fragment(3, part == 0 ? 0 : 8, part == 0 ? 8 : 40, part == 0, 7777, 'x');
        const uint32_t to = htonl(gateway);
        memcpy(f.bytes + 30, &to, sizeof to);
        f = with_header_byte(f, 22, 64);
        frame_send(net.tap[0], &f);
    }
    ck_assert(!comes_in(here, NULL, QUIET_MS));
    ck_assert_uint_eq(drops_of(0, NFT_DROP_HOST_PORT), 1);
    /* The address is looked at in each. */
    f = fragment(4, 8, 40, false, 7777, 'x');
    const uint32_t other = htonl(guests[1].address);
    memcpy(f.bytes + 26, &other, sizeof other);
    is_dropped("a second fragment of another's", with_header_byte(f, 22, 64), NFT_DROP_SOURCE_ADDRESS);
    (void)close(here);
    (void)close(server);
}
END_TEST

START_TEST(arp_rate)
{
    const struct frame arp = good_arp(0);
    enum { SENT = 2000 };
    for (int i = 0; i < SENT; i++) {
        frame_send(net.tap[0], &arp);
    }
    const uint64_t dropped = drops_of(0, NFT_DROP_ARP_RATE);
    ck_assert_msg(dropped > SENT - NFT_NEIGHBOUR_BURST - 2 * NFT_NEIGHBOUR_RATE && dropped < SENT, "%llu dropped", (unsigned long long)dropped);
    ck_assert_uint_eq(all_drops(1), 0);
    ck_assert_msg(has_gateway(1, ANSWER_MS), "the other guest pays for it");
    ck_assert_msg(netns_says("nft list set bridge smartvmtest drops", "\"svt1\" . 0x00000006 counter packets"), "nft sees no counter");
    while (frame_await(net.tap[0], VNET_HEADER_BYTES, frame_is, &arp, 10)) {
    }
    (void)usleep(200 * 1000);
    ck_assert_msg(has_gateway(0, ANSWER_MS), "it is shut out for good");
}
END_TEST

START_TEST(the_host)
{
    const struct mac me = guests[0].mac;
    const uint32_t own = guests[0].address;
    is_dropped("TCP to the gateway", frame_syn(bridge_mac, me, own, gateway, 22), NFT_DROP_HOST_PORT);
    is_dropped("UDP to the gateway", frame_udp(bridge_mac, me, own, gateway, 53), NFT_DROP_HOST_PORT);
    is_dropped("the host's other address", frame_syn(bridge_mac, me, own, 0x0a090001, 22), NFT_DROP_HOST_PORT);
    is_dropped("ping of the host's other address", frame_ping(bridge_mac, me, own, 0x0a090001), NFT_DROP_HOST_PORT);
    is_dropped("broadcast", frame_udp(broadcast_mac, me, own, 0xffffffff, 5353), NFT_DROP_HOST_PORT);
    is_dropped("the subnet's broadcast", frame_udp(broadcast_mac, me, own, 0xac1e00ff, 5353), NFT_DROP_HOST_PORT);
    const struct mac all_hosts = {{0x01, 0, 0x5e, 0, 0, 1}};
    is_dropped("all hosts", frame_udp(all_hosts, me, own, 0xe0000001, 5353), NFT_DROP_HOST_PORT);
    is_let_through("ping of the gateway", to_gateway());
}
END_TEST

static struct nft_base with_ports(void)
{
    static const struct config_port ports[] = {{.protocol = IPPROTO_UDP, .port = 7777}, {.protocol = IPPROTO_TCP, .port = 7778}};
    struct nft_base open = base;
    open.open_ports = ports;
    open.open_port_count = ARRAY_LEN(ports);
    return open;
}

START_TEST(open_ports)
{
    const struct mac me = guests[0].mac;
    const uint32_t own = guests[0].address;
    const struct nft_base open = with_ports();
    const int server = udp_server(7777);
    const struct frame udp = frame_udp(bridge_mac, me, own, gateway, 7777);
    char found[NFT_FOUND_MAX];
    is_dropped("before it is open", udp, NFT_DROP_HOST_PORT);
    MUST(nft_base_apply(&open, uplink, 1, guests, GUESTS, &err));
    ck_assert(netns_says("nft list set inet smartvmtest open_ports", "tcp . 7778"));
    is_let_through("an open port", udp);
    ck_assert(comes_in(server, NULL, ANSWER_MS));
    is_let_through("an open TCP port", frame_syn(bridge_mac, me, own, gateway, 7778));
    is_dropped("TCP to UDP's port", frame_syn(bridge_mac, me, own, gateway, 7777), NFT_DROP_HOST_PORT);
    is_dropped("UDP to TCP's port", frame_udp(bridge_mac, me, own, gateway, 7778), NFT_DROP_HOST_PORT);
    is_dropped("at another address", frame_udp(bridge_mac, me, own, 0x0a090001, 7777), NFT_DROP_HOST_PORT);
    MUST(nft_base_check(&open, found, &err));
    ck_assert_str_eq(found, "");
    netns_run("nft add element inet smartvmtest open_ports { tcp . 22 }");
    MUST(nft_base_check(&open, found, &err));
    ck_assert_str_eq(found, "set open_ports of table inet holds other ports");
    MUST(nft_base_apply(&open, uplink, 1, guests, GUESTS, &err));
    netns_run("nft delete element inet smartvmtest open_ports { udp . 7777 }");
    MUST(nft_base_check(&open, found, &err));
    ck_assert_str_ne(found, "");
    (void)close(server);
}
END_TEST

START_TEST(closed_networks)
{
    const struct mac me = guests[0].mac;
    const uint32_t own = guests[0].address;
    const struct ip_range lan[] = {{.first = V4(10, 9, 0, 0), .last = V4(10, 9, 0, 255)}, {.first = V4(255, 0, 0, 0), .last = V4(255, 255, 255, 255)}};
    const struct frame out = frame_udp(bridge_mac, me, own, far, 7777);
    const int server = beyond_server(7777);
    bool same = false;
    is_dropped("metadata", frame_udp(bridge_mac, me, own, metadata_host, 80), NFT_DROP_HOST_NETWORK);
    is_let_through("what is not closed", out);
    ck_assert(comes_in(server, NULL, ANSWER_MS));
    MUST(nft_closed_check(base.mark, closed, ARRAY_LEN(closed), &same, &err));
    ck_assert(same);
    MUST(nft_closed_check(base.mark, lan, ARRAY_LEN(lan), &same, &err));
    ck_assert(!same);
    MUST(nft_closed_replace(base.mark, lan, ARRAY_LEN(lan), &err));
    MUST(nft_closed_check(base.mark, lan, ARRAY_LEN(lan), &same, &err));
    ck_assert(same);
    ck_assert(netns_says("nft list set inet smartvmtest closed4", "elements = { 10.9.0.0/24, 255.0.0.0/8 }"));
    /* What is on its way already goes on; what is new does not. */
    is_dropped("a network of the host", frame_udp(bridge_mac, me, own, far, 7779), NFT_DROP_HOST_NETWORK);
    is_dropped("its first address", frame_udp(bridge_mac, me, own, 0x0a090000, 9), NFT_DROP_HOST_NETWORK);
    MUST(nft_closed_replace(base.mark, NULL, 0, &err));
    MUST(nft_closed_check(base.mark, NULL, 0, &same, &err));
    ck_assert(same);
    is_let_through("what is open again", frame_udp(bridge_mac, me, own, far, 7779));
    netns_run("nft delete table inet smartvmtest");
    MUST(nft_closed_check(base.mark, lan, ARRAY_LEN(lan), &same, &err));
    ck_assert(!same);
    (void)close(server);
}
END_TEST

static struct frame from_source_port_of(const struct nft_guest *guest, uint16_t port)
{
    struct frame f = frame_udp(bridge_mac, guest->mac, guest->address, far, 7777);
    const uint16_t wire = htons(port);
    memcpy(f.bytes + 34, &wire, sizeof wire);
    return f;
}

static size_t tracked(void)
{
    return netns_count("cat /proc/net/nf_conntrack", "dport=7777");
}

/* `count` new flows of the guest; as many are let through as the limits allow. */
static void open_flows(int guest, uint16_t first_port, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        struct frame f = from_source_port_of(&guests[guest], (uint16_t)(first_port + i));
        frame_send(net.tap[guest], &f);
    }
}

START_TEST(flow_limit)
{
    struct nft_base few = base;
    struct sockaddr_in from;
    const int server = beyond_server(7777);
    few.max_flows = 16;
    MUST(nft_base_apply(&few, uplink, 1, guests, GUESTS, &err));
    open_flows(0, 6000, 1);
    ck_assert(comes_in(server, &from, ANSWER_MS));
    host_sends(server, 0x0a090001, ntohs(from.sin_port));
    open_flows(0, 6001, 15);
    ck_assert_uint_eq(all_drops(0), 0);
    open_flows(0, 6016, 24);
    ck_assert_uint_eq(drops_of(0, NFT_DROP_FLOW_LIMIT), 24);
    ck_assert_uint_eq(tracked(), 16);
    is_let_through("a flow that is there", from_source_port_of(&guests[0], 6000));
    ck_assert(comes_in(server, NULL, ANSWER_MS));
    is_let_through("one that nobody answered", from_source_port_of(&guests[0], 6001));
    ck_assert(comes_in(server, NULL, ANSWER_MS));
    (void)close(server);
    open_flows(1, 6000, 16);
    ck_assert_uint_eq(all_drops(1), 0);
    ck_assert_uint_eq(tracked(), 32);
}
END_TEST

/* A flow that nobody answers is one flow, however many packets it has. */
START_TEST(unanswered_flows_count_once)
{
    struct nft_base few = base;
    const int server = beyond_server(7777);
    few.max_flows = 16;
    few.flow_rate = 100000;
    MUST(nft_base_apply(&few, uplink, 1, guests, GUESTS, &err));
    for (int round = 0; round < 20; round++) {
        open_flows(0, 6000, 16);
    }
    ck_assert_uint_eq(all_drops(0), 0);
    ck_assert_uint_eq(tracked(), 16);
    is_dropped("one more", from_source_port_of(&guests[0], 7000), NFT_DROP_FLOW_LIMIT);
    is_dropped("one to the host", to_gateway(), NFT_DROP_FLOW_LIMIT);
    (void)close(server);
}
END_TEST

/* One VM has both guests' interfaces: they share what it may have. */
START_TEST(flows_are_counted_by_vm)
{
    struct nft_base few = base;
    struct nft_guest one[GUESTS];
    static const char *const sets[] = {"share1", "share2", "share4", "share8", "flows", "flow_rate"};
    few.max_flows = 16;
    few.flow_rate = 100000;
    memcpy(one, guests, sizeof one);
    one[0].interfaces = one[1].interfaces = 2;
    MUST(nft_base_apply(&few, uplink, 1, one, GUESTS, &err));
    open_flows(0, 6000, 10);
    open_flows(1, 6000, 6);
    ck_assert_uint_eq(drops_of(0, NFT_DROP_FLOW_LIMIT), 2);
    ck_assert_uint_eq(all_drops(1), 0);
    open_flows(1, 7000, 10);
    ck_assert_uint_eq(tracked(), 16);
    /* They go with the VM. */
    MUST(nft_guests_change(base.mark, NULL, 0, one, GUESTS, NULL, &err));
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        char command[128];
        (void)snprintf(command, sizeof command, "nft list set inet smartvmtest %s", sets[i]);
        ck_assert_msg(!netns_says(command, "elements"), "%s", sets[i]);
    }
    MUST(nft_guests_change(base.mark, guests, GUESTS, NULL, 0, NULL, &err));
    ck_assert(netns_says("nft list set inet smartvmtest share1", "02:5a:00:00:01:02"));
    is_let_through("after that", from_source_port_of(&guests[0], 8000));
}
END_TEST

/* So many shares that there is one for each interface. */
START_TEST(shares)
{
    static const char *const sets[] = {"", "share1", "share2", "share4", "share4", "share8", "share8", "share8", "share8"};
    for (uint32_t i = 1; i < ARRAY_LEN(sets); i++) {
        char command[128];
        struct nft_guest guest = guests[0];
        guest.interfaces = i;
        MUST(nft_base_apply(&base, uplink, 1, &guest, 1, &err));
        (void)snprintf(command, sizeof command, "nft list set inet smartvmtest %s", sets[i]);
        ck_assert_msg(netns_says(command, "02:5a:00:00:01:01"), "%u", i);
    }
}
END_TEST

static struct frame tcp_frame(uint16_t source_port, uint16_t port, uint32_t seq, uint8_t flags)
{
    struct tcphdr tcp = {.source = htons(source_port), .dest = htons(port), .seq = htonl(seq), .doff = 5, .window = htons(1024)};
    struct frame f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IP);
    const uint32_t from = guests[0].address;
    tcp.th_flags = flags;
    tcp.check = frame_checksum((from >> 16) + (from & 0xffff) + (far >> 16) + (far & 0xffff) + IPPROTO_TCP + (uint32_t)sizeof tcp, &tcp, sizeof tcp);
    frame_add_ipv4(&f, from, far, IPPROTO_TCP, &tcp, sizeof tcp);
    return f;
}

static int beyond_listener(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    netns_go(net.beyond);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, 4096) == 0);
    netns_go(net.host);
    return fd;
}

/* TCP that was reset, or has ended, is no flow any more, but stays in the table for a while: the rate is what limits it. */
START_TEST(flow_rate)
{
    struct nft_base slow = base;
    const int listener = beyond_listener(7778);
    slow.max_flows = 32;
    slow.flow_rate = 20;
    MUST(nft_base_apply(&slow, uplink, 1, guests, GUESTS, &err));
    const int64_t begin_ms = clock_monotonic_ms();
    for (uint16_t i = 0; i < 500; i++) {
        const struct frame syn = tcp_frame((uint16_t)(20000 + i), 7778, 1, TH_SYN);
        const struct frame reset = tcp_frame((uint16_t)(20000 + i), 7778, 2, TH_RST);
        frame_send(net.tap[0], &syn);
        (void)usleep(1000);
        frame_send(net.tap[0], &reset);
    }
    const int64_t took_ms = clock_monotonic_ms() - begin_ms;
    const size_t there = netns_count("cat /proc/net/nf_conntrack", "dport=7778");
    ck_assert_uint_ge(there, 32);
    ck_assert_msg((int64_t)there <= 32 + took_ms * 20 / 1000 + 2, "%zu in %lld ms", there, (long long)took_ms);
    ck_assert_uint_gt(drops_of(0, NFT_DROP_FLOW_LIMIT), 300);
    open_flows(1, 6000, 32); /* the others are not concerned */
    ck_assert_uint_eq(all_drops(1), 0);
    (void)close(listener);
}
END_TEST

START_TEST(invalid_flows)
{
    /* An answer to a question that nobody asked. */
    struct icmphdr icmp = {.type = ICMP_ECHOREPLY, .un.echo = {.id = htons(7), .sequence = htons(1)}};
    struct frame f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IP);
    icmp.checksum = frame_checksum(0, &icmp, sizeof icmp);
    frame_add_ipv4(&f, guests[0].address, far, IPPROTO_ICMP, &icmp, sizeof icmp);
    is_dropped("an answer unasked", f, NFT_DROP_INVALID_FLOW);
    f = frame_syn(bridge_mac, guests[0].mac, guests[0].address, far, 80);
    f.bytes[47] = 0x03; /* SYN and FIN */
    is_dropped("impossible flags", f, NFT_DROP_INVALID_FLOW);
}
END_TEST

START_TEST(no_uplink)
{
    const struct frame out = frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, 7777);
    is_let_through("with an uplink", out);
    MUST(nft_uplinks_replace(base.mark, NULL, 0, &err));
    is_dropped("a flow whose uplink is gone", out, NFT_DROP_NO_UPLINK);
}
END_TEST

START_TEST(counters_go_with_the_guest)
{
    ck_assert_uint_eq(all_drops(0), 0);
    is_dropped("first", tagged(0x8100, 5), NFT_DROP_VLAN);
    is_dropped("second", frame_syn(bridge_mac, guests[0].mac, guests[0].address, gateway, 22), NFT_DROP_HOST_PORT);
    ck_assert(netns_says("nft list set bridge smartvmtest drops", "\"svt1\" . 0x00000001 counter packets 1"));
    ck_assert(netns_says("nft list set inet smartvmtest drops4", "172.30.0.2 . 0x00000024 counter packets 1"));
    MUST(nft_guests_change(base.mark, NULL, 0, guests, 1, NULL, &err));
    ck_assert_uint_eq(all_drops(0), 0);
    static const char *const sets[] = {"bridge smartvmtest drops", "bridge smartvmtest rate_arp", "bridge smartvmtest guest_mac", "inet smartvmtest drops4",
                                       "inet smartvmtest share1"};
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        char command[128];
        (void)snprintf(command, sizeof command, "nft list set %s", sets[i]);
        ck_assert_msg(!netns_says(command, "svt1") && !netns_says(command, "172.30.0.2") && !netns_says(command, "02:5a:00:00:01:01"),
                      "%s still knows the guest", sets[i]);
    }
    MUST(nft_base_remove(base.mark, &err));
    ck_assert_uint_eq(all_drops(0), 0); /* no table at all */
}
END_TEST

static bool is_proxied(const uint8_t *frame, size_t len, const void *wanted)
{
    return is_arp_reply(frame, len, wanted) && memcmp(frame + 22, bridge_mac.bytes, sizeof bridge_mac.bytes) == 0;
}

static bool answers_for(uint32_t target, int timeout_ms)
{
    const uint32_t wanted = htonl(target);
    const struct frame arp = frame_arp(&(struct arp_fields){.ether_from = guests[0].mac,
                                                            .ether_to = broadcast_mac,
                                                            .operation = ARPOP_REQUEST,
                                                            .sender_mac = guests[0].mac,
                                                            .sender = guests[0].address,
                                                            .target = target});
    frame_send(net.tap[0], &arp);
    return frame_await(net.tap[0], VNET_HEADER_BYTES, is_proxied, &wanted, timeout_ms);
}

/* What one guest sends to another comes to the firewall: the bridge says that it is everybody. */
START_TEST(the_bridge_answers_for_other_guests)
{
    ck_assert_msg(!answers_for(guests[1].address, QUIET_MS), "it answers by itself");
    MUST(sysctl_bridge_apply(base.bridge, &err));
    ck_assert(answers_for(guests[1].address, QUIET_MS));
    ck_assert_msg(!answers_for(guests[0].address, QUIET_MS), "a guest would take its own address for another's");
    ck_assert_msg(!answers_for(far, QUIET_MS), "it answers for what is not on the bridge");
    ck_assert_uint_eq(all_drops(0), 0);
}
END_TEST

enum { COST_FRAMES = 20000, COST_GUESTS = 10000 };

static double cost_us(struct frame f)
{
    const int64_t start = clock_monotonic_us();
    for (int i = 0; i < COST_FRAMES; i++) {
        frame_send(net.tap[0], &f);
    }
    return (double)(clock_monotonic_us() - start) / COST_FRAMES;
}

/* Figures, and a wide limit: what would grow with the number of guests would be a thousand times dearer. */
START_TEST(the_cost_of_a_frame)
{
    struct nft_guest *many = calloc(COST_GUESTS, sizeof *many);
    const struct frame right = frame_udp(bridge_mac, guests[0].mac, guests[0].address, metadata_host, 80);
    const struct frame wrong = frame_udp(bridge_mac, guests[0].mac, guests[1].address, far, 80);
    struct nft_drops drops;
    ck_assert_ptr_nonnull(many);
    const double few[] = {cost_us(right), cost_us(wrong)};
    for (int i = 0; i < COST_GUESTS; i++) {
        (void)snprintf(many[i].tap, sizeof many[i].tap, "svt%d", i + 10);
        many[i].mac = (struct mac){{2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
        many[i].address = 0x0a000000 + (uint32_t)i;
    }
    MUST(nft_guests_change(base.mark, many, COST_GUESTS, NULL, 0, NULL, &err));
    const double lots[] = {cost_us(right), cost_us(wrong)};
    const int64_t start = clock_monotonic_us();
    for (int i = 0; i < 100; i++) {
        MUST(nft_drops_get(base.mark, &guests[0], &drops, &err));
    }
    ck_assert_uint_eq(drops.packets[NFT_DROP_SOURCE_ADDRESS], (uint64_t)2 * COST_FRAMES);
    ck_assert_uint_eq(drops.packets[NFT_DROP_HOST_NETWORK], (uint64_t)2 * COST_FRAMES);
    (void)printf("isolation: a frame dropped past the bridge %.2f us with 2 guests, %.2f us with %d; at the TAP %.2f and %.2f us; "
                 "the counters of one guest read in %.0f us\n",
                 few[0], lots[0], COST_GUESTS, few[1], lots[1], (double)(clock_monotonic_us() - start) / 100);
    ck_assert(lots[0] < 10 * few[0] && lots[1] < 10 * few[1]);
    free(many);
}
END_TEST

START_TEST(every_reason_has_a_name)
{
    size_t named = 0;
    for (unsigned i = 0; i < NFT_DROP_COUNT_; i++) {
        for (unsigned k = 0; k < i && nft_drop_name(i) != NULL; k++) {
            ck_assert(nft_drop_name(k) == NULL || strcmp(nft_drop_name(i), nft_drop_name(k)) != 0);
        }
        named += nft_drop_name(i) != NULL;
    }
    ck_assert_uint_eq(named, NFT_DROP_TAP_COUNT_ - 1 + NFT_DROP_COUNT_ - NFT_DROP_NO_UPLINK);
    ck_assert_ptr_null(nft_drop_name(0));
    ck_assert_ptr_null(nft_drop_name(NFT_DROP_COUNT_));
    ck_assert_ptr_null(nft_drop_name(1000000));
}
END_TEST

/* ---- what the host is connected to ---- */

static bool has_net(const struct ip_net *nets, size_t count, uint8_t version, const uint8_t *bytes, uint8_t prefix)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found =
            found || (nets[i].address.version == version && nets[i].prefix == prefix && memcmp(nets[i].address.bytes, bytes, version == IP_V4 ? 4 : 16) == 0);
    }
    return found;
}

START_TEST(connected_networks)
{
    static const uint8_t lan[] = {10, 9, 0, 0};
    static const uint8_t point[] = {192, 0, 2, 9};
    static const uint8_t own[] = {172, 30, 0, 0};
    static const uint8_t half[] = {128, 0, 0, 0};
    static const uint8_t far_away[] = {198, 51, 100, 0};
    static const uint8_t lan6[16] = {0x20, 0x01, 0x0d, 0xb8};
    struct ip_net *nets = NULL;
    size_t count = 0;
    netns_run("ip route add 192.0.2.9 dev up0");
    netns_run("ip route add 128.0.0.0/1 dev up0");
    netns_run("ip route add default dev up0");
    netns_run("ip route add 198.51.100.0/24 via 10.9.0.2");
    netns_run("ip route add 203.0.113.0/24 dev up0 table 77");
    netns_run("ip -6 addr add 2001:db8::1/64 dev up0 nodad");
    MUST(link_networks_list(&(const char *){base.bridge}, 1, NULL, &nets, &count, &err));
    ck_assert(has_net(nets, count, IP_V4, lan, 24));
    ck_assert(has_net(nets, count, IP_V4, point, 32));
    ck_assert(has_net(nets, count, IP_V6, lan6, 64));
    ck_assert(!has_net(nets, count, IP_V4, own, 24));
    ck_assert(!has_net(nets, count, IP_V4, half, 1));
    ck_assert(!has_net(nets, count, IP_V4, far_away, 24));
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_ge(nets[i].prefix, 8);
    }
    free(nets);
    MUST(link_networks_list(&(const char *){"nosuch0"}, 1, NULL, &nets, &count, &err));
    ck_assert(has_net(nets, count, IP_V4, own, 24));
    free(nets);
}
END_TEST

START_TEST(too_many_networks)
{
    struct ip_net *nets = NULL;
    size_t count = 0;
    FILE *batch = fopen("/tmp/smartvm-isolation-routes", "we");
    ck_assert_ptr_nonnull(batch);
    for (int i = 0; i <= LINK_NETWORKS_MAX; i++) {
        (void)fprintf(batch, "route add %d.%d.%d.0/24 dev up0\n", 11 + i / 65536, i / 256 % 256, i % 256);
    }
    (void)fclose(batch);
    netns_run("ip -batch /tmp/smartvm-isolation-routes");
    (void)unlink("/tmp/smartvm-isolation-routes");
    ck_assert(link_networks_list(&(const char *){base.bridge}, 1, NULL, &nets, &count, &err) != 0);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 65536 networks"));
}
END_TEST

static TCase *tests(void)
{
    TCase *tc = tcase_create("isolation");
    tcase_add_checked_fixture(tc, make_host, end_host);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, tags);
    tcase_add_test(tc, ether_types);
    tcase_add_test(tc, source_macs);
    tcase_add_test(tc, source_addresses);
    tcase_add_test(tc, destination_macs);
    tcase_add_test(tc, arp_senders);
    tcase_add_test(tc, malformed);
    tcase_add_test(tc, ipv4_options);
    tcase_add_test(tc, dhcp_servers);
    tcase_add_test(tc, fragments);
    tcase_add_test(tc, arp_rate);
    tcase_add_test(tc, the_host);
    tcase_add_test(tc, open_ports);
    tcase_add_test(tc, closed_networks);
    tcase_add_test(tc, flow_limit);
    tcase_add_test(tc, unanswered_flows_count_once);
    tcase_add_test(tc, flows_are_counted_by_vm);
    tcase_add_test(tc, shares);
    tcase_add_test(tc, flow_rate);
    tcase_add_test(tc, invalid_flows);
    tcase_add_test(tc, no_uplink);
    tcase_add_test(tc, counters_go_with_the_guest);
    tcase_add_test(tc, the_bridge_answers_for_other_guests);
    tcase_add_test(tc, the_cost_of_a_frame);
    tcase_add_test(tc, every_reason_has_a_name);
    tcase_add_test(tc, connected_networks);
    tcase_add_test(tc, too_many_networks);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("host/isolation");
    suite_add_tcase(suite, tests());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
