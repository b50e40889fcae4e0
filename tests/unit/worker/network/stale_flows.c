/* Which flows are cut: those that would be decided otherwise now, and no other. A table of situations. */
#include "worker/network/stale_flows.h"

#include "core/cleanup.h"

#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/*
 * The host is 10.0.0.1 and fd00::1 (to guests), 192.0.2.1 (its uplink), and 198.51.100.7 (another interface). Guests are 10.0.0.0/24 and fd00::/64.
 * Published: tcp 80 and udp 53 lead to 10.0.0.2, tcp 90 only
 * from 192.0.2.1; tcp 80 of IPv6 to fd00::2.
 */
static struct ip_addr local[4], uplinks[1], ended[1];
#define GUEST_ADDRESS \
    { \
        .version = IP_V4, .bytes = { 10, 0, 0, 2 } \
    }
static const struct nft_port ports[] = {
    {.protocol = IPPROTO_TCP, .host_port = 80, .host.version = IP_V4, .address = GUEST_ADDRESS, .guest_port = 8080},
    {.protocol = IPPROTO_TCP, .host_port = 90, .host = {IP_V4, {192, 0, 2, 1}}, .address = GUEST_ADDRESS, .guest_port = 9090},
    {.protocol = IPPROTO_TCP, .host_port = 80, .host.version = IP_V6, .address = {IP_V6, {0xfd, [15] = 2}}, .guest_port = 8080},
    {.protocol = IPPROTO_UDP, .host_port = 53, .host.version = IP_V4, .address = GUEST_ADDRESS, .guest_port = 5353},
};
static struct ip_range closed[2];
static struct stale_flows judge;

static struct ip_addr address(const char *text)
{
    struct ip_addr ret;
    ck_assert_msg(ip_addr_parse(text, &ret), "%s", text);
    return ret;
}

static void setup(void)
{
    static const char *const locals[] = {"10.0.0.1", "192.0.2.1", "198.51.100.7", "fd00::1"};
    for (size_t i = 0; i < ARRAY_LEN(locals); i++) {
        local[i] = address(locals[i]);
    }
    uplinks[0] = address("192.0.2.1");
    closed[0] = (struct ip_range){address("169.254.0.0"), address("169.254.255.255")};
    closed[1] = (struct ip_range){address("198.51.100.0"), address("198.51.100.255")};
    stale_flows_sort(local, ARRAY_LEN(local));
    judge = (struct stale_flows){.local = local, .local_count = ARRAY_LEN(local), .masqueraded = {true, true}};
    judge.subnets[0] = (struct ip_net){address("10.0.0.0"), 24};
    judge.subnets[1] = (struct ip_net){address("fd00::"), 64};
}

static void judge_all(void)
{
    judge.ports = ports;
    judge.port_count = ARRAY_LEN(ports);
    judge.ports_all = true;
    judge.masquerade = true;
    judge.uplinks = uplinks;
    judge.uplink_count = 1;
    judge.closed = closed;
    judge.closed_count = ARRAY_LEN(closed);
}

/* A flow: who began it, what it asked for, where it is led, as whom it is shown. */
struct row {
    bool stale;
    uint8_t protocol;
    const char *source, *asked;
    uint16_t asked_port;
    const char *destination;
    uint16_t port;
    const char *shown;
};

static bool is_stale(const struct row *row)
{
    const struct conntrack_flow flow = {.protocol = row->protocol,
                                        .source = address(row->source),
                                        .destination = address(row->destination),
                                        .port = row->port,
                                        .published = strcmp(row->asked, row->destination) != 0 || row->asked_port != row->port,
                                        .asked = address(row->asked),
                                        .asked_port = row->asked_port,
                                        .shown = address(row->shown)};
    return stale_flows_judge(&flow, &judge);
}

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(is_stale(&rows[i]) == rows[i].stale, "row %zu: %s to %s %u", i, rows[i].source, rows[i].asked, rows[i].asked_port);
    }
}

#define OUTSIDE     "203.0.113.9"
#define GUEST       "10.0.0.2"
#define OTHER_GUEST "10.0.0.3"
#define HOST        "192.0.2.1"

