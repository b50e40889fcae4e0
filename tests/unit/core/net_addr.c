#include "core/net_addr.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(rows) ((int)(sizeof(rows) / sizeof *(rows)))

static const struct {
    const char *text;
    uint32_t address;
} addresses[] = {
    {"0.0.0.0", 0},
    {"10.0.0.1", 0x0a000001},
    {"172.30.0.254", 0xac1e00fe},
    {"255.255.255.255", 0xffffffff},
};

START_TEST(addresses_are_read_and_written)
{
    uint32_t address = 1;
    char text[IPV4_TEXT_MAX];
    ck_assert(ipv4_parse(addresses[_i].text, &address));
    ck_assert_uint_eq(address, addresses[_i].address);
    ck_assert_ptr_eq(ipv4_format(address, text), text);
    ck_assert_str_eq(text, addresses[_i].text);
}
END_TEST

static const char *const no_addresses[] = {
    "",          "1",          "1.2.3",    "1.2.3.",   "1.2.3.4.",  "1.2.3.4.5", ".1.2.3",    "1..2.3",   "256.1.1.1",        "1.1.1.256",
    "1.1.1.999", "1.1.1.1000", "01.2.3.4", "1.2.3.00", "1.2.3.04",  " 1.2.3.4",  "1.2.3.4 ",  "+1.2.3.4", "-1.2.3.4",         "1.2.3.4/24",
    "0x1.2.3.4", "1.2.3.a",    "a.b.c.d",  "1,2,3,4",  "1.2.3.4\n", "::1",       "localhost", "16909060", "4294967297.0.0.0", "1.2.3.\xd9\xa1",
};

START_TEST(other_text_is_no_address)
{
    uint32_t address = 77;
    ck_assert_msg(!ipv4_parse(no_addresses[_i], &address), "%s", no_addresses[_i]);
    ck_assert_uint_eq(address, 77);
}
END_TEST

START_TEST(masks_have_their_bits)
{
    ck_assert_uint_eq(ipv4_mask(0), 0);
    ck_assert_uint_eq(ipv4_mask(1), 0x80000000);
    ck_assert_uint_eq(ipv4_mask(24), 0xffffff00);
    ck_assert_uint_eq(ipv4_mask(31), 0xfffffffe);
    ck_assert_uint_eq(ipv4_mask(32), 0xffffffff);
}
END_TEST

static struct ipv4_net net(const char *text)
{
    struct ipv4_net parsed = {0};
    struct error err = {0};
    ck_assert_msg(ipv4_net_parse(text, &parsed, &err) == 0, "%s", err.message);
    return parsed;
}

static const char *const networks[] = {"0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/8", "172.30.0.0/24", "10.0.0.254/31", "255.255.255.255/32", "192.168.100.200/30"};

START_TEST(networks_are_read_and_written)
{
    char text[CIDR_TEXT_MAX];
    ck_assert_str_eq(ipv4_net_format(net(networks[_i]), text), networks[_i]);
}
END_TEST

static const struct {
    const char *text;
    const char *words;
} no_networks[] = {
    {"", "is not an IPv4 network"},
    {"10.0.0.0", "is not an IPv4 network"},
    {"10.0.0.0/", "is not an IPv4 network"},
    {"/8", "is not an IPv4 network"},
    {"10.0.0.0/33", "is not an IPv4 network"},
    {"10.0.0.0/08", "is not an IPv4 network"},
    {"10.0.0.0/00", "is not an IPv4 network"},
    {"10.0.0.0/8 ", "is not an IPv4 network"},
    {"10.0.0.0/ 8", "is not an IPv4 network"},
    {"10.0.0.0/+8", "is not an IPv4 network"},
    {"10.0.0.0/-1", "is not an IPv4 network"},
    {"10.0.0.0/8/8", "is not an IPv4 network"},
    {"10.0.0.0/999", "is not an IPv4 network"},
    {"10.0.0/8", "is not an IPv4 network"},
    {"10.0.0.00000000000000000000000/8", "is not an IPv4 network"},
    {"10.0.0.0/255.0.0.0", "is not an IPv4 network"},
    {"10.0.0.1/8", "the network is 10.0.0.0/8"},
    {"172.30.0.255/24", "the network is 172.30.0.0/24"},
    {"0.0.0.1/0", "the network is 0.0.0.0/0"},
    {"10.0.0.1/31", "the network is 10.0.0.0/31"},
};

START_TEST(other_text_is_no_network)
{
    struct ipv4_net untouched = {7, 7};
    struct error err = {0};
    ck_assert_int_eq(ipv4_net_parse(no_networks[_i].text, &untouched, &err), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_SUBNET);
    ck_assert_msg(strstr(err.message, no_networks[_i].words) != NULL, "%s", err.message);
    ck_assert_uint_eq(untouched.prefix, 7);
    ck_assert_int_eq(ipv4_net_parse(no_networks[_i].text, &untouched, NULL), -1);
}
END_TEST

