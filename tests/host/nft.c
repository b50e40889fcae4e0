/*
 * The firewall, in network namespaces of the test's own, with real TAPs and frames. `nft` is the judge of
 * what was made, and what passes and what does not is the judge of what it means: every "does not pass" has
 * its "passes" beside it.
 */
#include "tests/host/guest_box.h"

#include <pthread.h>

enum { INET_RULES = 62, BRIDGE_RULES = 27 }; /* without IPv6; with the two of the default policy */

static char words[NFT_FOUND_MAX]; /* of the last look */

static bool is_right(const struct nft_base *wanted)
{
    MUST(nft_base_check(wanted, words, &err));
    return words[0] == '\0';
}

static size_t listed_guests(void)
{
    return netns_count("nft list set bridge smartvmtest guest4", "\"svt");
}

/* ---- what is there ---- */

START_TEST(base_is_made_and_removed)
{
    ck_assert(!is_right(&base));
    apply();
    ck_assert(is_right(&base));
    apply();
    ck_assert(is_right(&base));
    ck_assert(netns_says("nft list chain inet smartvmtest from_guest", "oifname != \"br0\" oifname != @uplink goto no_uplink"));
    ck_assert(netns_says("nft list chain inet smartvmtest no_uplink", "meta mark set 0x00000020 goto dropped"));
    ck_assert(netns_says("nft list table inet smartvmtest", "ip saddr 172.30.0.0/24 oifname @uplink masquerade"));
    ck_assert(netns_says("nft list chain inet smartvmtest closed", "ip daddr @closed4 meta mark set 0x00000023 goto dropped"));
    ck_assert(netns_says("nft list chain inet smartvmtest admitted", "ct status & confirmed == confirmed accept"));
    ck_assert(
        netns_says("nft list chain inet smartvmtest admitted",
                   "@ll,48,48 @share1 add @flow_rate { @ll,48,48 limit rate 1000/second burst 4096 packets } add @flows { @ll,48,48 ct count 4096 } accept"));
    ck_assert(
        netns_says("nft list chain inet smartvmtest admitted",
                   "@ll,48,48 @share4 add @flow_rate { @ll,48,48 limit rate 250/second burst 1024 packets } add @flows { @ll,48,48 ct count 1024 } accept"));
    ck_assert(netns_says("nft list set inet smartvmtest share1", "02:5a:00:00:01:01"));
    ck_assert(netns_says("nft list chain bridge smartvmtest tap_ipv4", "iifname . ether saddr . @nh,96,32 @guest4"));
    ck_assert(netns_says("nft list set inet smartvmtest uplink", "elements = { \"up0\" }"));
    ck_assert(netns_says("nft list set bridge smartvmtest guest4", "\"svt1\" . 02:5a:00:00:01:01 . 172.30.0.2"));
    ck_assert_uint_eq(netns_count("nft -j list table inet smartvmtest", "{\"rule\":"), INET_RULES);
    ck_assert_uint_eq(netns_count("nft -j list table bridge smartvmtest", "{\"rule\":"), BRIDGE_RULES);
    ck_assert_uint_eq(netns_count("nft -j list ruleset", "{\"table\":"), 2);
    MUST(nft_base_remove(base.mark, &err));
    ck_assert(!is_right(&base));
    ck_assert_uint_eq(netns_count("nft -j list ruleset", "{\"table\":"), 0);
    MUST(nft_base_remove(base.mark, &err));
}
END_TEST

START_TEST(other_tables_are_left_alone)
{
    netns_run("nft add table inet other");
    netns_run("nft add chain inet other smartvmtest");
    netns_run("nft add table ip smartvmtest");
    apply();
    MUST(nft_base_remove(base.mark, &err));
    ck_assert_uint_eq(netns_count("nft -j list ruleset", "{\"table\":"), 2);
    ck_assert(netns_says("nft list table inet other", "chain smartvmtest"));
}
END_TEST

static const struct {
    const char *command;
    const char *found; /* how the words begin */
} damages[] = {
    {"nft delete table inet smartvmtest", "table inet smartvmtest is gone"},
    {"nft delete table bridge smartvmtest", "table bridge smartvmtest is gone"},
    {"nft add table inet smartvmtest { flags dormant ; }", "table inet smartvmtest is dormant"},
    {"nft flush table inet smartvmtest", "rule "},
    {"nft flush table bridge smartvmtest", "rule "},
    {"nft flush chain inet smartvmtest postrouting", "rule masquerade of chain postrouting of table inet is gone"},
    {"nft flush chain inet smartvmtest input", "rule "},
    {"nft flush ruleset", "table inet smartvmtest is gone"},
    {"nft add rule inet smartvmtest forward accept", "chain forward of table inet has an additional rule"},
    {"nft insert rule inet smartvmtest forward accept", "rule "},
    {"nft insert rule bridge smartvmtest prerouting accept comment mine", "rule "},
    {"nft add chain inet smartvmtest forward { policy drop ; }", "chain forward of table inet has another"},
};

