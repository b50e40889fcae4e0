/* IPv6 on the bridge, its forwarding, and the rules that are there only with it. */
#include "host/link/bridge_ipv6.h"

#include "tests/host/guest_box.h"

#include <netinet/icmp6.h>
#include <netinet/ip6.h>

static struct nft_base six;
static struct nft_guest sixes[GUESTS];
static char found[BRIDGE_IPV6_FOUND_MAX];

static struct ip_addr address(const char *text)
{
    struct ip_addr ret;
    ck_assert(ip_addr_parse(text, &ret));
    return ret;
}

static void look(const struct ip_addr *wanted, unsigned prefix)
{
    MUST(bridge_ipv6_check(base.bridge, wanted, prefix, found, &err));
}

static void setup(void)
{
    make_host();
    six = base;
    six.ipv6 = six.masquerade6 = true;
    six.gateway6 = address("fd00:7::1");
    six.subnet6 = (struct ip_net){.address = address("fd00:7::"), .prefix = 64};
    for (int i = 0; i < GUESTS; i++) {
        const struct ip_addr own = address(i == 0 ? "fd00:7::2" : "fd00:7::3");
        sixes[i] = guests[i];
        memcpy(sixes[i].address6, own.bytes, sizeof own.bytes);
    }
    MUST(nft_base_apply(&six, uplink, 1, sixes, GUESTS, &err));
}

START_TEST(an_address_comes_and_goes)
{
    const struct ip_addr first = address("fd00:7::1");
    const struct ip_addr second = address("fd00:8::1");
    look(NULL, 0);
    ck_assert_str_eq(found, "");
    look(&first, 64);
    ck_assert_str_eq(found, "IPv6 is off on the bridge");
    MUST(bridge_ipv6_ensure(base.bridge, &first, 64, &err));
    look(&first, 64);
    ck_assert_str_eq(found, "");
    MUST(bridge_ipv6_ensure(base.bridge, &first, 64, &err)); /* again */
    ck_assert(netns_says("ip -6 address show dev br0 scope global", "fd00:7::1/64"));
    ck_assert(!netns_says("ip -6 address show dev br0 scope global", "tentative"));
    ck_assert(netns_says("ip -6 address show dev br0 scope link", "fe80::")); /* the kernel's own stays */
    look(&first, 80);
    ck_assert_ptr_nonnull(strstr(found, "fd00:7::1/80 is gone"));
    netns_run("ip -6 address add fd00:bad::1/64 dev br0");
    look(&first, 64);
    ck_assert_ptr_nonnull(strstr(found, "additional address fd00:bad::1/64"));
    MUST(bridge_ipv6_ensure(base.bridge, &second, 112, &err));
    look(&second, 112);
    ck_assert_str_eq(found, "");
    ck_assert_uint_eq(netns_count("ip -6 address show dev br0 scope global", "inet6"), 1);
    look(NULL, 0);
    ck_assert_ptr_nonnull(strstr(found, "fd00:8::1/112"));
    MUST(bridge_ipv6_ensure(base.bridge, NULL, 0, &err));
    ck_assert_uint_eq(netns_count("ip -6 address show dev br0 scope global", "inet6"), 0);
    ck_assert(bridge_ipv6_ensure("nope0", &first, 64, &err) != 0);
}
END_TEST

START_TEST(forwarding)
{
    bool on = true;
    bool own = access("/proc/sys/net/ipv6/conf/up0/force_forwarding", F_OK) == 0;
    MUST(ipv6_forwarding_get("up0", &on, &err));
    ck_assert(!on);
    MUST(ipv6_forwarding_set("up0", true, &err));
    MUST(ipv6_forwarding_get("up0", &on, &err));
    ck_assert(on);
    if (own) { /* and nowhere else */
        MUST(ipv6_forwarding_get("br0", &on, &err));
        ck_assert(!on);
        ck_assert(netns_says("cat /proc/sys/net/ipv6/conf/all/forwarding", "0"));
    }
    MUST(ipv6_forwarding_set("up0", false, &err));
    MUST(ipv6_forwarding_get("up0", &on, &err));
    ck_assert_int_eq(on, !own);
}
END_TEST

/* ---- packets ---- */

