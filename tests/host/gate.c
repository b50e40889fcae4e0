/* The lock outside of nftables: that it is there and seen to be gone, and by packets, that nothing of guests passes it without the tables. */
#include "tests/host/guest_box.h"

enum { PORT = 4242, HOST = 0x0a090001 };

static struct gate_seen seen;
static const struct frame *no_frame;

static void look(void)
{
    MUST(gate_check(&gate, &seen, &err));
    ck_assert_str_eq(seen.missing, "");
}

static void is_whole(void)
{
    look();
    ck_assert_str_eq(seen.found, "");
}

static void is_repaired(const char *words)
{
    look();
    ck_assert_msg(strstr(seen.found, words) != NULL, "no '%s' in: %s", words, seen.found);
    MUST(gate_apply(&gate, &err));
    is_whole();
}

START_TEST(what_it_is_made_of)
{
    is_whole();
    ck_assert(netns_says("tc filter show dev br0 ingress", "smartvm_in direct-action"));
    ck_assert(netns_says("tc filter show dev br0 egress", "smartvm_out direct-action"));
    ck_assert_uint_eq(netns_count("ip rule show", "fwmark 0x8000000/0x8000000"), 2);
    ck_assert_uint_eq(netns_count("ip -6 rule show", "fwmark"), 0);
    MUST(gate_apply(&gate, &err)); /* once more is no more */
    is_whole();
    ck_assert_uint_eq(netns_count("ip rule show", "fwmark"), 2);
    ck_assert_uint_eq(netns_count("tc filter show dev br0 ingress", "handle 0x"), 1);
}
END_TEST

static const struct {
    const char *command, *words;
} changes[] = {
    {"tc qdisc del dev br0 clsact", "smartvm_in is gone"},          {"tc filter del dev br0 ingress", "smartvm_in is gone"},
    {"tc filter del dev br0 egress pref 1", "smartvm_out is gone"}, {"ip rule del pref 64 iif br0", "comes from the bridge is gone"},
    {"ip rule del pref 64 iif lo", "to the host is gone"},          {"ip rule flush", "comes from the bridge is gone"},
};

START_TEST(what_others_change_is_seen_and_mended)
{
    netns_run(changes[_i].command);
    is_repaired(changes[_i].words);
}
END_TEST

START_TEST(another_filter_at_its_place)
{
    netns_run("tc filter del dev br0 ingress pref 1");
    netns_run("tc filter add dev br0 ingress pref 1 protocol ip u32 match u32 0 0 flowid 1:1");
    is_repaired("smartvm_in is not alone");
    ck_assert(!netns_says("tc filter show dev br0 ingress", "u32"));
}
END_TEST

START_TEST(another_qdisc_at_its_place)
{
    netns_run("tc qdisc del dev br0 clsact");
    netns_run("tc qdisc add dev br0 ingress");
    is_repaired("is gone");
    ck_assert(netns_says("tc qdisc show dev br0", "clsact"));
}
END_TEST

START_TEST(what_others_have_stays)
{
    static const char *const foreign[] = {
        "ip rule add pref 64 iif br0 fwmark 0x8000000/0x8000000 blackhole", /* the same, but of another protocol */
        "ip rule add pref 64 iif br0 fwmark 0x1 lookup 7",
        "ip rule add pref 9 iif br0 lookup 7",
        "tc filter add dev br0 ingress pref 2 protocol ip u32 match u32 0 0 flowid 1:1",
    };
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        netns_run(foreign[i]);
        is_whole();
    }
    netns_run("ip rule del pref 64 iif br0 protocol 173");
    netns_run("tc filter del dev br0 ingress pref 1");
    is_repaired("is gone");
    ck_assert_uint_eq(netns_count("ip rule show", "iif br0"), 4);
    ck_assert(netns_says("tc filter show dev br0 ingress", "pref 2"));
}
END_TEST

START_TEST(rules_of_an_older_version_go)
{
    netns_run("ip rule add pref 1 iif br0 fwmark 0x8000000/0x8000000 blackhole protocol 173");
    is_repaired("of an older version");
    ck_assert(!netns_says("ip rule show pref 1", "br0"));
}
END_TEST