START_TEST(damage_shows_and_is_repaired)
{
    apply();
    ck_assert(is_right(&base));
    netns_run(damages[_i].command);
    ck_assert(!is_right(&base));
    ck_assert_msg(strncmp(words, damages[_i].found, strlen(damages[_i].found)) == 0, "%s", words);
    apply();
    ck_assert(is_right(&base));
}
END_TEST

START_TEST(every_rule_is_missed)
{
    static char listing[OUTPUT_MAX];
    for (int rule = 0; rule < INET_RULES + BRIDGE_RULES; rule++) {
        const char *family = rule < INET_RULES ? "inet" : "bridge";
        char command[128];
        char chain[32];
        int handle = 0;
        apply();
        (void)snprintf(command, sizeof command, "nft -j -a list table %s smartvmtest", family);
        (void)netns_try(command, listing);
        const char *at = listing;
        for (int skip = rule < INET_RULES ? rule : rule - INET_RULES; skip >= 0; skip--) {
            at = strstr(at + 1, "{\"rule\":");
            ck_assert_ptr_nonnull(at);
        }
        ck_assert(sscanf(strstr(at, "\"chain\": \"") + 10, "%31[a-z0-9_]", chain) == 1);
        if (strncmp(chain, "host_", 5) == 0) {
            continue; /* policies are looked at by themselves: tests/host/nft_policy.c */
        }
        ck_assert(sscanf(strstr(at, "\"handle\": ") + 10, "%d", &handle) == 1);
        (void)snprintf(command, sizeof command, "nft delete rule %s smartvmtest %s handle %d", family, chain, handle);
        netns_run(command);
        ck_assert_msg(!is_right(&base), "%s", command);
    }
}
END_TEST

START_TEST(another_configuration_is_another_base)
{
    struct nft_base other[] = {base, base, base, base, base, base, base, base, base, base};
    other[0].bridge = "br1";
    other[1].tap_prefix = "sv";
    other[2].subnet.prefix = 25;
    other[3].subnet.address = 0xac1e0100;
    other[4].gateway++;
    other[5].masquerade = false;
    other[6].ipv6 = true;
    other[7].max_flows++;
    other[8].open_ports = &(const struct config_port){.protocol = IPPROTO_TCP, .port = 80};
    other[8].open_port_count = 1;
    other[9].bridge_mac.bytes[5]++;
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        apply();
        ck_assert(!is_right(&other[i]));
        MUST(nft_base_apply(&other[i], uplink, 1, guests, GUESTS, &err));
        ck_assert(is_right(&other[i]));
        ck_assert(!is_right(&base));
        ck_assert_int_eq(netns_says("nft list table inet smartvmtest", "@uplink masquerade"), other[i].masquerade);
    }
}
END_TEST

START_TEST(subnets_of_every_size)
{
    for (unsigned prefix = 1; prefix <= 32; prefix++) {
        struct nft_base sized = base;
        char wanted[64];
        char text[CIDR_TEXT_MAX];
        sized.subnet = (struct ipv4_net){.address = 0xac1e0001 & ipv4_mask(prefix), .prefix = prefix};
        MUST(nft_base_apply(&sized, NULL, 0, NULL, 0, &err));
        ck_assert(is_right(&sized));
        (void)snprintf(wanted, sizeof wanted, "ip saddr %s oifname", ipv4_net_format(sized.subnet, text));
        char *end = strstr(wanted, "/32 ");
        if (end != NULL) {
            memmove(end, end + 3, strlen(end + 3) + 1);
        }
        ck_assert_msg(netns_says("nft list chain inet smartvmtest postrouting", wanted), "%s", wanted);
    }
}
END_TEST

/* ---- elements ---- */

static void check_same(const struct nft_guest *wanted, size_t count)
{
    struct nft_guest_differences differences = {.items = NULL};
    MUST(nft_guests_compare(base.mark, wanted, count, &differences, &err));
    ck_assert_msg(differences.count == 0, "%s", differences.items[0].words);
    nft_guest_differences_free(&differences);
    ck_assert_uint_eq(listed_guests(), count);
}

