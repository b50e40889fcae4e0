/* The network's settings in force: the configuration, and what was changed over it. Both sides of each check. */
#include "core/network_settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char bridge[] = "svbr0";
static char eth0[] = "eth0";
static struct config config;
static struct error err;

static void setup(void)
{
    memset(&config, 0, sizeof config);
    config.network.bridge = bridge;
    config.network.uplink = eth0;
    config.network.subnet = (struct ipv4_net){.address = 0xac1e0000, .prefix = 24};
    config.network.masquerade = true;
    config.network.lease_quarantine_s = 10;
}

START_TEST(configured)
{
    const struct network_overrides none = {.generation = 0};
    struct network_settings settings;
    network_settings_make(&config, &none, &settings);
    ck_assert_str_eq(settings.bridge, "svbr0");
    ck_assert_str_eq(settings.uplink, "eth0");
    ck_assert_str_eq(settings.tap_prefix, "svbr0t");
    ck_assert_uint_eq(settings.subnet.address, 0xac1e0000);
    ck_assert_uint_eq(settings.gateway, 0xac1e0001);
    ck_assert_uint_eq(settings.lease_quarantine_s, 10);
    ck_assert(settings.masquerade);
    ck_assert_int_eq(settings.generation, 0);
    config.network.uplink = NULL;
    network_settings_make(&config, &none, &settings);
    ck_assert_str_eq(settings.uplink, "");
}
END_TEST

START_TEST(changed)
{
    struct network_overrides all = {.has_subnet = true,
                                    .has_uplink = true,
                                    .has_masquerade = true,
                                    .has_quarantine = true,
                                    .subnet = {.address = 0x0a000000, .prefix = 8},
                                    .generation = 7};
    struct network_settings settings;
    network_settings_make(&config, &all, &settings);
    ck_assert_str_eq(settings.uplink, ""); /* followed, although one is configured */
    ck_assert_uint_eq(settings.gateway, 0x0a000001);
    ck_assert_uint_eq(settings.lease_quarantine_s, 0);
    ck_assert(!settings.masquerade);
    ck_assert_int_eq(settings.generation, 7);
    strcpy(all.uplink, "wlan0");
    network_settings_make(&config, &all, &settings);
    ck_assert_str_eq(settings.uplink, "wlan0");
}
END_TEST

