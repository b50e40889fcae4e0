/* Published ports by real packets: from beyond the uplink, from the host itself, from its loopback, and from guests, which may not. */
#include "host/nft/ports.h"

#include "tests/host/guest_box.h"

enum { LOOPBACK = 0x7f000001, HOST = 0x0a090001, OUT = 8053, IN = 53 };

#define GUEST0 \
    { \
        .version = IP_V4, .bytes = { 172, 30, 0, 2 } \
    }
static const struct nft_port port_udp = {.protocol = IPPROTO_UDP, .host_port = OUT, .host.version = IP_V4, .address = GUEST0, .guest_port = IN};
static const struct nft_port port_tcp = {.protocol = IPPROTO_TCP, .host_port = OUT, .host.version = IP_V4, .address = GUEST0, .guest_port = 80};

static void publish(const struct nft_port *port)
{
    MUST(nft_ports_change(base.mark, port, 1, NULL, 0, &err));
}

static void setup(void)
{
    make_host();
    publish(&port_udp);
}

/* The addresses and ports of a packet to the guest. */
struct seen {
    uint8_t protocol;
    uint16_t to_port;
    uint32_t from;
    uint16_t from_port;
};

static struct seen seen;

/* An IPv4 packet of seen.protocol to seen.to_port: notes where it comes from. */
static bool is_wanted(const uint8_t *frame, size_t len, const void *wanted)
{
    uint16_t port = 0;
    (void)wanted;
    if (len < 38 || frame[12] != 8 || frame[13] != 0 || frame[23] != seen.protocol) {
        return false;
    }
    memcpy(&port, frame + 36, sizeof port);
    if (ntohs(port) != seen.to_port) {
        return false;
    }
    memcpy(&seen.from, frame + 26, sizeof seen.from);
    memcpy(&seen.from_port, frame + 34, sizeof seen.from_port);
    seen.from = ntohl(seen.from);
    seen.from_port = ntohs(seen.from_port);
    return true;
}

static bool guest_sees(int guest, uint8_t protocol, uint16_t port, int timeout_ms)
{
    seen = (struct seen){.protocol = protocol, .to_port = port};
    return frame_await(net.tap[guest], VNET_HEADER_BYTES, is_wanted, NULL, timeout_ms);
}

/* The guest's answer to what it saw. */
static void guest_answers(int guest)
{
    struct {
        struct udphdr head;
        char text[8];
    } udp = {.head = {.source = htons(IN), .dest = htons(seen.from_port), .len = htons(sizeof udp)}, .text = "answer"};
    struct frame f = frame_ether(bridge_mac, guests[guest].mac, ETHERTYPE_IP);
    frame_add_ipv4(&f, guests[guest].address, seen.from, IPPROTO_UDP, &udp, sizeof udp);
    frame_send(net.tap[guest], &f);
}

/* Asks from this namespace; whether the answer comes, and from where it was asked. */
static bool is_answered(uint32_t address, int timeout_ms)
{
    struct sockaddr_in from = {0};
    AUTO_CLOSE int fd = udp_server(0);
    host_sends(fd, address, OUT);
    if (!guest_sees(0, IPPROTO_UDP, IN, ANSWER_MS)) {
        return false;
    }
    guest_answers(0);
    if (!comes_in(fd, &from, timeout_ms)) {
        return false;
    }
    ck_assert_uint_eq(ntohl(from.sin_addr.s_addr), address);
    ck_assert_uint_eq(ntohs(from.sin_port), OUT);
    return true;
}

START_TEST(from_beyond)
{
    netns_go(net.beyond);
    bool answered = is_answered(HOST, ANSWER_MS);
    netns_go(net.host);
    ck_assert(answered);
    ck_assert_uint_eq(seen.from, far); /* the guest sees who asks */
}
END_TEST

START_TEST(from_the_host)
{
    static const uint32_t addresses[] = {HOST, 0xac1e0001};
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        ck_assert_msg(is_answered(addresses[i], ANSWER_MS), "address %zu", i);
        ck_assert_uint_eq(seen.from, addresses[i]);
    }
}
END_TEST

START_TEST(from_loopback)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(OUT), .sin_addr.s_addr = htonl(LOOPBACK)};
    AUTO_CLOSE int fd = udp_server(0);
    ck_assert(sendto(fd, "host", 4, 0, (struct sockaddr *)&to, sizeof to) < 0); /* a loopback source does not leave, unless the bridge lets it */
    MUST(sysctl_number_set("ipv4", "conf", base.bridge, "route_localnet", 1, &err));
    ck_assert(is_answered(LOOPBACK, ANSWER_MS));
    ck_assert_uint_eq(seen.from, gateway); /* which the guest can answer */
}
END_TEST