START_TEST(guests_come_and_go)
{
    const struct nft_guest third = {.tap = "svt-longest-nam", .mac = {{2, 0xff, 0, 0, 0, 0}}, .address = 0xffffffff};
    const struct nft_guest all[] = {third, guests[0], guests[1]};
    ck_assert_uint_eq(listed_guests(), 0); /* no table at all */
    apply();
    check_same(guests, GUESTS);
    MUST(nft_guests_change(base.mark, &third, 1, NULL, 0, NULL, &err));
    check_same(all, 3);
    MUST(nft_guests_change(base.mark, &third, 1, NULL, 0, NULL, &err)); /* is there already */
    check_same(all, 3);
    MUST(nft_guests_change(base.mark, NULL, 0, &third, 1, NULL, &err));
    MUST(nft_guests_change(base.mark, NULL, 0, &third, 1, NULL, &err)); /* is gone already */
    check_same(guests, GUESTS);
    MUST(nft_guests_change(base.mark, &third, 1, guests, GUESTS, NULL, &err));
    check_same(&third, 1);
    MUST(nft_guests_change(base.mark, &third, 1, &third, 1, NULL, &err)); /* in both lists: stays */
    check_same(&third, 1);
    MUST(nft_guests_change(base.mark, NULL, 0, NULL, 0, NULL, &err));
    check_same(&third, 1);
    ck_assert(is_right(&base));
    apply(); /* what is applied replaces what was there */
    check_same(guests, GUESTS);
}
END_TEST

START_TEST(uplinks_are_replaced)
{
    char(*list)[INTERFACE_NAME_MAX] = NULL;
    const char *const two[] = {"sixteen-letters", "wg0"};
    size_t count = 99;
    MUST(nft_uplinks_list(base.mark, &list, &count, &err));
    ck_assert_uint_eq(count, 0);
    free(list);
    apply();
    MUST(nft_uplinks_replace(base.mark, two, 2, &err));
    MUST(nft_uplinks_list(base.mark, &list, &count, &err));
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(list[0], "sixteen-letters");
    ck_assert_str_eq(list[1], "wg0");
    free(list);
    MUST(nft_uplinks_replace(base.mark, two, 2, &err));
    MUST(nft_uplinks_replace(base.mark, two + 1, 1, &err));
    ck_assert(netns_says("nft list set inet smartvmtest uplink", "elements = { \"wg0\" }"));
    MUST(nft_uplinks_replace(base.mark, NULL, 0, &err));
    MUST(nft_uplinks_list(base.mark, &list, &count, &err));
    ck_assert_uint_eq(count, 0);
    free(list);
    ck_assert(is_right(&base));
}
END_TEST

START_TEST(the_refused_message_is_named)
{
    ck_assert(nft_guests_change(base.mark, guests, 1, NULL, 0, NULL, &err) != 0);
    ck_assert_int_eq(err.code, ERR_FIREWALL_SETUP_FAILED);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_ptr_nonnull(strstr(err.message, "elements of set guest4"));
    ck_assert(nft_uplinks_replace(base.mark, uplink, 1, &err) != 0);
    ck_assert_ptr_nonnull(strstr(err.message, "set uplink"));
    apply(); /* the socket is as good as before */
    ck_assert(is_right(&base));
}
END_TEST

START_TEST(a_refused_batch_changes_nothing)
{
    const struct nft_guest more = {.tap = "svt9", .mac = {{2, 9, 9, 9, 9, 9}}, .address = 1};
    struct nft_base wrong = base;
    char long_mark[300];
    (void)memset(long_mark, 'm', sizeof long_mark - 1);
    long_mark[sizeof long_mark - 1] = '\0';
    wrong.mark = long_mark; /* names of tables have 255 bytes at most */
    apply();
    MUST(nft_guests_change(base.mark, &more, 1, NULL, 0, NULL, &err));
    ck_assert(nft_base_apply(&wrong, uplink, 1, guests, GUESTS, &err) != 0);
    ck_assert_ptr_nonnull(strstr(err.message, "table inet mmm"));
    ck_assert_uint_eq(netns_count("nft -j list ruleset", "{\"table\":"), 2);
    ck_assert_uint_eq(listed_guests(), 3);
}
END_TEST

enum { MANY = 10000, THREADS = 8, ROUNDS = 100 };

