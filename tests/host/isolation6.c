/*
 * IPv6 at the TAP, frame by frame: dropped as long as it is not chosen, and then only what is the guest's own. See isolation.c for IPv4.
 */
#include "host/nft/drops.h"

#include "tests/host/guest_box.h"

#include <netinet/icmp6.h>
#include <netinet/ip6.h>

static const struct mac wrong_mac = {{0x02, 0x5a, 0, 0, 9, 9}};
static const char *const own = "fd00:7::2";
static const char *const own_link = "fe80::5a:ff:fe00:101"; /* EUI-64 of 02:5a:00:00:01:01 */
static const char *const router = "fd00:7::1";
static struct nft_guest six[GUESTS];

static struct nft_base with_ipv6(void)
{
    struct nft_base ret = base;
    ret.ipv6 = true;
    return ret;
}

static void set_up(void)
{
    const struct nft_base chosen = with_ipv6();
    make_host();
    for (int i = 0; i < GUESTS; i++) {
        six[i] = guests[i];
    }
    ck_assert_int_eq(inet_pton(AF_INET6, "fd00:7::2", six[0].address6), 1);
    ck_assert_int_eq(inet_pton(AF_INET6, "fd00:7::3", six[1].address6), 1);
    MUST(nft_base_apply(&chosen, uplink, 1, six, GUESTS, &err));
    MUST(gate_apply(&(struct gate){.bridge = gate.bridge, .subnet = gate.subnet, .ipv6 = true}, &err));
}

static uint64_t all_drops(void)
{
    struct nft_drops drops;
    uint64_t sum = 0;
    MUST(nft_drops_get(base.mark, &six[0], &drops, &err));
    for (size_t i = 0; i < ARRAY_LEN(drops.packets); i++) {
        sum += drops.packets[i];
    }
    return sum;
}

static void is_dropped(const char *what, struct frame f, enum nft_drop_reason reason)
{
    struct nft_drops before;
    struct nft_drops after;
    const uint64_t all = all_drops();
    MUST(nft_drops_get(base.mark, &six[0], &before, &err));
    frame_send(net.tap[0], &f);
    MUST(nft_drops_get(base.mark, &six[0], &after, &err));
    for (unsigned i = 0; i < NFT_DROP_COUNT_ && after.packets[reason] == before.packets[reason]; i++) {
        ck_assert_msg(after.packets[i] == before.packets[i], "%s: counted as %s, not as %s", what, nft_drop_name(i), nft_drop_name(reason));
    }
    ck_assert_msg(after.packets[reason] == before.packets[reason] + 1, "%s is not dropped", what);
    ck_assert_uint_eq(all_drops(), all + 1);
}

/* Past the bridge chain: the bridge itself sees it. */
static void is_let_through(const char *what, struct frame f)
{
    const uint64_t all = all_drops();
    frame_send(net.tap[0], &f);
    ck_assert_msg(frame_await(net.bridge, 0, frame_is, &f, ANSWER_MS), "%s does not pass", what);
    ck_assert_msg(all_drops() == all, "%s is counted", what);
}

struct fields6 {
    struct mac from_mac;
    const char *from, *to;
    uint8_t next, hops;
};

static struct fields6 good(uint8_t next)
{
    return (struct fields6){.from_mac = guests[0].mac, .from = own, .to = router, .next = next, .hops = 255};
}

static struct frame packet(const struct fields6 *fields, const void *payload, size_t len)
{
    struct frame f = frame_ether(bridge_mac, fields->from_mac, ETHERTYPE_IPV6);
    struct ip6_hdr head = {.ip6_flow = htonl(0x60000000), .ip6_plen = htons((uint16_t)len), .ip6_nxt = fields->next, .ip6_hlim = fields->hops};
    ck_assert_int_eq(inet_pton(AF_INET6, fields->from, &head.ip6_src), 1);
    ck_assert_int_eq(inet_pton(AF_INET6, fields->to, &head.ip6_dst), 1);
    frame_add(&f, &head, sizeof head);
    frame_add(&f, payload, len);
    return f;
}

