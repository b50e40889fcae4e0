/* Policies as the rules of their chains, before the kernel sees them. */
#include "host/nft/policy_lines.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <check.h>
#include <netinet/in.h>
#include <string.h>

static struct policy policy;
static struct address_sets sets;
static struct address_set known;
static struct nft_policy_lines lines;
static struct error err;

static void setup(void)
{
    AUTO_JSON *nets = json_pack("[s, s]", "192.0.2.0/24", "2001:db8::/32");
    ck_assert_msg(address_set_parse("known", nets, &known, &err) == 0, "%s", err.message);
    sets = (struct address_sets){.sets = &known, .count = 1};
    memset(&policy, 0, sizeof policy);
    memset(&lines, 0, sizeof lines);
}

static void teardown(void)
{
    policy_free(&policy);
    address_set_free(&known);
    nft_policy_lines_free(&lines);
}

static void make(const char *json, enum policy_direction_name direction)
{
    AUTO_JSON *parsed = NULL;
    policy_free(&policy);
    nft_policy_lines_free(&lines);
    ck_assert_msg(json_parse(json, strlen(json), &parsed, &err) == 0, "%s", err.message);
    ck_assert_msg(policy_parse(parsed, &policy, &err) == 0, "%s", err.message);
    ck_assert(nft_policy_lines_make(&policy.directions[direction], direction, &sets, &lines, &err) == 0);
}

static void check_range(const struct nft_policy_line *line, size_t i, const char *first, const char *last)
{
    char buf[IP_TEXT_MAX];
    ck_assert_uint_lt(i, line->range_count);
    ck_assert_str_eq(ip_addr_format(&line->ranges[i].first, buf), first);
    ck_assert_str_eq(ip_addr_format(&line->ranges[i].last, buf), last);
}

START_TEST(the_default_is_the_last_line)
{
    make("{}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, 1);
    ck_assert_int_eq(lines.lines[0].rule, POLICY_BY_DEFAULT);
    ck_assert(lines.lines[0].allow && !lines.lines[0].but_published);
    make("{}", POLICY_INGRESS);
    ck_assert_uint_eq(lines.count, 1);
    ck_assert(lines.lines[0].but_published && !lines.lines[0].allow);
    make("{\"ingress\":{\"default_action\":\"allow\"}}", POLICY_INGRESS);
    ck_assert_uint_eq(lines.count, 1);
    ck_assert(lines.lines[0].allow);
    make("{\"egress\":{\"default_action\":\"deny\"}}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, 1); /* nobody publishes what a guest connects to */
    ck_assert(!lines.lines[0].allow && !lines.lines[0].but_published);
}
END_TEST

START_TEST(one_line_a_kind_of_address)
{
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":[\"10.0.0.0/8\",\"2001:db8:1::/48\",\"@known\"]},"
         "{\"action\":\"allow\"}]}}",
         POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, 6);
    const uint8_t versions[] = {IP_V4, IP_V6, IP_V4, IP_V6, IP_NONE, IP_NONE};
    const int rules[] = {0, 0, 0, 0, 1, POLICY_BY_DEFAULT};
    for (size_t i = 0; i < lines.count; i++) {
        ck_assert_uint_eq(lines.lines[i].version, versions[i]);
        ck_assert_int_eq(lines.lines[i].rule, rules[i]);
        ck_assert_int_eq(lines.lines[i].allow, i >= 4);
        ck_assert_int_eq(lines.lines[i].set != NULL, i == 2 || i == 3);
    }
    check_range(&lines.lines[0], 0, "10.0.0.0", "10.255.255.255");
    check_range(&lines.lines[1], 0, "2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff");
    ck_assert_str_eq(lines.lines[2].set, "known");
}
END_TEST

START_TEST(networks_are_joined)
{
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":[\"10.1.0.0/16\",\"10.0.0.0/16\",\"10.0.3.0/24\",\"192.0.2.1\"]}]}}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, 3);
    check_range(&lines.lines[0], 0, "10.0.0.0", "10.1.255.255");
    check_range(&lines.lines[1], 0, "192.0.2.1", "192.0.2.1");
}
END_TEST

/* Up to NFT_POLICY_LINES_SPREAD lines, else one with sets. */
START_TEST(short_lists_are_spread)
{
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":[\"10.0.0.1\",\"10.0.0.3\"],\"protocol\":\"tcp\",\"ports\":[1,3,5,7]}]}}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, NFT_POLICY_LINES_SPREAD + 1);
    for (size_t i = 0; i < NFT_POLICY_LINES_SPREAD; i++) {
        ck_assert_int_eq(lines.lines[i].rule, 0);
        check_range(&lines.lines[i], 0, i < 4 ? "10.0.0.1" : "10.0.0.3", i < 4 ? "10.0.0.1" : "10.0.0.3");
        ck_assert_uint_eq(lines.lines[i].port_count, 1);
        ck_assert_uint_eq(lines.lines[i].ports[0].first, 1 + 2 * (i % 4));
    }
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":[\"10.0.0.1\",\"10.0.0.3\"],\"protocol\":\"tcp\",\"ports\":[1,3,5,7,9]}]}}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, 2);
    ck_assert_uint_eq(lines.lines[0].range_count, 2);
    ck_assert_uint_eq(lines.lines[0].port_count, 5);
}
END_TEST

START_TEST(everything_of_a_version_needs_no_address)
{
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"0.0.0.0/0\"},{\"action\":\"deny\",\"to\":\"::/0\"}]}}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, 3);
    ck_assert_uint_eq(lines.lines[0].version, IP_V4);
    ck_assert_uint_eq(lines.lines[1].version, IP_V6);
    ck_assert_uint_eq(lines.lines[0].range_count + lines.lines[1].range_count, 0);
}
END_TEST

START_TEST(ports_are_joined)
{
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"protocol\":\"tcp\",\"ports\":[443,\"80-90\",91,\"85-95\",65535]},"
         "{\"action\":\"deny\",\"protocol\":\"udp\",\"ports\":53}]}}",
         POLICY_EGRESS);
    static const struct port_range joined[] = {{80, 95}, {443, 443}, {65535, 65535}};
    ck_assert_uint_eq(lines.count, 5);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(lines.lines[i].protocol, IPPROTO_TCP);
        ck_assert_uint_eq(lines.lines[i].port_count, 1);
        ck_assert_uint_eq(lines.lines[i].ports[0].first, joined[i].first);
        ck_assert_uint_eq(lines.lines[i].ports[0].last, joined[i].last);
    }
    ck_assert_uint_eq(lines.lines[3].protocol, IPPROTO_UDP);
    ck_assert_uint_eq(lines.lines[3].ports[0].first, 53);
}
END_TEST