START_TEST(names_of_taps_fit)
{
    char prefix[INTERFACE_NAME_MAX];
    static const struct {
        const char *bridge, *prefix;
    } cases[] = {{"b", "bt"}, {"svbr0", "svbr0t"}, {"smartvm-bridge0", "smartvm-bt"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        network_tap_prefix(cases[i].bridge, prefix);
        ck_assert_str_eq(prefix, cases[i].prefix);
        (void)snprintf(name, sizeof name, "%s%d", prefix, (int)TAP_NUMBER_MAX);
        ck_assert_msg(interface_name_check(name, &err) == 0, "%s", name);
    }
}
END_TEST

START_TEST(what_is_of_the_network)
{
    const struct network_overrides none = {.generation = 0};
    struct network_settings settings;
    network_settings_make(&config, &none, &settings);
    ck_assert(network_has_address(&settings, 0xac1e0002) && network_has_address(&settings, 0xac1e00fe));
    ck_assert(!network_has_address(&settings, 0xac1e0001) && !network_has_address(&settings, 0xac1e00ff) && !network_has_address(&settings, 0x0a000002));
    ck_assert(network_has_tap(&settings, "svbr0t2") && network_has_tap(&settings, "svbr0t99999"));
    ck_assert(!network_has_tap(&settings, "svbr0t") && !network_has_tap(&settings, "svbr1t2") && !network_has_tap(&settings, "svbr0tt2"));
}
END_TEST

START_TEST(subnets)
{
    static const char *const right[] = {"0.0.0.0/1", "10.0.0.0/8", "192.0.2.0/24", "192.0.2.4/30"};
    static const char *const wrong[] = {"0.0.0.0/0", "10.0.0.0/31", "10.0.0.1/32", "10.0.0.1/8", "10.0.0.0", "10.0.0.0/08", "", "::/64"};
    struct ipv4_net net;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        ck_assert_msg(network_subnet_parse(right[i], &net, &err) == 0, "%s", right[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(network_subnet_parse(wrong[i], &net, &err) != 0, "%s", wrong[i]);
        ck_assert_int_eq(err.code, ERR_INVALID_SUBNET);
    }
}
END_TEST

START_TEST(ipv6_subnets)
{
    static const char *const right[] = {"fd00::/64", "fc00:1::/80", "2001:db8:1:2::/112", "3fff::/64"};
    static const char *const wrong[] = {"fd00::/63", "fd00::/113", "fd00::1/64",  "fe80::/64", "ff02::/64", "::/64",
                                        "4000::/64", "1fff::/64",  "10.0.0.0/24", "fd00::",    "",          "fd00::/64x"};
    const struct ipv4_net small = {.address = 0x0a000000, .prefix = 16};
    const struct ipv4_net large = {.address = 0x0a000000, .prefix = 15};
    struct ip_net net;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        ck_assert_msg(network_subnet6_parse(right[i], small, &net, &err) == 0, "%s", right[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(network_subnet6_parse(wrong[i], small, &net, &err) != 0, "%s", wrong[i]);
        ck_assert_int_eq(err.code, ERR_INVALID_SUBNET);
    }
    ck_assert(network_subnet6_parse("fd00::/112", large, &net, &err) != 0); /* has no room for its numbers */
    ck_assert(network_subnet6_parse("fd00::/111", large, &net, &err) == 0);
    ck_assert(network_subnet6_is_local(&net));
    ck_assert(network_subnet6_parse("2001:db8::/64", large, &net, &err) == 0);
    ck_assert(!network_subnet6_is_local(&net));
}
END_TEST

START_TEST(ipv6_addresses)
{
    static const struct {
        const char *subnet6;
        uint32_t address;
        const char *wanted;
    } rows[] = {
        {"fd00:a:b::/64", 0xac1e0002, "fd00:a:b::2"},
        {"fd00:a:b::/64", 0xac1e00fe, "fd00:a:b::fe"},
        {"2001:db8::5:0/112", 0xac1e0010, "2001:db8::5:10"},
    };
    const struct network_overrides none = {.generation = 0};
    struct network_settings settings;
    char text[IP_TEXT_MAX];
    network_settings_make(&config, &none, &settings);
    ck_assert(!network_has_ipv6(&settings));
    ck_assert_int_eq(network_address6(&settings, 0xac1e0002).version, IP_NONE);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_int_eq(network_subnet6_parse(rows[i].subnet6, config.network.subnet, &config.network.ipv6_subnet, &err), 0);
        network_settings_make(&config, &none, &settings);
        const struct ip_addr address = network_address6(&settings, rows[i].address);
        ck_assert_str_eq(ip_addr_format(&address, text), rows[i].wanted);
        ck_assert(ip_net_contains(&settings.subnet6, &settings.gateway6));
    }
    config.network.subnet = (struct ipv4_net){.address = 0, .prefix = 1};
    ck_assert_int_eq(network_subnet6_parse("fd00::/64", config.network.subnet, &config.network.ipv6_subnet, &err), 0);
    network_settings_make(&config, &none, &settings);
    const struct ip_addr last = network_address6(&settings, 0x7ffffffe);
    ck_assert_str_eq(ip_addr_format(&last, text), "fd00::7fff:fffe");
}
END_TEST

START_TEST(uplinks)
{
    static const char *const right[] = {"default", "eth0", "a", "fifteen-letters"};
    static const char *const wrong[] = {"all", "", "sixteen-letters-", "a/b", "a b", "..", "svbr0"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        ck_assert_msg(network_uplink_check(right[i], bridge, &err) == 0, "%s", right[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(network_uplink_check(wrong[i], bridge, &err) != 0, "%s", wrong[i]);
        ck_assert_int_eq(err.code, ERR_INVALID_INTERFACE_NAME);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("network_settings");
    TCase *tcase = tcase_create("settings");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, configured);
    tcase_add_test(tcase, changed);
    tcase_add_test(tcase, names_of_taps_fit);
    tcase_add_test(tcase, what_is_of_the_network);
    tcase_add_test(tcase, subnets);
    tcase_add_test(tcase, ipv6_subnets);
    tcase_add_test(tcase, ipv6_addresses);
    tcase_add_test(tcase, uplinks);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