/* What wg-quick sets up: the rule that is added last has to come first. */
START_TEST(rules_without_a_priority_keep_their_order)
{
    netns_run("ip rule add not fwmark 51820 table 51820");
    netns_run("ip rule add table main suppress_prefixlength 0");
    is_whole();
    ck_assert(netns_says("ip rule show pref 62", "main"));
    ck_assert(netns_says("ip rule show pref 63", "51820"));
}
END_TEST

START_TEST(it_follows_the_settings)
{
    struct gate other = {.bridge = "br0", .subnet = {.address = 0x0a010000, .prefix = 16}, .ipv6 = true};
    const struct gate neighbour = {.bridge = "br1", .subnet = {.address = 0x0a020000, .prefix = 24}};
    netns_run("ip link add br1 type bridge");
    MUST(gate_apply(&neighbour, &err));
    MUST(gate_check(&other, &seen, &err));
    ck_assert_str_ne(seen.found, "");
    MUST(gate_apply(&other, &err));
    MUST(gate_check(&other, &seen, &err));
    ck_assert_str_eq(seen.found, "");
    ck_assert(!netns_says("ip rule show", "172.30.0.0"));
    ck_assert(netns_says("ip rule show", "10.1.0.0/16"));
    ck_assert(netns_says("ip -6 rule show", "iif br0"));
    other.ipv6 = false;
    MUST(gate_check(&other, &seen, &err));
    ck_assert_ptr_nonnull(strstr(seen.found, "not wanted"));
    MUST(gate_apply(&other, &err));
    ck_assert(!netns_says("ip -6 rule show", "iif br0"));
    MUST(gate_check(&neighbour, &seen, &err)); /* another daemon's is its own */
    ck_assert_str_eq(seen.found, "");
}
END_TEST

START_TEST(without_a_bridge)
{
    netns_run("ip link del br0");
    look();
    ck_assert_str_eq(seen.found, "there is no bridge");
}
END_TEST

/* Packets. Each way is open while all is well, and closed while the tables are gone, or one of them. */

static struct frame udp_frame(int guest, uint32_t address)
{
    struct {
        struct udphdr head;
        char text[8];
    } udp = {.head = {.source = htons(1000), .dest = htons(PORT), .len = htons(sizeof udp)}, .text = "guest"};
    struct frame f = frame_ether(bridge_mac, guests[guest].mac, ETHERTYPE_IP);
    frame_add_ipv4(&f, guests[guest].address, address, IPPROTO_UDP, &udp, sizeof udp);
    return f;
}

static void guest_sends(uint32_t address)
{
    const struct frame f = udp_frame(0, address);
    frame_send(net.tap[0], &f);
}

static bool gets_out(void)
{
    AUTO_CLOSE int fd = beyond_server(PORT);
    guest_sends(far);
    return comes_in(fd, NULL, QUIET_MS);
}

static bool reaches_the_host(uint32_t address)
{
    AUTO_CLOSE int fd = udp_server(PORT);
    guest_sends(address);
    return comes_in(fd, NULL, QUIET_MS);
}

static bool is_udp_to_port(const uint8_t *frame, size_t len, const void *unused)
{
    uint16_t port = 0;
    (void)unused;
    if (len < 42 || frame[12] != 8 || frame[13] != 0 || frame[23] != IPPROTO_UDP) {
        return false;
    }
    memcpy(&port, frame + 36, sizeof port);
    return ntohs(port) == PORT;
}

static bool reaches_the_other(void)
{
    netns_run("ip neigh replace 172.30.0.3 lladdr 02:5a:00:00:01:02 dev br0");
    guest_sends(guests[1].address);
    return frame_await(net.tap[1], VNET_HEADER_BYTES, is_udp_to_port, no_frame, QUIET_MS);
}

static bool is_reached_from_beyond(uint32_t address)
{
    netns_run("ip neigh replace 172.30.0.2 lladdr 02:5a:00:00:01:01 dev br0");
    netns_go(net.beyond);
    AUTO_CLOSE int fd = udp_server(0);
    host_sends(fd, address, PORT);
    netns_go(net.host);
    return frame_await(net.tap[0], VNET_HEADER_BYTES, is_udp_to_port, no_frame, QUIET_MS);
}

static bool is_reached_from_the_host(void)
{
    netns_run("ip neigh replace 172.30.0.2 lladdr 02:5a:00:00:01:01 dev br0");
    AUTO_CLOSE int fd = udp_server(0);
    host_sends(fd, guests[0].address, PORT);
    return frame_await(net.tap[0], VNET_HEADER_BYTES, is_udp_to_port, no_frame, QUIET_MS);
}

