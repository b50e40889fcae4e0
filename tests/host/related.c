/*
 * What is related to a known flow: ICMP errors pass, and what a helper of the connection tracking has announced is judged as any other flow. The helper is that of
 * TFTP, which somebody else on the host has turned on: one packet to port 69 announces a flow from any port of the asked one.
 */
#include "core/json.h"
#include "host/nft/drops.h"
#include "tests/host/guest_box.h"

#include <netinet/ip_icmp.h>

enum { TFTP = 69, OTHER_PORT = 6001, GUEST_PORT = 5000 /* of frame_udp() */ };

static struct policy policy;
static struct nft_base judged; /* without masquerade, so that both ends know each other by their addresses */

static void make_judged(const char *text)
{
    static const struct address_sets none = {.count = 0};
    static struct nft_policies policies;
    json_t *json = NULL;
    MUST(json_parse(text, strlen(text), &json, &err));
    MUST(policy_parse(json, &policy, &err));
    json_decref(json);
    policies = (struct nft_policies){.host = &policy, .sets = &none};
    judged = base;
    judged.masquerade = false;
    judged.policies = &policies;
    MUST(nft_base_apply(&judged, uplink, 1, guests, GUESTS, &err));
}

static void add_helper(void)
{
    netns_run("nft add table inet foreign");
    netns_run("nft add ct helper inet foreign tftp { type \"tftp\" protocol udp; }");
    netns_run("nft add chain inet foreign pre { type filter hook prerouting priority 0; }");
    netns_run("nft add chain inet foreign out { type filter hook output priority 0; }");
    netns_run("nft add rule inet foreign pre udp dport 69 ct helper set tftp");
    netns_run("nft add rule inet foreign out udp dport 69 ct helper set tftp");
}

static size_t expected_flows(void)
{
    return netns_count("cat /proc/net/nf_conntrack_expect", "proto=17");
}

/* A read request of TFTP from the guest. */
static struct frame request_to(uint32_t to)
{
    struct frame f = frame_udp(bridge_mac, guests[0].mac, guests[0].address, to, TFTP);
    f.bytes[42] = 0;
    f.bytes[43] = 1;
    return f;
}

static void ask(int fd, uint32_t address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(TFTP), .sin_addr.s_addr = htonl(address)};
    ck_assert_int_eq(sendto(fd, "\0\1file\0octet", 12, 0, (struct sockaddr *)&to, sizeof to), 12);
}

static bool comes_from(const uint8_t *frame, size_t len, const void *wanted)
{
    const uint16_t port = htons(*(const uint16_t *)wanted);
    return len >= 42 && frame[12] == 8 && frame[13] == 0 && frame[23] == IPPROTO_UDP && memcmp(frame + 34, &port, sizeof port) == 0;
}

static bool guest_gets(uint16_t from_port, int timeout_ms)
{
    return frame_await(net.tap[0], VNET_HEADER_BYTES, comes_from, &from_port, timeout_ms);
}

/* "Asked": the guest asks a server outside, which answers from another port. */
static void asks_outside(bool masquerade)
{
    struct sockaddr_in from;
    const int server = beyond_server(TFTP);
    const int other = beyond_server(OTHER_PORT);
    const struct frame request = request_to(far);
    judged.masquerade = masquerade;
    MUST(nft_base_apply(&judged, uplink, 1, guests, GUESTS, &err));
    frame_send(net.tap[0], &request);
    ck_assert(comes_in(server, &from, ANSWER_MS));
    ck_assert_uint_eq(expected_flows(), 1);
    host_sends(server, ntohl(from.sin_addr.s_addr), ntohs(from.sin_port));
    ck_assert_msg(guest_gets(TFTP, ANSWER_MS), "an answer of the flow itself");
    host_sends(other, ntohl(from.sin_addr.s_addr), ntohs(from.sin_port));
    (void)close(server);
    (void)close(other);
}

START_TEST(announced_to_a_guest)
{
    const bool masquerade = _i == 1; /* then the helper translates what it has announced to the guest's address */
    add_helper();
    make_judged("{}");
    asks_outside(masquerade);
    ck_assert(!guest_gets(OTHER_PORT, QUIET_MS));
}
END_TEST

START_TEST(announced_to_a_guest_and_allowed)
{
    add_helper();
    make_judged(
        "{\"ingress\": {\"default_action\": \"deny\", \"rules\": [{\"action\": \"allow\", \"from\": \"10.9.0.2\", \"protocol\": \"udp\", \"ports\": 5000}]}}");
    asks_outside(_i == 1);
    ck_assert(guest_gets(OTHER_PORT, ANSWER_MS));
}
END_TEST

/* A rule for a port of the host is meant for published ports. */
START_TEST(announced_to_a_port_of_the_host)
{
    add_helper();
    make_judged("{\"ingress\": {\"default_action\": \"deny\", \"rules\": [{\"action\": \"allow\", \"protocol\": \"udp\", \"host_port\": 5000}]}}");
    asks_outside(true);
    ck_assert(!guest_gets(OTHER_PORT, QUIET_MS));
}
END_TEST