START_TEST(ten_thousand_guests)
{
    struct nft_guest *many = calloc(MANY, sizeof *many);
    struct nft_guest_differences differences = {.items = NULL};
    ck_assert_ptr_nonnull(many);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(many[i].tap, sizeof many[i].tap, "svt%d", i);
        many[i].mac = (struct mac){{2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
        many[i].address = 0x0a000000 + (uint32_t)i;
    }
    int64_t start = clock_monotonic_us();
    MUST(nft_base_apply(&base, uplink, 1, many, MANY, &err));
    int64_t applied = clock_monotonic_us();
    MUST(nft_guests_compare(base.mark, many, MANY, &differences, &err));
    int64_t compared = clock_monotonic_us();
    ck_assert_uint_eq(differences.count, 0);
    nft_guest_differences_free(&differences);
    for (int i = 0; i < 200; i++) {
        MUST(nft_guests_change(base.mark, NULL, 0, &many[i], 1, NULL, &err));
    }
    int64_t removed = clock_monotonic_us();
    for (int i = 0; i < 200; i++) {
        MUST(nft_guests_change(base.mark, &many[i], 1, NULL, 0, NULL, &err));
    }
    int64_t added = clock_monotonic_us();
    ck_assert(is_right(&base));
    int64_t checked = clock_monotonic_us();
    ck_assert_uint_eq(netns_count("nft list set bridge smartvmtest guest4", "\"svt"), MANY);
    (void)printf("nft: base_apply with %d guests %.1f ms, compare %.1f ms, check %.2f ms, one removed %.0f us, "
                 "one added %.0f us\n",
                 MANY, (double)(applied - start) / 1000, (double)(compared - applied) / 1000, (double)(checked - added) / 1000,
                 (double)(removed - compared) / 200, (double)(added - removed) / 200);
    MUST(nft_guests_change(base.mark, NULL, 0, many, MANY, NULL, &err));
    ck_assert_uint_eq(listed_guests(), 0);
    free(many);
}
END_TEST

static void *change_often(void *arg)
{
    struct nft_guest guest = {.mac = {{2, 0, 0, 0, 0, *(uint8_t *)arg}}, .address = 1};
    for (int i = 0; i < ROUNDS; i++) {
        struct nft_guest_differences differences = {.items = NULL};
        (void)snprintf(guest.tap, sizeof guest.tap, "svt%d-%d", guest.mac.bytes[5], (uint8_t)i);
        ck_assert(nft_guests_change(base.mark, &guest, 1, NULL, 0, NULL, NULL) == 0);
        ck_assert(nft_guests_compare(base.mark, &guest, 1, &differences, NULL) == 0);
        nft_guest_differences_free(&differences);
        if (i % 2 == 1) {
            ck_assert(nft_guests_change(base.mark, NULL, 0, &guest, 1, NULL, NULL) == 0);
        }
    }
    return NULL;
}

START_TEST(many_threads)
{
    pthread_t threads[THREADS];
    uint8_t numbers[THREADS];
    apply();
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = (uint8_t)i;
        ck_assert(pthread_create(&threads[i], NULL, change_often, &numbers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert(pthread_join(threads[i], NULL) == 0);
    }
    ck_assert_uint_eq(listed_guests(), GUESTS + THREADS * ROUNDS / 2);
}
END_TEST

START_TEST(a_forked_child_has_its_own_socket)
{
    int status = 0;
    apply();
    pid_t pid = fork();
    if (pid == 0) {
        _exit(nft_guests_change(base.mark, NULL, 0, guests, 1, NULL, NULL) == 0 ? 0 : 1);
    }
    ck_assert_uint_ge(listed_guests(), 1);
    ck_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    ck_assert_uint_eq(listed_guests(), 1);
}
END_TEST

/* ---- news ---- */

static bool others_changed; /* at the last look */

static bool is_concerned(int fd)
{
    bool concerned = false;
    MUST(nft_monitor_drain(fd, base.mark, &concerned, &others_changed, &err));
    return concerned;
}

START_TEST(monitor_tells_of_others)
{
    int fd = -1;
    MUST(nft_monitor_open(&fd, &err));
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    apply();
    MUST(nft_guests_change(base.mark, NULL, 0, guests, 1, NULL, &err));
    ck_assert_int_eq(poll(&readable, 1, 1000), 1);
    ck_assert_msg(!is_concerned(fd), "our own change was taken for another's");
    netns_run("nft add table inet other");
    netns_run("nft add table ip smartvmtest");
    ck_assert(!is_concerned(fd));
    ck_assert(others_changed);
    netns_run("nft add set inet other s { type ipv4_addr ; }");
    ck_assert(!is_concerned(fd) && !others_changed); /* sets of others decide nothing by themselves */
    netns_run("nft add chain inet other c");
    ck_assert(!is_concerned(fd) && others_changed);
    static const char *const changes[] = {
        "nft add element inet smartvmtest uplink { eth7 }",
        "nft delete element bridge smartvmtest guest4 { svt2 . 02:5a:00:00:01:02 . 172.30.0.3 }",
        "nft add rule inet smartvmtest forward accept",
        "nft add chain bridge smartvmtest more",
        "nft flush chain inet smartvmtest forward",
        "nft delete table bridge smartvmtest",
        "nft flush ruleset",
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        netns_run(changes[i]);
        ck_assert_msg(is_concerned(fd), "%s", changes[i]);
        ck_assert(!is_concerned(fd));
    }
    (void)close(fd);
}
END_TEST

START_TEST(monitor_that_lost_news_is_concerned)
{
    int fd = -1;
    const int small = 4096;
    MUST(nft_monitor_open(&fd, &err));
    ck_assert(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    for (int i = 0; i < 20; i++) {
        netns_run(i % 2 == 0 ? "nft add table ip other" : "nft delete table ip other");
    }
    ck_assert(is_concerned(fd));
    (void)close(fd);
}
END_TEST

/* ---- packets ---- */

START_TEST(arp_is_only_the_guests_own)
{
    const struct mac wrong = {{0x02, 0x5a, 0, 0, 9, 9}};
    const struct arp_fields good = {.ether_from = guests[0].mac,
                                    .ether_to = broadcast_mac,
                                    .operation = ARPOP_REQUEST,
                                    .sender_mac = guests[0].mac,
                                    .sender = guests[0].address,
                                    .target = gateway};
    struct arp_fields bad[] = {good, good, good, good, good, good, good};
    bad[0].ether_from = wrong;
    bad[1].sender_mac = wrong;
    bad[2].sender = gateway; /* would take the gateway's place */
    bad[3].sender = guests[1].address;
    bad[4].ether_from = bad[4].sender_mac = guests[1].mac;
    bad[4].sender = guests[1].address; /* all of the other guest's, on this TAP */
    bad[5].operation = ARPOP_REPLY;
    bad[5].sender = gateway;
    bad[6].sender = 0;
    struct frame f = frame_arp(&good);
    ck_assert(passes(0, &f));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f = frame_arp(&bad[i]);
        ck_assert_msg(!passes(0, &f), "bad ARP %zu", i);
    }
    f = frame_arp(&good);
    f.bytes[19] = 8; /* says that addresses have eight bytes */
    ck_assert(!passes(0, &f));
    f = frame_arp(&good);
    f.len = 30; /* ends in the middle */
    ck_assert(!passes(0, &f));
    MUST(nft_base_remove(base.mark, &err));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f = frame_arp(&bad[i]);
        ck_assert_msg(passes(0, &f), "bad ARP %zu is not stopped by the chain, but by something else", i);
    }
}
END_TEST

START_TEST(ipv4_is_only_from_the_guests_own_address)
{
    const struct mac wrong = {{0x02, 0x5a, 0, 0, 9, 9}};
    const struct nft_guest *me = &guests[0];
    const struct frame good = frame_udp(bridge_mac, me->mac, me->address, gateway, 9);
    const struct frame bad[] = {
        frame_udp(bridge_mac, wrong, me->address, gateway, 9),
        frame_udp(bridge_mac, me->mac, guests[1].address, gateway, 9),
        frame_udp(bridge_mac, me->mac, gateway, gateway, 9),
        frame_udp(bridge_mac, me->mac, 0, 0xffffffff, 67),
        frame_udp(bridge_mac, guests[1].mac, guests[1].address, gateway, 9),
        frame_ether(bridge_mac, me->mac, ETHERTYPE_IPV6),
        frame_ether(bridge_mac, me->mac, 0x88b5),
        frame_ether(bridge_mac, me->mac, 0x0100), /* a length: LLC */
    };
    ck_assert(passes(0, &good));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct frame f = bad[i];
        f.len = f.len < 60 ? 60 : f.len;
        ck_assert_msg(!passes(0, &f), "bad frame %zu", i);
    }
}
END_TEST