static struct frame udp_from(const struct fields6 *fields, uint16_t source)
{
    const struct udphdr udp = {.source = htons(source), .dest = htons(7777), .len = htons(sizeof udp)};
    return packet(fields, &udp, sizeof udp);
}

/* Neighbour discovery: type, target, and an option of 8 bytes or none (0). */
static struct frame discovery(const struct fields6 *fields, uint8_t type, const char *target, uint8_t option, struct mac mac)
{
    struct {
        struct icmp6_hdr head;
        uint8_t target[16];
        uint8_t option[2];
        struct mac mac;
    } message = {.head = {.icmp6_type = type}, .option = {option, 1}, .mac = mac};
    _Static_assert(sizeof message == 32, "as it is sent");
    ck_assert_int_eq(inet_pton(AF_INET6, target, message.target), 1);
    return packet(fields, &message, option != 0 ? sizeof message : 24);
}

static struct frame icmp(const struct fields6 *fields, uint8_t type)
{
    const struct icmp6_hdr head = {.icmp6_type = type};
    return packet(fields, &head, sizeof head);
}

START_TEST(not_chosen)
{
    const struct fields6 fields = good(IPPROTO_ICMPV6);
    MUST(nft_base_apply(&base, uplink, 1, six, GUESTS, &err));
    is_dropped("ping", icmp(&fields, ICMP6_ECHO_REQUEST), NFT_DROP_IPV6);
    is_dropped("a question for a neighbour", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, 0, wrong_mac), NFT_DROP_IPV6);
    is_dropped("a router", icmp(&fields, ND_ROUTER_ADVERT), NFT_DROP_IPV6);
    struct frame empty = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IPV6);
    is_dropped("no header at all", empty, NFT_DROP_IPV6);
}
END_TEST

START_TEST(sources)
{
    static const char *const others[] = {"fd00:7::3", "fd00:7::1", "::", "::1", "2001:db8::1", "fe80::5a:ff:fe00:102", "ff02::1", "::ffff:172.30.0.2"};
    struct fields6 fields = good(IPPROTO_UDP);
    is_let_through("its own address", udp_from(&fields, 5000));
    fields.from = own_link;
    is_let_through("its own link-local address", udp_from(&fields, 5000));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        fields = good(IPPROTO_UDP);
        fields.from = others[i];
        is_dropped(others[i], udp_from(&fields, 5000), NFT_DROP_SOURCE_ADDRESS);
        fields.next = IPPROTO_ICMPV6;
        is_dropped(others[i], icmp(&fields, ICMP6_ECHO_REQUEST), NFT_DROP_SOURCE_ADDRESS);
    }
    fields = good(IPPROTO_UDP);
    fields.from_mac = wrong_mac;
    is_dropped("another MAC", udp_from(&fields, 5000), NFT_DROP_SOURCE_MAC);
    fields.next = IPPROTO_ICMPV6;
    is_dropped("ICMPv6 of another MAC", icmp(&fields, ICMP6_ECHO_REQUEST), NFT_DROP_SOURCE_MAC);
    is_dropped("a question of another MAC", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, ND_OPT_SOURCE_LINKADDR, wrong_mac), NFT_DROP_SOURCE_MAC);
    is_dropped("an answer of another MAC", discovery(&fields, ND_NEIGHBOR_ADVERT, own, ND_OPT_TARGET_LINKADDR, wrong_mac), NFT_DROP_SOURCE_MAC);
}
END_TEST

START_TEST(servers)
{
    struct fields6 fields = good(IPPROTO_UDP);
    is_dropped("DHCPv6", udp_from(&fields, 547), NFT_DROP_DHCP_SERVER);
    is_let_through("a DHCPv6 client", udp_from(&fields, 546));
    fields = good(IPPROTO_ICMPV6);
    fields.from = own_link;
    fields.to = "ff02::1";
    is_dropped("a router advertisement", icmp(&fields, ND_ROUTER_ADVERT), NFT_DROP_ROUTER_ADVERTISEMENT);
    is_dropped("a redirect", icmp(&fields, ND_REDIRECT), NFT_DROP_ROUTER_ADVERTISEMENT);
    is_let_through("a router solicitation", icmp(&fields, ND_ROUTER_SOLICIT));
}
END_TEST

