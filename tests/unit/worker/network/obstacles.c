/* Obstacles of others, in words with the way out. */
#include "worker/network/obstacles.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct network_seen seen;
static struct network_settings settings;
static char text[OBSTACLE_TEXT_MAX];

static void setup(void)
{
    memset(&seen, 0, sizeof seen);
    settings = (struct network_settings){.bridge = "svbr0", .subnet = {.address = 0xac1e0000, .prefix = 24}};
}

static bool is(enum network_obstacle obstacle)
{
    return network_obstacle_text(obstacle, &seen, &settings, text);
}

static void says(enum network_obstacle obstacle, const char *const *words)
{
    ck_assert(is(obstacle));
    for (; *words != NULL; words++) {
        ck_assert_msg(strstr(text, *words) != NULL, "no '%s' in: %s", *words, text);
    }
    ck_assert_msg(strlen(text) < OBSTACLE_TEXT_MAX - 1, "cut: %s", text);
}
#define SAYS(obstacle, ...) says(obstacle, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(nothing)
{
    for (int i = 0; i < OBSTACLE_COUNT_; i++) {
        ck_assert(!is((enum network_obstacle)i));
        const char *type = condition_type_name(network_obstacle_type((enum network_obstacle)i));
        const char *reason = condition_reason_name(network_obstacle_reason((enum network_obstacle)i));
        ck_assert_msg(strcasecmp(type, reason) == 0, "%s has the reason %s", type, reason);
    }
}
END_TEST

START_TEST(each_has_its_words)
{
    seen.foreign_bridge = true;
    SAYS(OBSTACLE_FOREIGN_BRIDGE, "svbr0", "network.bridge", "ip link delete");
    strcpy(seen.overlap, "172.16.0.0/12 via eth1");
    SAYS(OBSTACLE_SUBNET_OVERLAP, "172.16.0.0/12 via eth1", "172.30.0.0/24", "PATCH /network");
    seen.outside_count = 1;
    strcpy(seen.outside.vm, "web");
    seen.outside.address = 0x0a000002;
    SAYS(OBSTACLE_OUTSIDE_SUBNET, "1 VM has", "web: 10.0.0.2", "reaches nothing");
    seen.outside_count = 3;
    SAYS(OBSTACLE_OUTSIDE_SUBNET, "3 VMs have", "reach nothing");
    seen.no_uplink = true;
    SAYS(OBSTACLE_NO_UPLINK, "no IPv4 default route", "nothing leads out");
    strcpy(seen.hole, "1.0.0.0 to 223.255.255.255 (No route to host)");
    SAYS(OBSTACLE_NO_UPLINK, "no IPv4 default route", "No route to host");
    ck_assert(!is(OBSTACLE_UPLINK_PARTIAL)); /* all is more than a part */
    seen.no_uplink = false;
    SAYS(OBSTACLE_UPLINK_PARTIAL, "1.0.0.0 to 223.255.255.255");
    seen.hole[0] = '\0';
    ck_assert(!is(OBSTACLE_UPLINK_PARTIAL));
    strcpy(seen.hole6, "3000:: to 3fff::");
    SAYS(OBSTACLE_UPLINK_PARTIAL, "3000:: to");
    seen.no_uplink6 = true;
    ck_assert(!is(OBSTACLE_UPLINK_PARTIAL));
    SAYS(OBSTACLE_NO_UPLINK_IPV6, "no IPv6 default route", "3000::");
    seen.no_uplink = true;
    strcpy(seen.down, "eth0");
    SAYS(OBSTACLE_UPLINK_DOWN, "eth0", "no carrier", "ignore_routes_with_linkdown");
    seen.down_by_hand = true;
    SAYS(OBSTACLE_UPLINK_DOWN, "eth0 is down", "ip link set");
    strcpy(seen.beside, "203.0.113.0/24 by up2");
    SAYS(OBSTACLE_UPLINK_UNUSED, "203.0.113.0/24 by up2,", "default route");
    seen.beside_count = 2;
    SAYS(OBSTACLE_UPLINK_UNUSED, "203.0.113.0/24 by up2, and others");
    seen.left_out = 3;
    SAYS(OBSTACLE_UPLINK_UNUSED, "3 more");
    strcpy(seen.lost, "what comes in by up2 for guests is led to tun0");
    SAYS(OBSTACLE_ANSWERS_LOST, "led to tun0", "to svbr0");
    strcpy(settings.uplink, "wg0");
    SAYS(OBSTACLE_NO_UPLINK, "no interface wg0");
    strcpy(seen.unused, "tun0");
    SAYS(OBSTACLE_UPLINK_UNUSED, "to tun0", "uplink is wg0", "PATCH /network");
    memset(seen.no_gate, 'w', sizeof seen.no_gate - 1); /* the longest reason leaves room for the way out */
    SAYS(OBSTACLE_NO_GATE, "wwww: guests", "CAP_BPF", "restart it");
    memset(seen.open_checksums, 'w', sizeof seen.open_checksums - 1);
    SAYS(OBSTACLE_OPEN_CHECKSUMS, "wwww: a guest", "CAP_PERFMON", "restart it");
}
END_TEST

START_TEST(advice_fits_whatever_the_names)
{
    settings.bridge = "fifteen-letters";
    for (int owner = 0; owner < BLOCK_OWNER_COUNT_; owner++) {
        seen.block =
            (struct forward_block){.found = true, .by_policy = true, .legacy = owner % 2 == 0, .owner = (enum forward_block_owner)owner, .family = "inet"};
        memset(seen.block.table, 't', 40); /* longer ones are cut to 63, and then so is the advice: it is for people */
        memset(seen.block.chain, 'c', 40);
        SAYS(OBSTACLE_HOST_FORWARD_DROP, "fifteen-letters", "cccc", "the policy");
        seen.block.by_policy = false;
        SAYS(OBSTACLE_HOST_FORWARD_DROP, "a rule");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("network_obstacles");
    TCase *tcase = tcase_create("obstacles");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, nothing);
    tcase_add_test(tcase, each_has_its_words);
    tcase_add_test(tcase, advice_fits_whatever_the_names);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