START_TEST(tcp_has_a_map_of_its_own)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(OUT), .sin_addr.s_addr = htonl(HOST)};
    publish(&port_tcp);
    netns_go(net.beyond);
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno == EINPROGRESS);
    netns_go(net.host);
    ck_assert(guest_sees(0, IPPROTO_TCP, 80, ANSWER_MS));
}
END_TEST

START_TEST(what_is_not_published_stays_out)
{
    netns_go(net.beyond);
    AUTO_CLOSE int fd = udp_server(0);
    host_sends(fd, HOST, OUT + 1);
    host_sends(fd, guests[0].address, OUT); /* not to the host: nobody asked for translation */
    host_sends(fd, guests[0].address, IN);  /* the guest itself, past the host */
    netns_go(net.host);
    ck_assert(!guest_sees(0, IPPROTO_UDP, IN, QUIET_MS));
    ck_assert(!guest_sees(0, IPPROTO_UDP, OUT, QUIET_MS));
    MUST(nft_ports_change(base.mark, NULL, 0, &port_udp, 1, &err));
    netns_go(net.beyond);
    AUTO_CLOSE int other = udp_server(0);
    host_sends(other, HOST, OUT);
    netns_go(net.host);
    ck_assert(!guest_sees(0, IPPROTO_UDP, IN, QUIET_MS));
}
END_TEST

static void guest_asks(int guest, uint32_t address, uint16_t port)
{
    struct frame f = frame_udp(bridge_mac, guests[guest].mac, guests[guest].address, address, port);
    frame_send(net.tap[guest], &f);
}

START_TEST(guests_are_not_translated)
{
    static const uint32_t addresses[] = {HOST, 0xac1e0001, LOOPBACK};
    AUTO_CLOSE int server = udp_server(OUT); /* of the host, on all its addresses */
    MUST(sysctl_number_set("ipv4", "conf", base.bridge, "route_localnet", 1, &err));
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        guest_asks(1, addresses[i], OUT);
        ck_assert_msg(!guest_sees(0, IPPROTO_UDP, IN, QUIET_MS), "address %zu", i);
        ck_assert_msg(!comes_in(server, NULL, QUIET_MS), "address %zu", i);
    }
    ck_assert(is_answered(HOST, ANSWER_MS)); /* the way is open, but not for them */
}
END_TEST

START_TEST(guests_do_not_reach_loopback)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(7070), .sin_addr.s_addr = htonl(LOOPBACK)};
    AUTO_CLOSE int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct config_port open = {.protocol = IPPROTO_UDP, .port = 7070};
    struct nft_base opened = base;
    opened.open_ports = &open;
    opened.open_port_count = 1;
    MUST(nft_base_apply(&opened, uplink, 1, guests, GUESTS, &err));
    MUST(sysctl_number_set("ipv4", "conf", base.bridge, "route_localnet", 1, &err));
    ck_assert(bind(server, (struct sockaddr *)&here, sizeof here) == 0);
    for (uint32_t last = 1; last < 4; last++) {
        guest_asks(0, 0x7f000000 + last, 7070); /* open at the gateway's address, and there only */
    }
    ck_assert(!comes_in(server, NULL, QUIET_MS));
    host_sends(server, LOOPBACK, 7070);
    ck_assert(comes_in(server, NULL, ANSWER_MS));
}
END_TEST

/* A second interface of the host that is no uplink: whoever comes in there is answered there, and nothing else leaves there. */
START_TEST(by_another_interface_than_the_uplink)
{
    const char *const elsewhere[] = {"up9"};
    struct sockaddr_in from = {0};
    MUST(nft_uplinks_replace(base.mark, elsewhere, 1, &err));
    netns_go(net.beyond);
    AUTO_CLOSE int fd = udp_server(7777);
    host_sends(fd, HOST, OUT);
    netns_go(net.host);
    ck_assert(guest_sees(0, IPPROTO_UDP, IN, ANSWER_MS));
    guest_answers(0);
    ck_assert(comes_in(fd, &from, ANSWER_MS));
    ck_assert_uint_eq(ntohs(from.sin_port), OUT);
    guest_asks(0, far, 7777);
    ck_assert(!comes_in(fd, NULL, QUIET_MS));
    MUST(nft_uplinks_replace(base.mark, uplink, 1, &err));
    guest_asks(0, far, 7777);
    ck_assert(comes_in(fd, NULL, ANSWER_MS));
}
END_TEST