/* Each begins a flow. */
static struct frame datagram(const char *to)
{
    static uint16_t port = 5000;
    const struct udphdr udp = {.source = htons(port++), .dest = htons(7777), .len = htons(sizeof udp)};
    struct ip6_hdr head = {.ip6_flow = htonl(0x60000000), .ip6_plen = htons(sizeof udp), .ip6_nxt = IPPROTO_UDP, .ip6_hlim = 64};
    const struct ip_addr destination = address(to);
    struct frame f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IPV6);
    memcpy(&head.ip6_src, sixes[0].address6, sizeof head.ip6_src);
    memcpy(&head.ip6_dst, destination.bytes, sizeof head.ip6_dst);
    frame_add(&f, &head, sizeof head);
    frame_add(&f, &udp, sizeof udp);
    return f;
}

static bool is_redirect(const uint8_t *frame, size_t len, const void *wanted)
{
    (void)wanted;
    return len > 54 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == IPPROTO_ICMPV6 && frame[54] == ND_REDIRECT;
}

/* Sends to the other guest, which is behind the same bridge; is the guest told of the shorter way? */
static bool is_redirected(void)
{
    struct frame f = datagram("fd00:7::3");
    frame_send(net.tap[0], &f);
    return frame_await(net.tap[0], VNET_HEADER_BYTES, is_redirect, NULL, QUIET_MS);
}

START_TEST(guests_are_not_told_of_a_shorter_way)
{
    MUST(sysctl_number_set("ipv6", "conf", base.bridge, "accept_dad", 0, &err)); /* redirects come from the link-local address, once that is sure */
    MUST(bridge_ipv6_ensure(base.bridge, &six.gateway6, 64, &err));
    MUST(ipv6_forwarding_set(base.bridge, true, &err));
    /* The host knows both, as after their questions for the gateway. */
    netns_run("ip -6 neigh replace fd00:7::2 lladdr 02:5a:00:00:01:01 dev br0");
    netns_run("ip -6 neigh replace fd00:7::3 lladdr 02:5a:00:00:01:02 dev br0");
    ck_assert(!is_redirected());
    netns_run("nft flush chain inet smartvmtest output");
    ck_assert(is_redirected()); /* so it was the rule */
}
END_TEST

/* What the guest sends out, as it is seen beyond the uplink: its source. */
static bool comes_out_as(const char *source)
{
    const struct ip_addr wanted = address(source);
    netns_go(net.beyond);
    int seen = packet_socket("peer0");
    netns_go(net.host);
    struct frame f = datagram("2001:db8:99::1");
    bool right = false;
    frame_send(net.tap[0], &f);
    for (int i = 0; i < 20 && !right; i++) {
        uint8_t buf[2048];
        struct pollfd readable = {.fd = seen, .events = POLLIN};
        ssize_t got = poll(&readable, 1, QUIET_MS) > 0 ? read(seen, buf, sizeof buf) : 0;
        right = got > 54 && buf[12] == 0x86 && buf[20] == IPPROTO_UDP && memcmp(buf + 22, wanted.bytes, 16) == 0;
    }
    (void)close(seen);
    return right;
}

START_TEST(masquerade_of_every_prefix)
{
    MUST(bridge_ipv6_ensure(base.bridge, &six.gateway6, 64, &err));
    MUST(ipv6_forwarding_set(base.bridge, true, &err));
    MUST(ipv6_forwarding_set("up0", true, &err));
    netns_run("ip -6 address add 2001:db8:9::2/64 dev up0 nodad");
    netns_run("ip -6 neigh replace 2001:db8:9::1 lladdr 02:00:00:00:00:09 dev up0");
    netns_run("ip -6 route add default via 2001:db8:9::1");
    for (uint8_t prefix = 64; prefix <= 112; prefix++) {
        six.subnet6.prefix = prefix;
        MUST(nft_base_apply(&six, uplink, 1, sixes, GUESTS, &err));
        ck_assert_msg(comes_out_as("2001:db8:9::2"), "prefix %d", prefix);
    }
    six.subnet6.address = address("fd00:7:0:0:0:0:1:0"); /* the guest's address is not in it */
    six.subnet6.prefix = 112;
    MUST(nft_base_apply(&six, uplink, 1, sixes, GUESTS, &err));
    ck_assert(comes_out_as("fd00:7::2"));
    six.subnet6.address = address("fd00:7::");
    six.masquerade6 = false; /* a global network has routes of its own */
    MUST(nft_base_apply(&six, uplink, 1, sixes, GUESTS, &err));
    ck_assert(comes_out_as("fd00:7::2"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host/bridge_ipv6");
    TCase *tcase = tcase_create("bridge_ipv6");
    tcase_add_checked_fixture(tcase, setup, end_host);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, an_address_comes_and_goes);
    tcase_add_test(tcase, forwarding);
    tcase_add_test(tcase, guests_are_not_told_of_a_shorter_way);
    tcase_add_test(tcase, masquerade_of_every_prefix);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
