/* Foreign rules that stop forwarding, made by nft and both iptables; the packets of a guest say whether it is true, and whether the advice helps. */
#include "host/nft/forward_block.h"

#include "tests/host/guest_box.h"

static struct forward_block block;

static bool is_blocked(void)
{
    MUST(forward_block_find(base.mark, base.bridge, &block, &err));
    return block.found;
}

/* What the guest sends comes out beyond the uplink. */
static bool gets_out(void)
{
    const int server = beyond_server(7777);
    struct frame f = frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, 7777);
    frame_send(net.tap[0], &f);
    bool out = comes_in(server, NULL, QUIET_MS);
    (void)close(server);
    return out;
}

/* Each command of the advice, as it stands there. */
static void follow_advice(void)
{
    char text[BLOCK_TEXT_MAX];
    forward_block_advice(&block, base.bridge, text);
    char *commands = strstr(text, "by: ");
    ck_assert_ptr_nonnull(commands);
    for (char *save = NULL, *command = strtok_r(commands + 4, ";", &save); command != NULL; command = strtok_r(NULL, ";", &save)) {
        netns_run(command);
    }
}

static const struct {
    const char *commands[6];
    enum forward_block_owner owner;
    bool by_policy, legacy;
    const char *table, *chain;
} blocks[] = {
    {{"nft add table ip x", "nft add chain ip x y { type filter hook forward priority 0 ; policy drop ; }"}, BLOCK_BY_NFT, true, false, "x", "y"},
    {{"nft add table inet x", "nft add chain inet x y { type filter hook forward priority -10 ; }", "nft add rule inet x y ct state established accept",
      "nft add rule inet x y counter drop"},
     BLOCK_BY_NFT,
     false,
     false,
     "x",
     "y"},
    {{"nft add table inet x", "nft add chain inet x y { type filter hook forward priority 10 ; }", "nft add rule inet x y reject with icmpx admin-prohibited"},
     BLOCK_BY_NFT,
     false,
     false,
     "x",
     "y"},
    {{"iptables-nft -P FORWARD DROP"}, BLOCK_BY_IPTABLES, true, false, "filter", "FORWARD"},
    {{"iptables-nft -A FORWARD -j REJECT"}, BLOCK_BY_IPTABLES, false, false, "filter", "FORWARD"},
    {{"iptables-nft -N DOCKER-USER", "iptables-nft -A FORWARD -j DOCKER-USER", "iptables-nft -A DOCKER-USER -j RETURN", "iptables-nft -P FORWARD DROP"},
     BLOCK_BY_DOCKER,
     true,
     false,
     "filter",
     "FORWARD"},
    {{"iptables-legacy -P FORWARD DROP"}, BLOCK_BY_IPTABLES, true, true, "filter", "FORWARD"},
    {{"iptables-legacy -N DOCKER-USER", "iptables-legacy -A FORWARD -j DOCKER-USER", "iptables-legacy -A DOCKER-USER -j RETURN",
      "iptables-legacy -P FORWARD DROP"},
     BLOCK_BY_DOCKER,
     true,
     true,
     "filter",
     "FORWARD"},
};

START_TEST(a_block_is_found_and_the_advice_helps)
{
    ck_assert(!is_blocked() && gets_out());
    for (const char *const *command = blocks[_i].commands; *command != NULL; command++) {
        netns_run(*command);
    }
    ck_assert(!gets_out());
    ck_assert(is_blocked());
    ck_assert_int_eq(block.owner, blocks[_i].owner);
    ck_assert_int_eq(block.by_policy, blocks[_i].by_policy);
    ck_assert_int_eq(block.legacy, blocks[_i].legacy);
    ck_assert_str_eq(block.table, blocks[_i].table);
    ck_assert_str_eq(block.chain, blocks[_i].chain);
    /* As the daemon has nothing of its own there, it leaves it to whoever has; and looking changes nothing. */
    if (blocks[_i].legacy) {
        /* The advice says plain "iptables-legacy". */
        ck_assert(netns_says("iptables-legacy -S FORWARD", "-P FORWARD DROP"));
    }
    if (blocks[_i].table[0] == 'f' && !blocks[_i].legacy && !netns_says("iptables -V", "nf_tables")) {
        return; /* here `iptables` is the old one, and the advice is for where it made the rules */
    }
    follow_advice();
    ck_assert(!is_blocked());
    ck_assert(gets_out());
}
END_TEST

START_TEST(ufw_is_known)
{
    char text[BLOCK_TEXT_MAX];
    netns_run("iptables-nft -N ufw-before-forward");
    netns_run("iptables-nft -P FORWARD DROP");
    ck_assert(is_blocked());
    ck_assert_int_eq(block.owner, BLOCK_BY_UFW);
    forward_block_advice(&block, base.bridge, text);
    ck_assert_ptr_nonnull(strstr(text, "ufw route allow in on br0"));
}
END_TEST

START_TEST(firewalld_is_known)
{
    char text[BLOCK_TEXT_MAX];
    netns_run("nft add table inet firewalld");
    netns_run("nft add chain inet firewalld filter_FORWARD { type filter hook forward priority 10 ; }");
    netns_run("nft add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited");
    ck_assert(is_blocked());
    forward_block_advice(&block, base.bridge, text);
    ck_assert_ptr_nonnull(strstr(text, "--add-interface=br0"));
}
END_TEST

static const char *const harmless[] = {
    "nft add chain ip x y { type filter hook input priority 0 ; policy drop ; }",
    "nft add chain ip x y { type filter hook forward priority 0 ; policy accept ; }",
    "nft add chain ip6 x y { type filter hook forward priority 0 ; policy drop ; }",
    "nft add chain bridge x y { type filter hook forward priority 0 ; policy drop ; }",
    "nft add chain ip x y",
};

START_TEST(others_do_not_block)
{
    netns_run("nft add table ip x");
    netns_run("nft add table ip6 x");
    netns_run("nft add table bridge x");
    netns_run(harmless[_i]);
    ck_assert(!is_blocked());
    ck_assert(gets_out());
}
END_TEST

START_TEST(a_rule_with_a_condition_is_no_block)
{
    netns_run("nft add table ip x");
    netns_run("nft add chain ip x y { type filter hook forward priority 0 ; }");
    netns_run("nft add rule ip x y tcp dport 25 drop");
    ck_assert(!is_blocked());
    ck_assert(gets_out());
}
END_TEST

START_TEST(looking_loads_nothing)
{
    ck_assert(!is_blocked());
    ck_assert_uint_eq(netns_count("cat /proc/self/net/ip_tables_names", "filter"), 0);
    ck_assert_uint_eq(netns_count("nft -j list ruleset", "{\"table\":"), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host/forward_block");
    TCase *tcase = tcase_create("forward_block");
    tcase_add_checked_fixture(tcase, make_host, end_host);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_block_is_found_and_the_advice_helps, 0, (int)ARRAY_LEN(blocks));
    tcase_add_test(tcase, ufw_is_known);
    tcase_add_test(tcase, firewalld_is_known);
    tcase_add_loop_test(tcase, others_do_not_block, 0, (int)ARRAY_LEN(harmless));
    tcase_add_test(tcase, a_rule_with_a_condition_is_no_block);
    tcase_add_test(tcase, looking_loads_nothing);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