static bool is_from(const uint8_t *frame, size_t len, const void *wanted)
{
    const struct mac *mac = wanted;
    return len >= 14 && memcmp(frame + 6, mac->bytes, sizeof mac->bytes) == 0;
}

START_TEST(tagged_frames_do_not_pass)
{
    const struct nft_guest *me = &guests[0];
    const struct frame good = frame_udp(bridge_mac, me->mac, me->address, gateway, 9);
    const struct frame once = frame_tagged(&good);
    const struct frame twice = frame_tagged(&once);
    while (frame_await(net.bridge, 0, is_from, &me->mac, QUIET_MS)) {
    }
    frame_send(net.tap[0], &once);
    frame_send(net.tap[0], &twice);
    ck_assert(!frame_await(net.bridge, 0, is_from, &me->mac, QUIET_MS));
    MUST(nft_base_remove(base.mark, &err));
    frame_send(net.tap[0], &once);
    ck_assert(frame_await(net.bridge, 0, is_from, &me->mac, ANSWER_MS));
}
END_TEST

START_TEST(a_removed_guest_is_cut_off)
{
    ck_assert(has_gateway(0, ANSWER_MS));
    MUST(nft_guests_change(base.mark, NULL, 0, guests, 1, NULL, &err));
    ck_assert(!has_gateway(0, QUIET_MS));
    ck_assert(has_gateway(1, ANSWER_MS));
    MUST(nft_guests_change(base.mark, guests, 1, NULL, 0, NULL, &err));
    ck_assert(has_gateway(0, ANSWER_MS));
}
END_TEST