/* ---- elements ---- */

static void check_same(const struct nft_port *wanted, size_t count)
{
    AUTO_FREE struct nft_port *list = NULL;
    size_t found = 99;
    MUST(nft_ports_list(base.mark, &list, &found, &err));
    ck_assert_uint_eq(found, count);
    for (size_t i = 0; i < found; i++) {
        ck_assert(nft_port_compare(&list[i], &wanted[i]) == 0 && ip_addr_equal(&list[i].address, &wanted[i].address) &&
                  list[i].guest_port == wanted[i].guest_port);
    }
}

START_TEST(elements_come_and_go)
{
    struct nft_port moved = port_udp;
    const struct nft_port both[] = {port_tcp, port_udp};
    moved.address.bytes[3]++;
    moved.guest_port = 65535;
    check_same(&port_udp, 1);
    publish(&port_tcp);
    check_same(both, 2);
    ck_assert(netns_says("nft list map inet smartvmtest ports_tcp", "8053 : 172.30.0.2 . 80"));
    MUST(nft_ports_change(base.mark, &moved, 1, both, 2, &err)); /* one of them leads elsewhere now */
    check_same(&moved, 1);
    ck_assert(nft_ports_change(base.mark, NULL, 0, &port_tcp, 1, &err) != 0); /* is not there: the caller has not looked */
    ck_assert_int_eq(err.code, ERR_FIREWALL_SETUP_FAILED);
    check_same(&moved, 1);
    MUST(nft_ports_change(base.mark, NULL, 0, NULL, 0, &err));
    netns_run("nft flush ruleset");
    check_same(NULL, 0);
}
END_TEST

/* One in each map, in the order of nft_port_compare(). */
START_TEST(every_map_gives_back_what_it_got)
{
    const struct ip_addr guest6 = {.version = IP_V6, .bytes = {0xfd, [15] = 2}};
    const struct nft_port all[] = {
        port_tcp,
        {.protocol = IPPROTO_TCP, .host_port = OUT + 1, .host = ip_addr_from_ipv4(HOST), .address = GUEST0, .guest_port = 81},
        {.protocol = IPPROTO_TCP, .host_port = OUT + 1, .host = ip_addr_from_ipv4(LOOPBACK), .address = GUEST0, .guest_port = 82},
        {.protocol = IPPROTO_TCP, .host_port = OUT, .host.version = IP_V6, .address = guest6, .guest_port = 80},
        port_udp,
        {.protocol = IPPROTO_UDP, .host_port = 1, .host = {.version = IP_V6, .bytes = {0x20, 1, 0xd, 0xb8, [15] = 7}}, .address = guest6, .guest_port = 65535},
    };
    MUST(nft_ports_change(base.mark, NULL, 0, &port_udp, 1, &err));
    MUST(nft_ports_change(base.mark, all, ARRAY_LEN(all), NULL, 0, &err));
    check_same(all, ARRAY_LEN(all));
    ck_assert(netns_says("nft list map inet smartvmtest ports_at4", "tcp . 10.9.0.1 . 8054 : 172.30.0.2 . 81"));
    ck_assert(netns_says("nft list map inet smartvmtest ports_at6", "udp . 2001:db8::7 . 1 : fd00::2 . 65535"));
    ck_assert(netns_says("nft list map inet smartvmtest ports6", "tcp . 8053 : fd00::2 . 80"));
    MUST(nft_ports_change(base.mark, NULL, 0, all, ARRAY_LEN(all), &err));
    check_same(NULL, 0);
}
END_TEST

static struct nft_port at_address(uint32_t address)
{
    struct nft_port port = port_udp;
    port.host = ip_addr_from_ipv4(address);
    return port;
}

START_TEST(at_one_address_of_the_host)
{
    const struct nft_port there = at_address(HOST);
    MUST(nft_ports_change(base.mark, &there, 1, &port_udp, 1, &err));
    ck_assert(is_answered(HOST, ANSWER_MS));
    AUTO_CLOSE int fd = udp_server(0);
    host_sends(fd, 0xac1e0001, OUT);
    ck_assert(!guest_sees(0, IPPROTO_UDP, IN, QUIET_MS));
    netns_go(net.beyond);
    bool answered = is_answered(HOST, ANSWER_MS);
    netns_go(net.host);
    ck_assert(answered);
}
END_TEST