START_TEST(icmp_is_two_protocols)
{
    make("{\"ingress\":{\"rules\":[{\"action\":\"allow\",\"protocol\":\"icmp\"}]}}", POLICY_INGRESS);
    ck_assert_uint_eq(lines.count, 3);
    ck_assert_uint_eq(lines.lines[0].protocol, IPPROTO_ICMP);
    ck_assert_uint_eq(lines.lines[1].protocol, IPPROTO_ICMPV6);
    ck_assert_int_eq(lines.lines[1].rule, 0);
}
END_TEST

START_TEST(an_unknown_set_matches_nothing)
{
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"@unknown\"}]}}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.count, 1);
    ck_assert_int_eq(lines.lines[0].rule, POLICY_BY_DEFAULT);
}
END_TEST

START_TEST(digests_tell_policies_apart)
{
    static const char *const policies[] = {
        "{}",
        "{\"egress\":{\"default_action\":\"deny\"}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"allow\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\"},{\"action\":\"allow\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"allow\"},{\"action\":\"deny\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"protocol\":\"tcp\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"protocol\":\"udp\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"protocol\":\"udp\",\"ports\":1}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"protocol\":\"udp\",\"ports\":\"1-2\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"10.0.0.0/8\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"10.0.0.0/9\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"0.0.0.0/0\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"::/0\"}]}}",
        "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"@known\"}]}}",
    };
    uint64_t digests[ARRAY_LEN(policies)];
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        make(policies[i], POLICY_EGRESS);
        digests[i] = lines.digest;
        for (size_t before = 0; before < i; before++) {
            ck_assert_msg(digests[before] != digests[i], "%s and %s", policies[before], policies[i]);
        }
    }
    make(policies[8], POLICY_EGRESS);
    ck_assert_uint_eq(lines.digest, digests[8]);
    /* A comment is nothing to the kernel. */
    make("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"comment\":\"why\"}]}}", POLICY_EGRESS);
    ck_assert_uint_eq(lines.digest, digests[2]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nft_policy_lines");
    TCase *tcase = tcase_create("lines");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_default_is_the_last_line);
    tcase_add_test(tcase, one_line_a_kind_of_address);
    tcase_add_test(tcase, networks_are_joined);
    tcase_add_test(tcase, short_lists_are_spread);
    tcase_add_test(tcase, everything_of_a_version_needs_no_address);
    tcase_add_test(tcase, ports_are_joined);
    tcase_add_test(tcase, icmp_is_two_protocols);
    tcase_add_test(tcase, an_unknown_set_matches_nothing);
    tcase_add_test(tcase, digests_tell_policies_apart);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