START_TEST(a_long_text_is_quoted_in_part)
{
    char text[5000];
    struct ipv4_net untouched;
    struct error err = {0};
    memset(text, '1', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(ipv4_net_parse(text, &untouched, &err), -1);
    ck_assert_uint_lt(strlen(err.message), 200);
}
END_TEST

static const struct {
    const char *net;
    uint32_t address;
    bool inside;
} contained[] = {
    {"10.0.0.0/8", 0x0a000000, true}, {"10.0.0.0/8", 0x0affffff, true}, {"10.0.0.0/8", 0x0b000000, false}, {"10.0.0.0/8", 0x09ffffff, false},
    {"0.0.0.0/0", 0, true},           {"0.0.0.0/0", 0xffffffff, true},  {"10.0.0.4/32", 0x0a000004, true}, {"10.0.0.4/32", 0x0a000005, false},
};

START_TEST(networks_contain_their_addresses)
{
    ck_assert_int_eq(ipv4_net_contains(net(contained[_i].net), contained[_i].address), contained[_i].inside);
}
END_TEST

static const struct {
    const char *a;
    const char *b;
    bool overlap;
} pairs[] = {
    {"10.0.0.0/8", "10.0.0.0/8", true},    {"10.0.0.0/8", "10.255.0.0/16", true}, {"10.0.0.0/9", "10.128.0.0/9", false}, {"10.0.0.0/8", "11.0.0.0/8", false},
    {"0.0.0.0/0", "203.0.113.7/32", true}, {"10.0.0.4/32", "10.0.0.4/32", true},  {"10.0.0.4/32", "10.0.0.5/32", false},
};

START_TEST(networks_overlap_both_ways)
{
    ck_assert_int_eq(ipv4_net_overlap(net(pairs[_i].a), net(pairs[_i].b)), pairs[_i].overlap);
    ck_assert_int_eq(ipv4_net_overlap(net(pairs[_i].b), net(pairs[_i].a)), pairs[_i].overlap);
}
END_TEST

START_TEST(macs_are_read_and_written)
{
    struct mac mac = {{0}};
    char text[MAC_TEXT_MAX];
    ck_assert(mac_parse("02:FC:00:00:aB:fF", &mac));
    ck_assert_mem_eq(mac.bytes, "\x02\xfc\x00\x00\xab\xff", 6);
    ck_assert_str_eq(mac_format(mac, text), "02:fc:00:00:ab:ff");
}
END_TEST

static const char *const no_macs[] = {
    "",
    "02:fc:00:00:ab",
    "02:fc:00:00:ab:f",
    "02:fc:00:00:ab:fff",
    "02:fc:00:00:ab:ff:",
    "02-fc-00-00-ab-ff",
    "02fc0000abff",
    "02:fc:00:00:ab:fg",
    "02:fc:00:00:ab: f",
    "02:fc:00:00:ab:0x",
    "+2:fc:00:00:ab:ff",
    "2:fc:00:00:ab:ff:0",
    "02:fc:00:00:ab\nff",
};

START_TEST(other_text_is_no_mac)
{
    struct mac mac = {{9, 9, 9, 9, 9, 9}};
    ck_assert_msg(!mac_parse(no_macs[_i], &mac), "%s", no_macs[_i]);
    ck_assert_mem_eq(mac.bytes, "\x09\x09\x09\x09\x09\x09", 6);
}
END_TEST

static const struct {
    const char *name;
    const char *words; /* NULL: the name is good */
} names[] = {
    {"eth0", NULL},
    {"a", NULL},
    {"svbr0", NULL},
    {"wg-0_x.5@6", NULL},
    {"...", NULL},
    {"fifteen-letters", NULL},
    {"all0", NULL},
    {"sixteen-letters-", "1 to 15 bytes"},
    {"", "1 to 15 bytes"},
    {".", "reserved"},
    {"..", "reserved"},
    {"all", "reserved"},
    {"default", "reserved"},
    {"a/b", "must not contain"},
    {"../x", "must not contain"},
    {"eth0:1", "must not contain"},
    {"a b", "must not contain"},
    {"a\tb", "must not contain"},
    {"a\n", "must not contain"},
    {"\v", "must not contain"},
};

START_TEST(interface_names_follow_the_kernel)
{
    struct error err = {0};
    ck_assert_int_eq(interface_name_check(names[_i].name, &err), names[_i].words == NULL ? 0 : -1);
    if (names[_i].words != NULL) {
        ck_assert_int_eq(err.code, ERR_INVALID_INTERFACE_NAME);
        ck_assert_msg(strstr(err.message, names[_i].words) != NULL, "%s", err.message);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_addr");
    TCase *tests = tcase_create("net_addr");
    tcase_add_loop_test(tests, addresses_are_read_and_written, 0, COUNT(addresses));
    tcase_add_loop_test(tests, other_text_is_no_address, 0, COUNT(no_addresses));
    tcase_add_test(tests, masks_have_their_bits);
    tcase_add_loop_test(tests, networks_are_read_and_written, 0, COUNT(networks));
    tcase_add_loop_test(tests, other_text_is_no_network, 0, COUNT(no_networks));
    tcase_add_test(tests, a_long_text_is_quoted_in_part);
    tcase_add_loop_test(tests, networks_contain_their_addresses, 0, COUNT(contained));
    tcase_add_loop_test(tests, networks_overlap_both_ways, 0, COUNT(pairs));
    tcase_add_test(tests, macs_are_read_and_written);
    tcase_add_loop_test(tests, other_text_is_no_mac, 0, COUNT(no_macs));
    tcase_add_loop_test(tests, interface_names_follow_the_kernel, 0, COUNT(names));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