/* Without the gate all of these would succeed while the tables are gone: see open_without_the_gate. */
static const char *const removals[] = {
    "nft flush ruleset",
    "nft delete table bridge smartvmtest",
    "nft delete table inet smartvmtest",
    "nft flush chain bridge smartvmtest prerouting",
    "nft flush table inet smartvmtest",
    "nft add table inet smartvmtest { flags dormant ; }",
};

START_TEST(closed_without_the_tables)
{
    ck_assert(gets_out());
    netns_run(removals[_i]);
    ck_assert(!gets_out());
    ck_assert(!reaches_the_other());
    ck_assert(!reaches_the_host(gateway));
    ck_assert(!reaches_the_host(HOST));
    apply();
    ck_assert(gets_out());
    ck_assert(!reaches_the_host(gateway)); /* the tables' own judgement */
}
END_TEST

static const char *const of_inet[] = {"nft flush ruleset", "nft delete table inet smartvmtest", "nft flush chain inet smartvmtest forward",
                                      "nft flush table inet smartvmtest"};

START_TEST(nobody_gets_in_without_the_tables)
{
    netns_run(of_inet[_i]);
    ck_assert(!is_reached_from_beyond(guests[0].address));
    ck_assert(is_reached_from_the_host()); /* what the host itself sends is its own affair */
    apply();
}
END_TEST

START_TEST(in_while_all_is_well)
{
    const struct nft_port published = {
        .protocol = IPPROTO_UDP, .host_port = PORT, .host.version = IP_V4, .address = ip_addr_from_ipv4(guests[0].address), .guest_port = PORT};
    MUST(nft_ports_change(base.mark, &published, 1, NULL, 0, &err));
    ck_assert(is_reached_from_the_host());
    ck_assert(is_reached_from_beyond(HOST));
    ck_assert(has_gateway(0, ANSWER_MS));
}
END_TEST

/* That the tests above prove something. */
START_TEST(open_without_the_gate)
{
    netns_run("tc qdisc del dev br0 clsact");
    netns_run("ip rule del pref 64 iif br0");
    netns_run("ip rule del pref 64 iif lo");
    ck_assert(gets_out());
    netns_run("nft flush ruleset");
    ck_assert(gets_out() || reaches_the_host(gateway)); /* untranslated, the first one may lack its way back */
    ck_assert(reaches_the_host(gateway));
    ck_assert(reaches_the_other());
    ck_assert(is_reached_from_beyond(guests[0].address));
}
END_TEST

/* The marks are for the way alone: who comes after sees none. */
START_TEST(no_mark_is_left)
{
    netns_run("nft add table inet judge");
    netns_run("nft add chain inet judge out { type filter hook postrouting priority 400 ; }");
    netns_run("nft add chain inet judge in { type filter hook input priority 400 ; }");
    netns_run("nft add rule inet judge out oifname up0 meta mark & 0x0c000000 != 0 counter drop");
    netns_run("nft add rule inet judge in meta mark & 0x0c000000 != 0 counter drop");
    ck_assert(gets_out());
    ck_assert(has_gateway(0, ANSWER_MS));
    ck_assert_uint_eq(netns_count("nft list table inet judge", "packets 0 "), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_host, end_host);
    tcase_add_test(tests, what_it_is_made_of);
    tcase_add_loop_test(tests, what_others_change_is_seen_and_mended, 0, (int)ARRAY_LEN(changes));
    tcase_add_test(tests, another_filter_at_its_place);
    tcase_add_test(tests, another_qdisc_at_its_place);
    tcase_add_test(tests, what_others_have_stays);
    tcase_add_test(tests, rules_of_an_older_version_go);
    tcase_add_test(tests, rules_without_a_priority_keep_their_order);
    tcase_add_test(tests, it_follows_the_settings);
    tcase_add_test(tests, without_a_bridge);
    tcase_add_loop_test(tests, closed_without_the_tables, 0, (int)ARRAY_LEN(removals));
    tcase_add_loop_test(tests, nobody_gets_in_without_the_tables, 0, (int)ARRAY_LEN(of_inet));
    tcase_add_test(tests, in_while_all_is_well);
    tcase_add_test(tests, open_without_the_gate);
    tcase_add_test(tests, no_mark_is_left);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