/* Frames to these groups are by default handed to the host as if the TAP were no bridge port: past the bridge
 * chain, and not "from the bridge". */
START_TEST(link_local_groups_are_no_way_around)
{
    const struct nft_guest *me = &guests[0];
    const int server = udp_server(7777);
    for (uint8_t last = 0; last < 16; last++) {
        const struct mac group = {{0x01, 0x80, 0xc2, 0, 0, last}};
        const struct frame honest = frame_udp(group, me->mac, me->address, gateway, 7777);
        const struct frame spoofed = frame_udp(group, me->mac, 0x0a090003, gateway, 7777);
        frame_send(net.tap[0], &honest);
        frame_send(net.tap[0], &spoofed);
        ck_assert_msg(!comes_in(server, NULL, 20), "group %u", last);
    }
    const struct mac lldp = {{0x01, 0x80, 0xc2, 0, 0, 0x0e}};
    const struct frame spoofed = frame_udp(lldp, me->mac, 0x0a090003, gateway, 7777);
    /* Each of the two locks holds alone. */
    netns_run("ip link set svt1 type bridge_slave group_fwd_mask 0");
    frame_send(net.tap[0], &spoofed);
    ck_assert(!comes_in(server, NULL, QUIET_MS));
    MUST(nft_base_remove(base.mark, &err));
    frame_send(net.tap[0], &spoofed);
    ck_assert_msg(comes_in(server, NULL, ANSWER_MS), "there was no way around to be closed");
    (void)close(server);
}
END_TEST

static bool is_echo_reply(const uint8_t *frame, size_t len, const void *wanted)
{
    (void)wanted;
    return len >= 42 && frame[12] == 8 && frame[13] == 0 && frame[23] == IPPROTO_ICMP && frame[34] == ICMP_ECHOREPLY;
}

static bool is_tcp(const uint8_t *frame, size_t len, const void *wanted)
{
    (void)wanted;
    return len >= 54 && frame[12] == 8 && frame[13] == 0 && frame[23] == IPPROTO_TCP;
}

static bool pings(uint32_t address, int timeout_ms)
{
    const struct frame f = frame_ping(bridge_mac, guests[0].mac, guests[0].address, address);
    frame_send(net.tap[0], &f);
    return frame_await(net.tap[0], VNET_HEADER_BYTES, is_echo_reply, NULL, timeout_ms);
}

START_TEST(the_host_answers_ping_and_nothing_else)
{
    const struct frame syn = frame_syn(bridge_mac, guests[0].mac, guests[0].address, gateway, 7777);
    const int server = udp_server(7777);
    const struct frame udp = frame_udp(bridge_mac, guests[0].mac, guests[0].address, gateway, 7777);
    ck_assert(pings(gateway, ANSWER_MS));
    ck_assert_msg(!pings(0x0a090001, QUIET_MS), "another address of the host answers");
    frame_send(net.tap[0], &syn);
    ck_assert(!frame_await(net.tap[0], VNET_HEADER_BYTES, is_tcp, NULL, QUIET_MS));
    frame_send(net.tap[0], &udp);
    ck_assert(!comes_in(server, NULL, QUIET_MS));
    take_all_away();
    frame_send(net.tap[0], &syn);
    ck_assert(frame_await(net.tap[0], VNET_HEADER_BYTES, is_tcp, NULL, ANSWER_MS));
    frame_send(net.tap[0], &udp);
    ck_assert(comes_in(server, NULL, ANSWER_MS));
    (void)close(server);
}
END_TEST

static bool is_udp_to(const uint8_t *frame, size_t len, const void *wanted)
{
    const struct mac *mac = wanted;
    return len >= 42 && frame[12] == 8 && frame[13] == 0 && frame[23] == IPPROTO_UDP && memcmp(frame, mac->bytes, sizeof mac->bytes) == 0;
}