static const struct row nat_rows[] = {
    /* Translated as it is wanted. */
    {false, IPPROTO_TCP, OUTSIDE, HOST, 80, GUEST, 8080, OUTSIDE},
    {false, IPPROTO_UDP, OUTSIDE, "198.51.100.7", 53, GUEST, 5353, OUTSIDE},
    {false, IPPROTO_UDP, "127.0.0.1", "127.0.0.1", 53, GUEST, 5353, "10.0.0.1"},
    {false, IPPROTO_UDP, "10.0.0.1", "10.0.0.1", 53, GUEST, 5353, "10.0.0.1"},
    /* Not at all, or elsewhere. */
    {true, IPPROTO_UDP, OUTSIDE, HOST, 53, HOST, 53, OUTSIDE},
    {true, IPPROTO_TCP, OUTSIDE, HOST, 80, HOST, 80, OUTSIDE},
    {true, IPPROTO_UDP, "127.0.0.1", "127.8.8.8", 53, "127.8.8.8", 53, "127.0.0.1"},
    {true, IPPROTO_UDP, OUTSIDE, HOST, 53, OTHER_GUEST, 5353, OUTSIDE},
    {true, IPPROTO_UDP, OUTSIDE, HOST, 53, GUEST, 54, OUTSIDE},
    /* By a port that is published no more; two ports that lead to one are told apart. */
    {true, IPPROTO_UDP, OUTSIDE, HOST, 54, GUEST, 5353, OUTSIDE},
    {true, IPPROTO_UDP, OUTSIDE, HOST, 80, GUEST, 8080, OUTSIDE},
    /* At one address. */
    {false, IPPROTO_TCP, OUTSIDE, HOST, 90, GUEST, 9090, OUTSIDE},
    {true, IPPROTO_TCP, OUTSIDE, HOST, 90, HOST, 90, OUTSIDE},
    {true, IPPROTO_TCP, OUTSIDE, "198.51.100.7", 90, GUEST, 9090, OUTSIDE},
    {false, IPPROTO_TCP, OUTSIDE, "198.51.100.7", 90, "198.51.100.7", 90, OUTSIDE},
    /* Of IPv6; ::1 leads nowhere. */
    {false, IPPROTO_TCP, "2001:db8::9", "fd00::1", 80, "fd00::2", 8080, "2001:db8::9"},
    {true, IPPROTO_TCP, "2001:db8::9", "fd00::1", 80, "fd00::1", 80, "2001:db8::9"},
    {false, IPPROTO_TCP, "::1", "::1", 80, "::1", 80, "::1"},
    /* Not published, not to the host, or from a guest. */
    {false, IPPROTO_UDP, OUTSIDE, HOST, 80, HOST, 80, OUTSIDE},
    {false, IPPROTO_TCP, OUTSIDE, HOST, 22, HOST, 22, OUTSIDE},
    {false, IPPROTO_TCP, OUTSIDE, "203.0.113.80", 80, "203.0.113.80", 80, OUTSIDE},
    {false, IPPROTO_TCP, "10.0.0.1", OUTSIDE, 80, OUTSIDE, 80, "10.0.0.1"},
    {false, IPPROTO_UDP, OTHER_GUEST, "10.0.0.1", 53, "10.0.0.1", 53, OTHER_GUEST},
    /* What others translate to others. */
    {false, IPPROTO_TCP, OUTSIDE, HOST, 80, "172.17.0.2", 80, OUTSIDE},
    {false, IPPROTO_TCP, OUTSIDE, HOST, 81, "172.17.0.2", 80, OUTSIDE},
    {false, IPPROTO_TCP, "172.17.0.2", OUTSIDE, 80, OUTSIDE, 80, HOST},
    /* The masquerade. */
    {false, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, HOST},
    {true, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, GUEST},
    {true, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, "198.51.100.7"},  /* an uplink of before */
    {false, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, "203.0.113.77"}, /* others do that */
    {false, IPPROTO_TCP, GUEST, OTHER_GUEST, 53, OTHER_GUEST, 53, GUEST},
    {false, IPPROTO_TCP, GUEST, "10.0.0.1", 53, "10.0.0.1", 53, GUEST},
    {false, IPPROTO_ICMP, OUTSIDE, GUEST, 0, GUEST, 0, OUTSIDE},
    {true, IPPROTO_UDP, "127.0.0.1", "127.0.0.1", 53, GUEST, 5353, "127.0.0.1"},
    {true, IPPROTO_UDP, "fd00::2", "2001:db8::9", 53, "2001:db8::9", 53, "fd00::2"},
    {false, IPPROTO_UDP, "2001:db8::9", "fd00::2", 53, "fd00::2", 53, "2001:db8::9"},
    {false, IPPROTO_UDP, "::1", "::1", 53, "::1", 53, "::1"},
    /* Closed networks, for guests. */
    {true, IPPROTO_TCP, GUEST, "169.254.169.254", 80, "169.254.169.254", 80, HOST},
    {true, IPPROTO_TCP, GUEST, "198.51.100.9", 80, "198.51.100.9", 80, HOST},
    {false, IPPROTO_TCP, "198.51.100.9", GUEST, 80, GUEST, 80, "198.51.100.9"},
    {false, IPPROTO_TCP, OUTSIDE, "198.51.100.9", 80, "198.51.100.9", 80, OUTSIDE},
};