START_TEST(questions)
{
    const struct mac me = guests[0].mac;
    struct fields6 fields = good(IPPROTO_ICMPV6);
    is_let_through("a question", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, ND_OPT_SOURCE_LINKADDR, me));
    is_let_through("without an option", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, 0, me));
    is_dropped("with another's MAC", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, ND_OPT_SOURCE_LINKADDR, guests[1].mac), NFT_DROP_ND_SENDER);
    is_dropped("with an option that does not belong there", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, ND_OPT_TARGET_LINKADDR, me), NFT_DROP_ND_SENDER);
    fields.from = "fd00:7::3";
    is_dropped("of another's address", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, ND_OPT_SOURCE_LINKADDR, me), NFT_DROP_ND_SENDER);
    fields.from = "::";
    is_let_through("is my address free?", discovery(&fields, ND_NEIGHBOR_SOLICIT, own, 0, me));
    is_let_through("is it, with a nonce?", discovery(&fields, ND_NEIGHBOR_SOLICIT, own_link, 14, me));
    is_dropped("is another's free?", discovery(&fields, ND_NEIGHBOR_SOLICIT, "fd00:7::3", 0, me), NFT_DROP_ND_SENDER);
    is_dropped("is the router's free?", discovery(&fields, ND_NEIGHBOR_SOLICIT, router, 0, me), NFT_DROP_ND_SENDER);
}
END_TEST

START_TEST(answers)
{
    const struct mac me = guests[0].mac;
    struct fields6 fields = good(IPPROTO_ICMPV6);
    is_let_through("an answer", discovery(&fields, ND_NEIGHBOR_ADVERT, own, ND_OPT_TARGET_LINKADDR, me));
    is_let_through("for its link-local address", discovery(&fields, ND_NEIGHBOR_ADVERT, own_link, ND_OPT_TARGET_LINKADDR, me));
    is_let_through("without an option", discovery(&fields, ND_NEIGHBOR_ADVERT, own, 0, me));
    is_dropped("I am the router", discovery(&fields, ND_NEIGHBOR_ADVERT, router, ND_OPT_TARGET_LINKADDR, me), NFT_DROP_ND_SENDER);
    is_dropped("I am the other guest", discovery(&fields, ND_NEIGHBOR_ADVERT, "fd00:7::3", ND_OPT_TARGET_LINKADDR, me), NFT_DROP_ND_SENDER);
    is_dropped("with another's MAC", discovery(&fields, ND_NEIGHBOR_ADVERT, own, ND_OPT_TARGET_LINKADDR, bridge_mac), NFT_DROP_ND_SENDER);
    is_dropped("with a source's option", discovery(&fields, ND_NEIGHBOR_ADVERT, own, ND_OPT_SOURCE_LINKADDR, me), NFT_DROP_ND_SENDER);
    fields.from = router;
    is_dropped("from the router's address", discovery(&fields, ND_NEIGHBOR_ADVERT, own, ND_OPT_TARGET_LINKADDR, me), NFT_DROP_ND_SENDER);
    /* A second option behind the first one. */
    fields = good(IPPROTO_ICMPV6);
    struct frame f = discovery(&fields, ND_NEIGHBOR_ADVERT, own, ND_OPT_TARGET_LINKADDR, me);
    const uint8_t second[8] = {ND_OPT_TARGET_LINKADDR, 1, 0x02, 0x5a, 0, 0, 1, 2};
    const uint16_t bytes = htons(40);
    frame_add(&f, second, sizeof second);
    memcpy(f.bytes + 18, &bytes, sizeof bytes);
    is_dropped("with two MACs", f, NFT_DROP_ND_SENDER);
    is_dropped("cut off", (f.len = 70, memcpy(f.bytes + 18, &(uint16_t){htons(16)}, 2), f), NFT_DROP_ND_SENDER);
}
END_TEST

/* A header of this kind before an ICMPv6 message. `words`: what stands in it besides the next header. */
static struct frame behind(uint8_t kind, const uint8_t words[7], uint8_t type)
{
    uint8_t payload[8 + 24] = {IPPROTO_ICMPV6};
    struct fields6 fields = good(kind);
    fields.from = own_link;
    memcpy(payload + 1, words, 7);
    payload[8] = type;
    ck_assert_int_eq(inet_pton(AF_INET6, own, payload + 16), 1);
    return packet(&fields, payload, sizeof payload);
}

