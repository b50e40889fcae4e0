#include "core/ip_net.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(rows) ((int)(sizeof(rows) / sizeof *(rows)))

static struct ip_addr addr(const char *text)
{
    struct ip_addr address = {0};
    ck_assert_msg(ip_addr_parse(text, &address), "%s", text);
    return address;
}

static struct ip_net net(const char *text)
{
    struct ip_net parsed = {0};
    struct error err = {0};
    ck_assert_msg(ip_net_parse(text, ERR_INVALID_FIREWALL_CONFIG, &parsed, &err) == 0, "%s", err.message);
    return parsed;
}

static const struct {
    const char *text;
    const char *shown; /* NULL: the same */
} addresses[] = {
    {"0.0.0.0", NULL},
    {"192.0.2.7", NULL},
    {"255.255.255.255", NULL},
    {"::", NULL},
    {"::1", NULL},
    {"1::", NULL},
    {"2001:db8::1", NULL},
    {"2001:0DB8:0:0:0:0:0:1", "2001:db8::1"},
    {"2001:db8:0:1:1:1:1:1", NULL},                /* one group of zero is not shortened */
    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},       /* the longest run is */
    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, /* of equal ones, the first */
    {"0:0:1:2:3:4:5:6", "::1:2:3:4:5:6"},
    {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
    {"::1:0", NULL},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
};

START_TEST(addresses_are_read_and_written)
{
    char text[IP_TEXT_MAX];
    const char *shown = addresses[_i].shown != NULL ? addresses[_i].shown : addresses[_i].text;
    struct ip_addr address = addr(addresses[_i].text);
    ck_assert_str_eq(ip_addr_format(&address, text), shown);
    struct ip_addr again = addr(text);
    ck_assert(ip_addr_equal(&address, &again));
}
END_TEST

static const char *const no_addresses[] = {
    "",      "1.2.3",         "1.2.3.4.5",         "256.1.1.1", "01.2.3.4", "1.2.3.4/32", " 1.2.3.4",     "1.2.3.4 ",         ":",
    ":::",   "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3",   "12345::",  "g::",        "fe80::1%eth0", "::ffff:192.0.2.1", "::ffff:0:1",
    "[::1]", "::1 ",          "::01.2.3.4",
};

START_TEST(other_text_is_no_address)
{
    struct ip_addr address = {.version = 99};
    ck_assert_msg(!ip_addr_parse(no_addresses[_i], &address), "%s", no_addresses[_i]);
    ck_assert_uint_eq(address.version, 99);
}
END_TEST

START_TEST(ipv4_addresses_come_from_numbers)
{
    struct ip_addr expected = addr("172.30.0.2");
    struct ip_addr address = ip_addr_from_ipv4(0xac1e0002);
    ck_assert(ip_addr_equal(&address, &expected));
    struct ip_addr ipv6 = {.version = IP_V6, .bytes = {172, 30, 0, 2}};
    ck_assert(!ip_addr_equal(&address, &ipv6));
}
END_TEST

static const struct {
    const char *text;
    const char *shown;
} networks[] = {
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"10.0.0.0/8", "10.0.0.0/8"},
    {"172.30.128.0/17", "172.30.128.0/17"},
    {"192.0.2.7", "192.0.2.7/32"},
    {"192.0.2.7/32", "192.0.2.7/32"},
    {"::/0", "::/0"},
    {"2001:DB8::/32", "2001:db8::/32"},
    {"2001:db8::1", "2001:db8::1/128"},
    {"2001:db8:8000::/33", "2001:db8:8000::/33"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"},
};

START_TEST(networks_are_read_and_written)
{
    char text[IP_NET_TEXT_MAX];
    struct ip_net parsed = net(networks[_i].text);
    ck_assert_str_eq(ip_net_format(&parsed, text), networks[_i].shown);
}
END_TEST