START_TEST(the_host_reaches_one_guest_and_hears_its_answer)
{
    const int client = udp_server(5555);
    netns_run("ip neigh replace 172.30.0.2 lladdr 02:5a:00:00:01:01 dev br0 nud permanent");
    host_sends(client, guests[0].address, 5000);
    ck_assert(frame_await(net.tap[0], VNET_HEADER_BYTES, is_udp_to, &guests[0].mac, ANSWER_MS));
    ck_assert_msg(!frame_await(net.tap[1], VNET_HEADER_BYTES, is_udp_to, &guests[0].mac, QUIET_MS), "the other guest sees it, too");
    const struct frame answer = frame_udp(bridge_mac, guests[0].mac, guests[0].address, gateway, 5555);
    frame_send(net.tap[0], &answer);
    ck_assert(comes_in(client, NULL, ANSWER_MS));
    /* A frame to a MAC that nobody has goes nowhere. */
    netns_run("ip neigh replace 172.30.0.2 lladdr 02:5a:00:00:07:07 dev br0 nud permanent");
    const struct mac nobody = {{0x02, 0x5a, 0, 0, 7, 7}};
    host_sends(client, guests[0].address, 5000);
    ck_assert(!frame_await(net.tap[0], VNET_HEADER_BYTES, is_udp_to, &nobody, QUIET_MS));
    ck_assert(!frame_await(net.tap[1], VNET_HEADER_BYTES, is_udp_to, &nobody, QUIET_MS));
    (void)close(client);
}
END_TEST

START_TEST(guests_do_not_reach_each_other)
{
    const struct frame direct = frame_udp(guests[1].mac, guests[0].mac, guests[0].address, guests[1].address, 9);
    const struct frame to_all = frame_udp(broadcast_mac, guests[0].mac, guests[0].address, 0xac1e00ff, 9);
    const struct frame arp = good_arp(0);
    const struct frame by_gateway = frame_udp(bridge_mac, guests[0].mac, guests[0].address, guests[1].address, 9);
    const struct frame all[] = {direct, to_all, arp, by_gateway};
    netns_run("ip neigh replace 172.30.0.3 lladdr 02:5a:00:00:01:02 dev br0 nud permanent");
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        frame_send(net.tap[0], &all[i]);
    }
    ck_assert(!frame_await(net.tap[1], VNET_HEADER_BYTES, is_from, &guests[0].mac, QUIET_MS));
    ck_assert(!frame_await(net.tap[1], VNET_HEADER_BYTES, is_udp_to, &guests[1].mac, QUIET_MS));
    /* Each lock alone: the forward chain closes the way by the gateway, the port's isolation that over the
     * bridge. */
    take_all_away();
    frame_send(net.tap[0], &by_gateway);
    ck_assert(frame_await(net.tap[1], VNET_HEADER_BYTES, is_udp_to, &guests[1].mac, ANSWER_MS));
    frame_send(net.tap[0], &direct);
    ck_assert(!frame_await(net.tap[1], VNET_HEADER_BYTES, frame_is, &direct, QUIET_MS));
    netns_run("ip link set svt1 type bridge_slave isolated off");
    frame_send(net.tap[0], &direct);
    ck_assert(frame_await(net.tap[1], VNET_HEADER_BYTES, frame_is, &direct, ANSWER_MS));
}
END_TEST

START_TEST(guests_leave_by_the_uplink_masqueraded)
{
    struct sockaddr_in from;
    const int server = beyond_server(7777);
    const struct frame out = frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, 7777);
    frame_send(net.tap[0], &out);
    ck_assert(comes_in(server, &from, ANSWER_MS));
    ck_assert_uint_eq(ntohl(from.sin_addr.s_addr), 0x0a090001);
    host_sends(server, 0x0a090001, ntohs(from.sin_port));
    ck_assert_msg(frame_await(net.tap[0], VNET_HEADER_BYTES, is_udp_to, &guests[0].mac, ANSWER_MS), "the answer does not come back");
    ck_assert(pings(far, ANSWER_MS));
    /* Without an uplink nothing leaves, not even what was on its way. */
    MUST(nft_uplinks_replace(base.mark, NULL, 0, &err));
    frame_send(net.tap[0], &out);
    ck_assert(!comes_in(server, NULL, QUIET_MS));
    MUST(nft_uplinks_replace(base.mark, uplink, 1, &err));
    frame_send(net.tap[0], &out);
    ck_assert(comes_in(server, NULL, ANSWER_MS));
    (void)close(server);
}
END_TEST

START_TEST(without_masquerade_guests_show_their_own_address)
{
    struct sockaddr_in from;
    struct nft_base plain = base;
    const int server = beyond_server(7777);
    const struct frame out = frame_udp(bridge_mac, guests[0].mac, guests[0].address, far, 7777);
    plain.masquerade = false;
    MUST(nft_base_apply(&plain, uplink, 1, guests, GUESTS, &err));
    frame_send(net.tap[0], &out);
    ck_assert(comes_in(server, &from, ANSWER_MS));
    ck_assert_uint_eq(ntohl(from.sin_addr.s_addr), guests[0].address);
    (void)close(server);
}
END_TEST