START_TEST(everything_that_is_in_force)
{
    judge_all();
    check(nat_rows, ARRAY_LEN(nat_rows));
}
END_TEST

START_TEST(nothing_is_asked)
{
    for (size_t i = 0; i < ARRAY_LEN(nat_rows); i++) {
        ck_assert_msg(!is_stale(&nat_rows[i]), "row %zu", i);
    }
}
END_TEST

/* A VM's ports changed: tcp 80 leads to it now, udp 54 does no more. Whatever else leads to guests is not asked about. */
START_TEST(ports_that_changed)
{
    static const struct nft_port before[] = {{.protocol = IPPROTO_UDP, .host_port = 54, .host.version = IP_V4, .address = GUEST_ADDRESS, .guest_port = 5353}};
    static const struct row rows[] = {
        {true, IPPROTO_TCP, OUTSIDE, HOST, 80, HOST, 80, OUTSIDE},     {false, IPPROTO_TCP, OUTSIDE, HOST, 80, GUEST, 8080, OUTSIDE},
        {true, IPPROTO_UDP, OUTSIDE, HOST, 54, GUEST, 5353, OUTSIDE},  {false, IPPROTO_UDP, OUTSIDE, HOST, 54, HOST, 54, OUTSIDE},
        {false, IPPROTO_UDP, OUTSIDE, HOST, 53, GUEST, 5353, OUTSIDE}, {false, IPPROTO_UDP, OUTSIDE, HOST, 9, OTHER_GUEST, 9, OUTSIDE},
        {false, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, GUEST},
    };
    judge.ports = ports;
    judge.port_count = 1;
    judge.ports_before = before;
    judge.port_before_count = 1;
    check(rows, ARRAY_LEN(rows));
}
END_TEST

START_TEST(masquerade_that_is_off)
{
    static const struct row rows[] = {
        {false, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, GUEST},
        {true, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, HOST},
        {false, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, "203.0.113.77"},
        {false, IPPROTO_UDP, OUTSIDE, HOST, 53, GUEST, 5353, OUTSIDE},
    };
    judge_all();
    judge.masqueraded[0] = false;
    judge.masquerade_off = true;
    check(rows, ARRAY_LEN(rows));
    judge.masquerade_off = false; /* after a repair: others may masquerade instead */
    ck_assert(!is_stale(&rows[1]));
}
END_TEST

START_TEST(addresses_that_are_gone)
{
    static const struct row rows[] = {
        {true, IPPROTO_UDP, GUEST, OUTSIDE, 53, OUTSIDE, 53, HOST},        {true, IPPROTO_UDP, OUTSIDE, HOST, 53, GUEST, 5353, OUTSIDE},
        {true, IPPROTO_TCP, "10.0.0.1", GUEST, 22, GUEST, 22, "10.0.0.1"}, {true, IPPROTO_TCP, OTHER_GUEST, GUEST, 22, GUEST, 22, OTHER_GUEST},
        {false, IPPROTO_UDP, OTHER_GUEST, OUTSIDE, 53, OUTSIDE, 53, HOST}, {false, IPPROTO_TCP, OUTSIDE, HOST, 22, HOST, 22, OUTSIDE},
    };
    ended[0] = address(GUEST);
    judge.ended = ended;
    judge.ended_count = 1;
    check(rows, ARRAY_LEN(rows));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stale_flows");
    TCase *tcase = tcase_create("flows");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, everything_that_is_in_force);
    tcase_add_test(tcase, nothing_is_asked);
    tcase_add_test(tcase, ports_that_changed);
    tcase_add_test(tcase, masquerade_that_is_off);
    tcase_add_test(tcase, addresses_that_are_gone);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