START_TEST(extension_headers)
{
    static const uint8_t padding[7] = {0, 1, 4, 0, 0, 0, 0};
    static const uint8_t whole[7] = {0, 0, 0, 0, 0, 0, 1};  /* a fragment that is all there is */
    static const uint8_t first[7] = {0, 0, 1, 0, 0, 0, 1};  /* more to come */
    static const uint8_t second[7] = {0, 0, 8, 0, 0, 0, 1}; /* the type was in the one before */
    static const uint8_t kinds[] = {IPPROTO_HOPOPTS, IPPROTO_DSTOPTS};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        is_dropped("a router advertisement behind options", behind(kinds[i], padding, ND_ROUTER_ADVERT), NFT_DROP_ROUTER_ADVERTISEMENT);
        is_dropped("a redirect behind options", behind(kinds[i], padding, ND_REDIRECT), NFT_DROP_ROUTER_ADVERTISEMENT);
        is_dropped("an answer behind options", behind(kinds[i], padding, ND_NEIGHBOR_ADVERT), NFT_DROP_ND_SENDER);
        is_dropped("a question behind options", behind(kinds[i], padding, ND_NEIGHBOR_SOLICIT), NFT_DROP_ND_SENDER);
        is_let_through("a ping behind options", behind(kinds[i], padding, ICMP6_ECHO_REQUEST));
    }
    is_dropped("a router advertisement in a fragment", behind(IPPROTO_FRAGMENT, whole, ND_ROUTER_ADVERT), NFT_DROP_MALFORMED);
    is_dropped("in the first of several", behind(IPPROTO_FRAGMENT, first, ND_ROUTER_ADVERT), NFT_DROP_MALFORMED);
    is_dropped("in the second", behind(IPPROTO_FRAGMENT, second, ND_ROUTER_ADVERT), NFT_DROP_MALFORMED);
    is_dropped("a ping in a fragment", behind(IPPROTO_FRAGMENT, whole, ICMP6_ECHO_REQUEST), NFT_DROP_MALFORMED);
}
END_TEST

START_TEST(malformed)
{
    struct fields6 fields = good(IPPROTO_UDP);
    const struct frame whole = udp_from(&fields, 5000);
    for (size_t len = 14; len < 54; len++) {
        struct frame f = whole;
        f.len = len;
        is_dropped("cut off in the header", f, NFT_DROP_MALFORMED);
    }
    struct frame f = whole;
    f.len--;
    is_dropped("cut off behind the header", f, NFT_DROP_MALFORMED);
    f = whole;
    f.bytes[14] = 0x40;
    is_dropped("version 4 in IPv6's type", f, NFT_DROP_MALFORMED);
    f = whole;
    f.bytes[20] = IPPROTO_HOPOPTS;
    f.len = 54;
    memset(f.bytes + 18, 0, 2);
    is_dropped("options that are not there", f, NFT_DROP_MALFORMED);
}
END_TEST

START_TEST(rate)
{
    const struct fields6 fields = good(IPPROTO_ICMPV6);
    const struct frame f = discovery(&fields, ND_NEIGHBOR_SOLICIT, router, ND_OPT_SOURCE_LINKADDR, guests[0].mac);
    enum { SENT = 2000 };
    struct nft_drops drops;
    for (int i = 0; i < SENT; i++) {
        frame_send(net.tap[0], &f);
    }
    MUST(nft_drops_get(base.mark, &six[0], &drops, &err));
    const uint64_t dropped = drops.packets[NFT_DROP_ND_RATE];
    ck_assert_msg(dropped > SENT - NFT_NEIGHBOUR_BURST - 2 * NFT_NEIGHBOUR_RATE && dropped < SENT, "%llu dropped", (unsigned long long)dropped);
    ck_assert_msg(has_gateway(0, ANSWER_MS), "ARP pays for it");
}
END_TEST