static bool is_metadata(const uint8_t *frame, size_t len, const void *wanted)
{
    const uint32_t address = htonl(metadata_host);
    (void)wanted;
    return len >= 34 && memcmp(frame + 30, &address, sizeof address) == 0;
}

START_TEST(the_metadata_service_is_out_of_reach)
{
    const struct frame out = frame_udp(bridge_mac, guests[0].mac, guests[0].address, metadata_host, 80);
    netns_go(net.beyond);
    const int seen = packet_socket("peer0");
    netns_go(net.host);
    frame_send(net.tap[0], &out);
    ck_assert(!frame_await(seen, 0, is_metadata, NULL, QUIET_MS));
    take_all_away();
    frame_send(net.tap[0], &out);
    ck_assert(frame_await(seen, 0, is_metadata, NULL, ANSWER_MS));
    (void)close(seen);
}
END_TEST

START_TEST(nobody_beyond_reaches_a_guest_unasked)
{
    const int client = beyond_server(7777);
    netns_run("ip neigh replace 172.30.0.2 lladdr 02:5a:00:00:01:01 dev br0 nud permanent");
    host_sends(client, guests[0].address, 22);
    ck_assert(!frame_await(net.tap[0], VNET_HEADER_BYTES, is_udp_to, &guests[0].mac, QUIET_MS));
    take_all_away();
    host_sends(client, guests[0].address, 22);
    ck_assert(frame_await(net.tap[0], VNET_HEADER_BYTES, is_udp_to, &guests[0].mac, ANSWER_MS));
    (void)close(client);
}
END_TEST

START_TEST(a_link_that_is_no_guest_is_not_touched)
{
    netns_run("ip link add ext0 type veth peer name ext1");
    netns_run("ip link set ext0 master br0");
    netns_run("ip link set ext0 up");
    netns_run("ip link set ext1 up");
    const int ext = packet_socket("ext1");
    const struct mac mac = {{0x02, 0, 0, 0, 0, 0x77}};
    const struct frame f = frame_udp(broadcast_mac, mac, 0xac1e0077, 0xac1e00ff, 9);
    bool seen = false;
    for (int tries = 0; tries < 50 && !seen; tries++) {
        ck_assert_int_eq(write(ext, f.bytes, f.len), (ssize_t)f.len);
        seen = frame_await(net.bridge, 0, frame_is, &f, 100);
    }
    ck_assert(seen);
    (void)close(ext);
}
END_TEST

static TCase *table_tests(void)
{
    TCase *tests = tcase_create("tables");
    tcase_add_checked_fixture(tests, netns_enter, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, base_is_made_and_removed);
    tcase_add_test(tests, other_tables_are_left_alone);
    tcase_add_loop_test(tests, damage_shows_and_is_repaired, 0, (int)ARRAY_LEN(damages));
    tcase_add_test(tests, every_rule_is_missed);
    tcase_add_test(tests, another_configuration_is_another_base);
    tcase_add_test(tests, subnets_of_every_size);
    tcase_add_test(tests, guests_come_and_go);
    tcase_add_test(tests, uplinks_are_replaced);
    tcase_add_test(tests, the_refused_message_is_named);
    tcase_add_test(tests, a_refused_batch_changes_nothing);
    tcase_add_test(tests, ten_thousand_guests);
    tcase_add_test(tests, many_threads);
    tcase_add_test(tests, a_forked_child_has_its_own_socket);
    tcase_add_test(tests, monitor_tells_of_others);
    tcase_add_test(tests, monitor_that_lost_news_is_concerned);
    return tests;
}

static TCase *packet_tests(void)
{
    TCase *tests = tcase_create("packets");
    tcase_add_checked_fixture(tests, make_host, end_host);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, arp_is_only_the_guests_own);
    tcase_add_test(tests, ipv4_is_only_from_the_guests_own_address);
    tcase_add_test(tests, tagged_frames_do_not_pass);
    tcase_add_test(tests, a_removed_guest_is_cut_off);
    tcase_add_test(tests, link_local_groups_are_no_way_around);
    tcase_add_test(tests, the_host_answers_ping_and_nothing_else);
    tcase_add_test(tests, the_host_reaches_one_guest_and_hears_its_answer);
    tcase_add_test(tests, guests_do_not_reach_each_other);
    tcase_add_test(tests, guests_leave_by_the_uplink_masqueraded);
    tcase_add_test(tests, without_masquerade_guests_show_their_own_address);
    tcase_add_test(tests, the_metadata_service_is_out_of_reach);
    tcase_add_test(tests, nobody_beyond_reaches_a_guest_unasked);
    tcase_add_test(tests, a_link_that_is_no_guest_is_not_touched);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("host/nft");
    suite_add_tcase(suite, table_tests());
    suite_add_tcase(suite, packet_tests());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