static const struct {
    const char *text;
    const char *words;
} no_networks[] = {
    {"", "is not an address or a network"},
    {"/8", "is not an address or a network"},
    {"10.0.0.0/", "is not an address or a network"},
    {"10.0.0.0/33", "is not an address or a network"},
    {"10.0.0.0/08", "is not an address or a network"},
    {"10.0.0.0/00", "is not an address or a network"},
    {"10.0.0.0/+8", "is not an address or a network"},
    {"10.0.0.0/-1", "is not an address or a network"},
    {"10.0.0.0/8 ", "is not an address or a network"},
    {"10.0.0.0/8/8", "is not an address or a network"},
    {"10.0.0.0/255.0.0.0", "is not an address or a network"},
    {"10.0.0.0/4294967304", "is not an address or a network"},
    {"2001:db8::/129", "is not an address or a network"},
    {"2001:db8::/1280", "is not an address or a network"},
    {"example.org", "is not an address or a network"},
    {"@set", "is not an address or a network"},
    {"10.0.0.1/8", "the network is 10.0.0.0/8"},
    {"172.30.0.255/24", "the network is 172.30.0.0/24"},
    {"0.0.0.1/0", "the network is 0.0.0.0/0"},
    {"10.0.0.1/31", "the network is 10.0.0.0/31"},
    {"2001:db8::1/32", "the network is 2001:db8::/32"},
    {"2001:db8::1/127", "the network is 2001:db8::/127"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127", "the network is ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"},
    {"::ffff:10.0.0.0/104", "write it as IPv4"},
    {"::ffff:192.0.2.1", "write it as IPv4"},
};

START_TEST(other_text_is_no_network)
{
    struct ip_net untouched = {.prefix = 77};
    struct error err = {0};
    ck_assert_int_eq(ip_net_parse(no_networks[_i].text, ERR_INVALID_SUBNET, &untouched, &err), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_SUBNET);
    ck_assert_msg(strstr(err.message, no_networks[_i].words) != NULL, "%s", err.message);
    ck_assert_uint_eq(untouched.prefix, 77);
    ck_assert_int_eq(ip_net_parse(no_networks[_i].text, ERR_INVALID_SUBNET, &untouched, NULL), -1);
}
END_TEST

START_TEST(a_long_text_is_quoted_in_part)
{
    char text[5000];
    struct ip_net untouched;
    struct error err = {0};
    memset(text, '1', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(ip_net_parse(text, ERR_INVALID_SUBNET, &untouched, &err), -1);
    ck_assert_uint_lt(strlen(err.message), 200);
}
END_TEST

static const struct {
    const char *net;
    const char *address;
    bool inside;
} contained[] = {
    {"10.0.0.0/8", "10.0.0.0", true},
    {"10.0.0.0/8", "10.255.255.255", true},
    {"10.0.0.0/8", "11.0.0.0", false},
    {"10.0.0.0/8", "9.255.255.255", false},
    {"10.0.0.0/31", "10.0.0.1", true},
    {"10.0.0.0/31", "10.0.0.2", false},
    {"0.0.0.0/0", "203.0.113.7", true},
    {"0.0.0.0/0", "::", false},
    {"::/0", "0.0.0.0", false},
    {"::/0", "2001:db8::1", true},
    {"2001:db8::/33", "2001:db8:7fff::", true},
    {"2001:db8::/33", "2001:db8:8000::", false},
    {"2001:db8::1/128", "2001:db8::1", true},
    {"2001:db8::1/128", "2001:db8::2", false},
    {"0.0.0.0/32", "::", false},
};

START_TEST(networks_contain_their_addresses)
{
    struct ip_net network = net(contained[_i].net);
    struct ip_addr address = addr(contained[_i].address);
    ck_assert_int_eq(ip_net_contains(&network, &address), contained[_i].inside);
}
END_TEST

static const struct {
    const char *a, *b;
    bool overlap;
} pairs[] = {
    {"10.0.0.0/8", "10.0.0.0/8", true},
    {"10.0.0.0/8", "10.255.0.0/16", true},
    {"10.0.0.0/9", "10.128.0.0/9", false},
    {"0.0.0.0/0", "203.0.113.7", true},
    {"10.0.0.4", "10.0.0.5", false},
    {"2001:db8::/32", "2001:db8:1::/48", true},
    {"2001:db8::/33", "2001:db8:8000::/33", false},
    {"0.0.0.0/0", "::/0", false},
};

START_TEST(public_networks)
{
    static const char *const no[] = {"10.0.0.0/8",     "10.1.2.3/32", "0.0.0.0/0", "172.16.0.0/16", "192.168.0.0/16", "100.64.0.0/24", "128.0.0.0/1",
                                     "169.254.0.0/16", "224.0.0.0/4", "fd00::/64", "fe80::/10",     "ff02::1/128",    "::/0",          "::1/128"};
    static const char *const yes[] = {"8.8.8.0/24", "172.0.0.0/12", "172.32.0.0/12", "11.0.0.0/8", "192.0.0.0/9", "100.0.0.0/10", "2000::/3", "2001:db8::/32"};
    struct ip_net net;
    for (size_t i = 0; i < COUNT(no); i++) {
        ck_assert_int_eq(ip_net_parse(no[i], ERR_INTERNAL, &net, NULL), 0);
        ck_assert_msg(!ip_net_is_public(&net), "%s", no[i]);
    }
    for (size_t i = 0; i < COUNT(yes); i++) {
        ck_assert_int_eq(ip_net_parse(yes[i], ERR_INTERNAL, &net, NULL), 0);
        ck_assert_msg(ip_net_is_public(&net), "%s", yes[i]);
    }
}
END_TEST

START_TEST(networks_overlap_both_ways)
{
    struct ip_net a = net(pairs[_i].a);
    struct ip_net b = net(pairs[_i].b);
    ck_assert_int_eq(ip_net_overlap(&a, &b), pairs[_i].overlap);
    ck_assert_int_eq(ip_net_overlap(&b, &a), pairs[_i].overlap);
}
END_TEST

static const struct {
    const char *net, *first, *last;
} ranges[] = {
    {"10.0.0.0/8", "10.0.0.0", "10.255.255.255"},
    {"10.0.0.4/30", "10.0.0.4", "10.0.0.7"},
    {"192.0.2.7", "192.0.2.7", "192.0.2.7"},
    {"0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
    {"2001:db8::/33", "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"},
    {"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
};

START_TEST(networks_have_a_first_and_a_last_address)
{
    struct ip_addr first;
    struct ip_addr last;
    char text[IP_TEXT_MAX];
    struct ip_net network = net(ranges[_i].net);
    ip_net_range(&network, &first, &last);
    ck_assert_str_eq(ip_addr_format(&first, text), ranges[_i].first);
    ck_assert_str_eq(ip_addr_format(&last, text), ranges[_i].last);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ip_net");
    TCase *tests = tcase_create("ip_net");
    tcase_add_loop_test(tests, addresses_are_read_and_written, 0, COUNT(addresses));
    tcase_add_loop_test(tests, other_text_is_no_address, 0, COUNT(no_addresses));
    tcase_add_test(tests, ipv4_addresses_come_from_numbers);
    tcase_add_loop_test(tests, networks_are_read_and_written, 0, COUNT(networks));
    tcase_add_loop_test(tests, other_text_is_no_network, 0, COUNT(no_networks));
    tcase_add_test(tests, a_long_text_is_quoted_in_part);
    tcase_add_loop_test(tests, networks_contain_their_addresses, 0, COUNT(contained));
    tcase_add_test(tests, public_networks);
    tcase_add_loop_test(tests, networks_overlap_both_ways, 0, COUNT(pairs));
    tcase_add_loop_test(tests, networks_have_a_first_and_a_last_address, 0, COUNT(ranges));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
