/* Policy routing, in a network namespace of the test's own; `ip` is the judge. */
#include "host/link/route.h"

#include "tests/host/netns.h"

static struct error err;

static struct route to(const char *net, const char *link)
{
    struct route route = {.metric = link != NULL ? ROUTE_METRIC : ROUTE_METRIC_UNREACHABLE, .unreachable = link == NULL};
    MUST(ip_net_parse(net, ERR_INTERNAL, &route.net, &err));
    (void)snprintf(route.link, sizeof route.link, "%s", link != NULL ? link : "");
    return route;
}

static void setup(void)
{
    netns_enter();
    netns_run("ip link add d0 type bridge");
    netns_run("ip link set d0 up");
}

static size_t listed(uint32_t table, bool *ret_foreign)
{
    AUTO_FREE struct route_listed *items = NULL;
    size_t count = 0;
    *ret_foreign = false;
    MUST(route_list(table, &items, &count, &err));
    for (size_t i = 0; i < count; i++) {
        *ret_foreign = *ret_foreign || !items[i].ours;
    }
    return count;
}

START_TEST(routes)
{
    const char *const nets[] = {"0.0.0.0/0", "10.9.0.0/16", "::/0", "2001:db8::/32"};
    bool foreign = false;
    for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
        struct route by_link = to(nets[i], "d0");
        struct route nowhere = to(nets[i], NULL);
        for (int twice = 0; twice < 2; twice++) {
            MUST(route_add(51820, &by_link, &err));
            MUST(route_add(51820, &nowhere, &err));
        }
    }
    ck_assert(netns_says("ip route show table 51820", "default dev d0 proto 173 scope link metric 100"));
    ck_assert(netns_says("ip route show table 51820", "unreachable default proto 173 metric 900000"));
    ck_assert(netns_says("ip -6 route show table 51820", "default dev d0 proto 173 metric 100"));
    ck_assert(netns_says("ip -6 route show table 51820", "unreachable default dev lo proto 173 metric 900000"));
    ck_assert_uint_eq(listed(51820, &foreign), 8);
    ck_assert(!foreign);
    ck_assert_uint_eq(listed(51821, &foreign), 0);
    for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
        struct route by_link = to(nets[i], "d0");
        struct route nowhere = to(nets[i], NULL);
        for (int twice = 0; twice < 2; twice++) {
            MUST(route_delete(51820, &by_link, &err));
            MUST(route_delete(51820, &nowhere, &err));
        }
    }
    ck_assert_uint_eq(listed(51820, &foreign), 0);
}
END_TEST

START_TEST(foreign_routes_are_told_apart_and_stay)
{
    bool foreign = false;
    struct route ours = to("0.0.0.0/0", "d0");
    netns_run("ip route add default dev d0 metric 100 table 7");
    netns_run("ip route add 10.0.0.0/8 dev d0 table 7");
    ck_assert_uint_eq(listed(7, &foreign), 2);
    ck_assert(foreign);
    MUST(route_delete(7, &ours, &err)); /* the same but for the protocol */
    ck_assert_uint_eq(netns_count("ip route show table 7", "d0"), 2);
}
END_TEST

START_TEST(a_missing_link_is_named)
{
    struct route route = to("0.0.0.0/0", "nosuch0");
    ck_assert_int_eq(route_add(7, &route, &err), -1);
    ck_assert_int_eq(err.code, ERR_WIREGUARD_SETUP_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "nosuch0"));
    ck_assert_ptr_nonnull(strstr(err.message, "table 7"));
    MUST(route_delete(7, &route, &err));
}
END_TEST

START_TEST(rules)
{
    const struct route_rule wanted[] = {{IP_V4, 51820}, {IP_V6, 51820}, {IP_V4, 7}};
    struct route_rule found[ROUTE_RULES_MAX];
    size_t count = 0;
    netns_run("ip rule add iif d0 lookup 9 priority 5100");
    netns_run("ip rule add iif d0 lookup 9 priority 5101 protocol 173");
    netns_run("ip rule add iif d1 lookup 9 priority 5100 protocol 173");
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        MUST(route_rule_add("d0", &wanted[i], &err));
        MUST(route_rule_add("d0", &wanted[i], &err));
    }
    ck_assert(netns_says("ip rule", "5100:\tfrom all iif d0 lookup 51820 proto 173"));
    MUST(route_rules_list("d0", found, &count, &err));
    ck_assert_uint_eq(count, 3);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        MUST(route_rule_delete("d0", &wanted[i], &err));
        MUST(route_rule_delete("d0", &wanted[i], &err));
    }
    MUST(route_rules_list("d0", found, &count, &err));
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(netns_count("ip rule", "lookup 9"), 3);
    ck_assert(!netns_says("ip -6 rule", "51820"));
}
END_TEST

START_TEST(too_many_rules_are_an_error)
{
    struct route_rule found[ROUTE_RULES_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i <= ROUTE_RULES_MAX; i++) {
        const struct route_rule rule = {IP_V4, 1000 + i};
        if (i == ROUTE_RULES_MAX) {
            MUST(route_rules_list("d0", found, &count, &err));
            ck_assert_uint_eq(count, ROUTE_RULES_MAX);
        }
        MUST(route_rule_add("d0", &rule, &err));
    }
    ck_assert_int_eq(route_rules_list("d0", found, &count, &err), -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *tests = tcase_create("route");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, routes);
    tcase_add_test(tests, foreign_routes_are_told_apart_and_stay);
    tcase_add_test(tests, a_missing_link_is_named);
    tcase_add_test(tests, rules);
    tcase_add_test(tests, too_many_rules_are_an_error);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