/* A ping of the gateway: with another number, another flow. */
static struct frame ping6(uint16_t number)
{
    struct {
        uint8_t from[16], to[16];
        uint32_t len, next;
        struct icmp6_hdr head;
    } summed = {.len = htonl(sizeof(struct icmp6_hdr)), .next = htonl(IPPROTO_ICMPV6), .head = {.icmp6_type = ICMP6_ECHO_REQUEST}};
    const struct fields6 fields = good(IPPROTO_ICMPV6);
    ck_assert_int_eq(inet_pton(AF_INET6, fields.from, summed.from), 1);
    ck_assert_int_eq(inet_pton(AF_INET6, fields.to, summed.to), 1);
    summed.head.icmp6_id = htons(number);
    summed.head.icmp6_cksum = frame_checksum(0, &summed, sizeof summed);
    return packet(&fields, &summed.head, sizeof summed.head);
}

static struct frame ping4(uint16_t number)
{
    const struct icmphdr head = {.type = ICMP_ECHO, .un.echo = {.id = htons(number)}};
    struct icmphdr icmp = head;
    struct frame f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IP);
    icmp.checksum = frame_checksum(0, &head, sizeof head);
    frame_add_ipv4(&f, guests[0].address, gateway, IPPROTO_ICMP, &icmp, sizeof icmp);
    return f;
}

/* Whatever the version: it is what the guest has. */
START_TEST(flows_of_both_versions_are_counted_together)
{
    struct nft_base few = with_ipv6();
    few.max_flows = 16;
    few.flow_rate = 100000;
    few.gateway6.version = IP_V6;
    ck_assert_int_eq(inet_pton(AF_INET6, router, few.gateway6.bytes), 1);
    netns_run("sysctl -q net.ipv6.conf.br0.disable_ipv6=0");
    netns_run("ip -6 addr add fd00:7::1/64 dev br0 nodad");
    MUST(nft_base_apply(&few, uplink, 1, six, GUESTS, &err));
    for (uint16_t i = 0; i < 8; i++) {
        const struct frame frames[] = {ping6(i), ping4(i)};
        frame_send(net.tap[0], &frames[0]);
        frame_send(net.tap[0], &frames[1]);
    }
    ck_assert_uint_eq(all_drops(), 0);
    ck_assert_uint_eq(netns_count("cat /proc/net/nf_conntrack", "dst=fd00:0007:0000:0000:0000:0000:0000:0001 type=128"), 8);
    is_dropped("one more of IPv6", ping6(8), NFT_DROP_FLOW_LIMIT);
    is_dropped("one more of IPv4", ping4(8), NFT_DROP_FLOW_LIMIT);
}
END_TEST

START_TEST(elements)
{
    struct nft_guest_differences differences = {.items = NULL};
    ck_assert(netns_says("nft list set bridge smartvmtest guest6", "\"svt1\" . 02:5a:00:00:01:01 . fe80::5a:ff:fe00:101"));
    ck_assert_uint_eq(netns_count("nft list set bridge smartvmtest guest6", "\"svt"), 4);
    MUST(nft_guests_compare(base.mark, six, GUESTS, &differences, &err));
    ck_assert_uint_eq(differences.count, 0);
    nft_guest_differences_free(&differences);
    MUST(nft_guests_change(base.mark, NULL, 0, six, 1, NULL, &err));
    ck_assert_uint_eq(netns_count("nft list set bridge smartvmtest guest6", "\"svt"), 2);
    MUST(nft_guests_change(base.mark, six, 1, &six[1], 1, NULL, &err));
    ck_assert(!netns_says("nft list set bridge smartvmtest guest6", "svt2"));
    ck_assert_uint_eq(netns_count("nft list set bridge smartvmtest guest6", "\"svt1"), 2);
}
END_TEST

int main(void)
{
    const TTest *const all[] = {
        not_chosen, sources, servers, questions, answers, extension_headers, malformed, rate, flows_of_both_versions_are_counted_together, elements};
    Suite *suite = suite_create("host/isolation6");
    TCase *tc = tcase_create("isolation6");
    tcase_add_checked_fixture(tc, set_up, end_host);
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        tcase_add_test(tc, all[i]);
    }
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
