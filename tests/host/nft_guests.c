/* Elements of guests held against those that are wanted; nft breaks them and is the judge. */
#include "host/nft/nft.h"

#include "tests/host/netns.h"

static const struct nft_base base = {.mark = "smartvmtest",
                                     .bridge = "br0",
                                     .tap_prefix = "svt",
                                     .subnet = {.address = 0xac1e0000, .prefix = 24},
                                     .gateway = 0xac1e0001,
                                     .max_flows = 100,
                                     .flow_rate = 100};

static const struct nft_guest guests[] = {
    {.tap = "svt1", .mac = {{0x02, 0x5a, 0, 0, 1, 1}}, .address = 0xac1e0002, .address6 = {0xfd, 0, [15] = 2}},
    {.tap = "svt2", .mac = {{0x02, 0x5a, 0, 0, 1, 2}}, .address = 0xac1e0003},
};
enum { GUESTS = 2 };

static struct error err;

static void make_base(void)
{
    netns_enter();
    MUST(nft_base_apply(&base, NULL, 0, guests, GUESTS, &err));
}

static struct nft_guest_differences differences(void)
{
    struct nft_guest_differences found = {.items = NULL};
    MUST(nft_guests_compare(base.mark, guests, GUESTS, &found, &err));
    return found;
}

static void check_same(void)
{
    struct nft_guest_differences found = differences();
    ck_assert_uint_eq(found.count, 0);
    nft_guest_differences_free(&found);
}

static const struct {
    const char *command;
    size_t guest;
    const char *words;
} damages[] = {
    {"nft delete element bridge smartvmtest guest4 { svt1 . 02:5a:00:00:01:01 . 172.30.0.2 }", 0, "svt1 172.30.0.2 in set guest4"},
    {"nft delete element bridge smartvmtest guest4 { svt2 . 02:5a:00:00:01:02 . 172.30.0.3 }", 1, "svt2 172.30.0.3 in set guest4"},
    {"nft delete element bridge smartvmtest guest_mac { svt2 . 02:5a:00:00:01:02 }", 1, "svt2 in set guest_mac"},
    {"nft delete element bridge smartvmtest guest6 { svt1 . 02:5a:00:00:01:01 . fd00::2 }", 0, "svt1 in set guest6"},
    {"nft delete element bridge smartvmtest guest6 { svt1 . 02:5a:00:00:01:01 . fe80::5a:ff:fe00:101 }", 0, "svt1 in set guest6"},
    {"nft add element bridge smartvmtest guest4 { svt1 . 02:5a:00:00:01:01 . 10.9.9.9 }", NFT_GUEST_NONE, "svt1 10.9.9.9 in set guest4"},
    {"nft add element bridge smartvmtest guest4 { svt3 . 02:5a:00:00:01:03 . 172.30.0.4 }", NFT_GUEST_NONE, "svt3 172.30.0.4 in set guest4"},
    {"nft add element bridge smartvmtest guest_mac { svt1 . 02:5a:00:00:01:02 }", NFT_GUEST_NONE, "svt1 in set guest_mac"},
    {"nft add element bridge smartvmtest guest6 { svt2 . 02:5a:00:00:01:02 . fd00::3 }", NFT_GUEST_NONE, "svt2 in set guest6"},
    {"nft delete element inet smartvmtest share1 { 02:5a:00:00:01:02 }", 1, "02:5a:00:00:01:02 in set share1"},
    {"nft add element inet smartvmtest share2 { 02:5a:00:00:01:02 }", NFT_GUEST_NONE, "02:5a:00:00:01:02 in set share2"},
};

START_TEST(a_damage_is_told_and_repaired)
{
    check_same();
    netns_run(damages[_i].command);
    struct nft_guest_differences found = differences();
    ck_assert_uint_eq(found.count, 1);
    ck_assert_str_eq(found.items[0].words, damages[_i].words);
    ck_assert_uint_eq(found.items[0].guest, damages[_i].guest);
    nft_guest_differences_free(&found);
    MUST(nft_guests_restore(base.mark, guests, GUESTS, &err));
    check_same();
    MUST(nft_guests_restore(base.mark, guests, GUESTS, &err));
    check_same();
}
END_TEST

/* An address too many shares TAP and MAC with what has to stay; counters stay, too. */
START_TEST(what_stays_is_not_touched)
{
    netns_run("nft add element bridge smartvmtest rate_arp { svt1 limit rate 50/second burst 100 packets }");
    netns_run("nft add element bridge smartvmtest guest4 { svt1 . 02:5a:00:00:01:01 . 10.9.9.9 }");
    MUST(nft_guests_restore(base.mark, guests, GUESTS, &err));
    check_same();
    ck_assert(netns_says("nft list set bridge smartvmtest rate_arp", "svt1"));
}
END_TEST

START_TEST(everything_at_once)
{
    netns_run("nft flush set bridge smartvmtest guest4");
    netns_run("nft flush set bridge smartvmtest guest_mac");
    netns_run("nft flush set bridge smartvmtest guest6");
    for (int i = 0; i < 100; i++) {
        char command[160];
        (void)snprintf(command, sizeof command, "nft add element bridge smartvmtest guest4 { svt9 . 02:5a:00:00:01:09 . 10.9.9.%d }", i + 1);
        netns_run(command);
    }
    struct nft_guest_differences found = differences();
    ck_assert_uint_eq(found.count, 2 + 2 + 2 + 100);
    nft_guest_differences_free(&found);
    MUST(nft_guests_restore(base.mark, guests, GUESTS, &err));
    check_same();
}
END_TEST

START_TEST(without_tables)
{
    MUST(nft_base_remove(base.mark, &err));
    struct nft_guest_differences found = differences();
    ck_assert_uint_eq(found.count, 8);
    nft_guest_differences_free(&found);
    ck_assert_int_ne(nft_guests_restore(base.mark, guests, GUESTS, &err), 0);
    ck_assert_int_eq(err.code, ERR_FIREWALL_SETUP_FAILED);
    MUST(nft_guests_restore(base.mark, NULL, 0, &err));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host/nft_guests");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, make_base, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_damage_is_told_and_repaired, 0, (int)ARRAY_LEN(damages));
    tcase_add_test(tests, what_stays_is_not_touched);
    tcase_add_test(tests, everything_at_once);
    tcase_add_test(tests, without_tables);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