/* Also where somebody lets loopback addresses in from outside, as some tools do on all interfaces. */
START_TEST(at_the_loopback_for_the_host_alone)
{
    const struct nft_port there = at_address(LOOPBACK);
    MUST(nft_ports_change(base.mark, &there, 1, &port_udp, 1, &err));
    netns_run("sysctl -q -w net.ipv4.conf.all.route_localnet=1");
    ck_assert(is_answered(LOOPBACK, ANSWER_MS));
    netns_go(net.beyond);
    netns_run("ip route add 127.0.0.1/32 via 10.9.0.1 table 77");
    netns_run("ip rule add to 127.0.0.1/32 pref 0 table 77");
    netns_run("ip rule add pref 1 table local");
    netns_run("ip rule del pref 0 table local");
    netns_run("sysctl -q -w net.ipv4.conf.all.route_localnet=1");
    AUTO_CLOSE int fd = udp_server(0);
    host_sends(fd, HOST, OUT);
    host_sends(fd, LOOPBACK, OUT);
    netns_go(net.host);
    ck_assert(!guest_sees(0, IPPROTO_UDP, IN, QUIET_MS));
}
END_TEST

/* The kernel moves a hash table that grew into a larger one, in the background: a list that is asked for meanwhile must be whole all the same. */
START_TEST(a_list_is_whole_while_the_table_grows)
{
    enum { COUNT = 3000, ROUNDS = 10 };
    AUTO_FREE struct nft_port *many = calloc(COUNT, sizeof *many);
    MUST(nft_ports_change(base.mark, NULL, 0, &port_udp, 1, &err));
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = (struct nft_port){.protocol = IPPROTO_TCP,
                                    .host_port = (uint16_t)(20000 + i),
                                    .host.version = IP_V4,
                                    .address = ip_addr_from_ipv4(0xac1e0002),
                                    .guest_port = (uint16_t)(i + 1)};
    }
    for (int i = 0; i < ROUNDS; i++) {
        MUST(nft_ports_change(base.mark, many, COUNT, NULL, 0, &err));
        check_same(many, COUNT);
        MUST(nft_ports_change(base.mark, NULL, 0, many, COUNT, &err)); /* which makes it small again */
        check_same(NULL, 0);
    }
}
END_TEST

START_TEST(tables_made_anew_have_them_from_the_start)
{
    enum { COUNT = 3000 };
    AUTO_FREE struct nft_port *many = calloc(COUNT, sizeof *many);
    struct nft_base with = base;
    char found[NFT_FOUND_MAX];
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = (struct nft_port){.protocol = i < COUNT / 2 ? IPPROTO_TCP : IPPROTO_UDP,
                                    .host_port = (uint16_t)(20000 + i),
                                    .host.version = IP_V4,
                                    .address = ip_addr_from_ipv4(0xac1e0002 + (uint32_t)(i % 200)),
                                    .guest_port = (uint16_t)(i + 1)};
    }
    with.ports = many;
    with.port_count = COUNT;
    MUST(nft_base_apply(&with, uplink, 1, guests, GUESTS, &err));
    check_same(many, COUNT);
    MUST(nft_base_check(&with, found, &err));
    ck_assert_str_eq(found, "");
    MUST(nft_ports_change(base.mark, NULL, 0, many, COUNT, &err));
    check_same(NULL, 0);
    MUST(nft_ports_change(base.mark, many, COUNT, NULL, 0, &err));
    check_same(many, COUNT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host/ports");
    TCase *tcase = tcase_create("ports");
    tcase_add_checked_fixture(tcase, setup, end_host);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, from_beyond);
    tcase_add_test(tcase, from_the_host);
    tcase_add_test(tcase, from_loopback);
    tcase_add_test(tcase, tcp_has_a_map_of_its_own);
    tcase_add_test(tcase, what_is_not_published_stays_out);
    tcase_add_test(tcase, guests_are_not_translated);
    tcase_add_test(tcase, guests_do_not_reach_loopback);
    tcase_add_test(tcase, by_another_interface_than_the_uplink);
    tcase_add_test(tcase, elements_come_and_go);
    tcase_add_test(tcase, every_map_gives_back_what_it_got);
    tcase_add_test(tcase, at_one_address_of_the_host);
    tcase_add_test(tcase, at_the_loopback_for_the_host_alone);
    tcase_add_test(tcase, a_list_is_whole_while_the_table_grows);
    tcase_add_test(tcase, tables_made_anew_have_them_from_the_start);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