START_TEST(announced_by_a_guest)
{
    const int client = beyond_server(OTHER_PORT);
    const struct frame answer = frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, OTHER_PORT);
    struct frame right = answer;
    const uint16_t asked = htons(TFTP);
    memcpy(right.bytes + 34, &asked, sizeof asked);
    add_helper();
    make_judged("{\"egress\": {\"default_action\": \"deny\", \"rules\": []},"
                " \"ingress\": {\"default_action\": \"deny\", \"rules\": [{\"action\": \"allow\", \"protocol\": \"udp\", \"ports\": 69}]}}");
    ask(client, guests[0].address);
    ck_assert(guest_gets(OTHER_PORT, ANSWER_MS));
    ck_assert_uint_eq(expected_flows(), 1);
    frame_send(net.tap[0], &right);
    ck_assert_msg(comes_in(client, NULL, ANSWER_MS), "an answer of the flow itself");
    frame_send(net.tap[0], &answer);
    ck_assert(!comes_in(client, NULL, QUIET_MS));
    (void)close(client);
}
END_TEST

START_TEST(announced_by_a_guest_to_the_host)
{
    struct nft_drops drops;
    const int client = udp_server(OTHER_PORT);
    const struct frame answer = frame_udp(bridge_mac, guests[0].mac, guests[0].address, gateway, OTHER_PORT);
    add_helper();
    make_judged("{}");
    ask(client, guests[0].address);
    ck_assert(guest_gets(OTHER_PORT, ANSWER_MS));
    ck_assert_uint_eq(expected_flows(), 1);
    frame_send(net.tap[0], &answer);
    ck_assert(!comes_in(client, NULL, QUIET_MS));
    MUST(nft_drops_get(judged.mark, &guests[0], &drops, &err));
    ck_assert_uint_eq(drops.packets[NFT_DROP_HOST_PORT], 1);
    (void)close(client);
}
END_TEST

static bool is_unreachable(const uint8_t *frame, size_t len, const void *wanted)
{
    (void)wanted;
    return len >= 36 && frame[12] == 8 && frame[13] == 0 && frame[23] == IPPROTO_ICMP && frame[34] == ICMP_UNREACH && frame[35] == ICMP_UNREACH_PORT;
}

START_TEST(errors_reach_a_guest)
{
    const struct frame out = frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, 7799);
    make_judged("{}");
    for (int i = 0; i < 2; i++) {
        judged.masquerade = i == 1;
        MUST(nft_base_apply(&judged, uplink, 1, guests, GUESTS, &err));
        frame_send(net.tap[0], &out);
        ck_assert_msg(frame_await(net.tap[0], VNET_HEADER_BYTES, is_unreachable, NULL, ANSWER_MS), "masquerade %d", i);
    }
}
END_TEST

/* That nobody listens at the port where the packet was sent to; `from_port` is that of the packet. */
static struct frame unreachable(uint16_t from_port)
{
    struct {
        struct icmphdr head;
        struct iphdr ip;
        struct udphdr udp;
    } error = {.head = {.type = ICMP_UNREACH, .code = ICMP_UNREACH_PORT},
               .ip = {.version = 4, .ihl = 5, .tot_len = htons(32), .ttl = 63, .protocol = IPPROTO_UDP, .saddr = htonl(far), .daddr = htonl(guests[0].address)},
               .udp = {.source = htons(from_port), .dest = htons(GUEST_PORT), .len = htons(12)}};
    struct frame f = frame_ether(bridge_mac, guests[0].mac, ETHERTYPE_IP);
    error.ip.check = frame_checksum(0, &error.ip, sizeof error.ip);
    error.head.checksum = frame_checksum(0, &error, sizeof error);
    frame_add_ipv4(&f, guests[0].address, far, IPPROTO_ICMP, &error, sizeof error);
    return f;
}

START_TEST(errors_of_a_guest)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(GUEST_PORT), .sin_addr.s_addr = htonl(guests[0].address)};
    struct nft_drops drops;
    int problem = 0;
    socklen_t len = sizeof problem;
    const int client = beyond_server(OTHER_PORT);
    const struct frame error = unreachable(OTHER_PORT);
    const struct frame of_no_flow = unreachable(OTHER_PORT + 1);
    make_judged("{\"egress\": {\"default_action\": \"deny\", \"rules\": []}, \"ingress\": {\"default_action\": \"allow\", \"rules\": []}}");
    ck_assert_int_eq(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(send(client, "beyond", 6, 0), 6);
    ck_assert(guest_gets(OTHER_PORT, ANSWER_MS));
    frame_send(net.tap[0], &error);
    for (int tries = 0; tries < 100 && problem == 0; tries++) {
        (void)poll(NULL, 0, 10);
        ck_assert_int_eq(getsockopt(client, SOL_SOCKET, SO_ERROR, &problem, &len), 0);
    }
    ck_assert_int_eq(problem, ECONNREFUSED);
    frame_send(net.tap[0], &of_no_flow);
    MUST(nft_drops_get(judged.mark, &guests[0], &drops, &err));
    ck_assert_uint_eq(drops.packets[NFT_DROP_INVALID_FLOW], 1);
    (void)close(client);
}
END_TEST

static void free_policy(void)
{
    policy_free(&policy);
    memset(&policy, 0, sizeof policy);
    end_host();
}

int main(void)
{
    Suite *suite = suite_create("host/related");
    TCase *tc = tcase_create("related");
    tcase_add_checked_fixture(tc, make_host, free_policy);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, announced_to_a_guest, 0, 2);
    tcase_add_loop_test(tc, announced_to_a_guest_and_allowed, 0, 2);
    tcase_add_test(tc, announced_to_a_port_of_the_host);
    tcase_add_test(tc, announced_by_a_guest);
    tcase_add_test(tc, announced_by_a_guest_to_the_host);
    tcase_add_test(tc, errors_reach_a_guest);
    tcase_add_test(tc, errors_of_a_guest);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
