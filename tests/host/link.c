/* Links, in a network namespace of the test's own; iproute2 is the judge. */
#include "host/link/link.h"

#include "core/clock.h"
#include "tests/host/netns.h"

#include <pthread.h>
#include <sys/ptrace.h>

static const struct mac bridge_mac = {{0x02, 0x5a, 0, 0, 0, 1}};
static const struct mac guest_mac = {{0x02, 0x5a, 0, 0, 1, 1}};
static const uint32_t gateway = 0xac1e0001;
enum { PREFIX = 24, UNFINISHED_GROUP = 0x536d5642 };

static struct error err;

static bool make_bridge(void)
{
    bool created = false;
    MUST(link_bridge_ensure("br0", "mark:bridge", bridge_mac, gateway, PREFIX, &created, &err));
    return created;
}

static void make_tap(const char *name)
{
    MUST(link_tap_ensure(name, "mark:vm", "br0", guest_mac, (uid_t)-1, &err));
}

static bool exists(const char *name)
{
    bool found = false;
    struct link_info link;
    MUST(link_get(name, &link, &found, &err));
    return found;
}

static struct link_info get(const char *name)
{
    bool found = false;
    struct link_info link;
    MUST(link_get(name, &link, &found, &err));
    ck_assert_msg(found, "no link %s", name);
    return link;
}

static bool has_gateway(void)
{
    return netns_says("ip -4 -o addr show dev br0", "inet 172.30.0.1/24") && netns_count("ip -4 -o addr show dev br0", "inet ") == 1;
}

static void check_bridge(void)
{
    struct link_info link = get("br0");
    ck_assert(link.is_bridge && link.up && !link.is_tap && link.master == 0);
    ck_assert_str_eq(link.alias, "mark:bridge");
    ck_assert_mem_eq(link.mac.bytes, bridge_mac.bytes, sizeof bridge_mac.bytes);
    ck_assert(has_gateway());
    ck_assert(netns_says("ip -d link show br0", " forward_delay 0 "));
    ck_assert(netns_says("ip -d link show br0", " stp_state 0 "));
    ck_assert(netns_says("ip -d link show br0", "group default"));
    ck_assert(netns_says("ip -4 addr show dev br0", "inet 172.30.0.1/24 scope global br0"));
    ck_assert_uint_eq(netns_count("ip -4 addr show dev br0", "inet "), 1);
}

START_TEST(bridge_is_made_once)
{
    ck_assert(!exists("br0"));
    ck_assert(make_bridge());
    check_bridge();
    int index = get("br0").index;
    ck_assert(!make_bridge());
    check_bridge();
    ck_assert_int_eq(get("br0").index, index);
}
END_TEST

static const char *const bridge_damages[] = {
    "ip link set br0 down",
    "ip addr add 10.1.2.3/8 dev br0",
    "ip addr add 172.30.0.9/24 dev br0",
    "ip addr del 172.30.0.1/24 dev br0",
    "ip addr replace 172.30.0.1/16 dev br0",
    "ip link set br0 address 02:00:00:00:00:99",
    "ip link set br0 type bridge stp_state 1 forward_delay 400",
    "ip link set br0 type bridge mcast_snooping 1",
    "ip link set br0 alias mark:something",
};

START_TEST(bridge_is_repaired)
{
    ck_assert(make_bridge());
    netns_run(bridge_damages[_i]);
    ck_assert(!make_bridge());
    check_bridge();
}
END_TEST

START_TEST(bridge_takes_a_new_address)
{
    bool created = true;
    ck_assert(make_bridge());
    netns_run("ip addr add 172.30.0.9/24 dev br0"); /* a secondary one, which goes with its primary */
    MUST(link_bridge_ensure("br0", "mark:bridge", bridge_mac, 0xac1e0009, 24, &created, &err));
    ck_assert(!created);
    ck_assert(netns_says("ip -4 -o addr show dev br0", "inet 172.30.0.9/24"));
    ck_assert_uint_eq(netns_count("ip -4 -o addr show dev br0", "inet "), 1);
    ck_assert(!has_gateway());
}
END_TEST

static const struct {
    const char *made_by;
    const char *alias;
} foreign_bridges[] = {
    {"ip link add br0 type bridge", NULL},
    {"ip link add br0 type bridge", "other:bridge"},
    {"ip link add br0 type bridge", "marked:bridge"},
    {"ip link add br0 type bridge", "mark"},
    {"ip link add br0 type veth peer name peer0", "mark:bridge"},
    {"ip link add br0 type veth peer name peer0", NULL},
    {"ip link add br0 group 1399674434 type bridge", NULL}, /* our group, but another MAC */
};

START_TEST(foreign_bridge_is_left_alone)
{
    static char before[OUTPUT_MAX];
    static char after[OUTPUT_MAX];
    char command[64];
    bool created = false;
    netns_run(foreign_bridges[_i].made_by);
    if (foreign_bridges[_i].alias != NULL) {
        (void)snprintf(command, sizeof command, "ip link set br0 alias %s", foreign_bridges[_i].alias);
        netns_run(command);
    }
    (void)netns_try("ip -d addr show br0", before);
    ck_assert(link_bridge_ensure("br0", "mark:bridge", bridge_mac, gateway, PREFIX, &created, &err) != 0);
    ck_assert_int_eq(err.code, ERR_BRIDGE_SETUP_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "br0"));
    (void)netns_try("ip -d addr show br0", after);
    ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(half_made_bridge_is_finished)
{
    netns_run("ip link add br0 address 02:5a:00:00:00:01 group 1399674434 type bridge");
    ck_assert_int_eq(UNFINISHED_GROUP, 1399674434);
    ck_assert(!make_bridge());
    check_bridge();
}
END_TEST

START_TEST(failed_bridge_is_taken_back)
{
    bool created = false;
    ck_assert(link_bridge_ensure("br0", "mark:bridge", bridge_mac, gateway, 33, &created, &err) != 0);
    ck_assert_int_eq(err.code, ERR_BRIDGE_SETUP_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "172.30.0.1/33"));
    ck_assert_int_eq(err.sys_errno, EINVAL);
    ck_assert(!exists("br0"));
    ck_assert(make_bridge());
    /* What was there before is not taken back. */
    ck_assert(link_bridge_ensure("br0", "mark:bridge", bridge_mac, gateway, 33, &created, &err) != 0);
    ck_assert(exists("br0"));
    const struct mac group_mac = {{0x01, 0, 0, 0, 0, 1}};
    ck_assert(link_bridge_ensure("br1", "mark:bridge", group_mac, gateway, 24, &created, &err) != 0);
    ck_assert(!exists("br1"));
    ck_assert(link_bridge_ensure("sixteen-letters-", "mark:bridge", bridge_mac, 1, 24, &created, &err) != 0);
}
END_TEST

static void check_tap(const char *name)
{
    char command[64];
    struct link_info link = get(name);
    ck_assert(link.is_tap && link.up && link.isolated && !link.is_bridge);
    ck_assert_int_eq(link.master, get("br0").index);
    ck_assert_str_eq(link.alias, "mark:vm");
    (void)snprintf(command, sizeof command, "ip -d link show %s", name);
    ck_assert(netns_says(command, "tun type tap pi off vnet_hdr on persist on"));
    ck_assert(netns_says(command, " isolated on "));
    ck_assert(netns_says(command, " learning off "));
    ck_assert(netns_says(command, " flood off "));
    ck_assert(netns_says(command, "group_fwd_mask 65533") || netns_says(command, "group_fwd_mask 0xfffd"));
    ck_assert(netns_says(command, "NOARP"));
    if (access("/proc/sys/net/ipv6", F_OK) == 0) {
        ck_assert(netns_says(command, "addrgenmode none"));
    }
    (void)snprintf(command, sizeof command, "bridge fdb show dev %s", name);
    ck_assert(netns_says(command, "02:5a:00:00:01:01 sticky master br0 static"));
}

START_TEST(tap_is_made_once)
{
    (void)make_bridge();
    make_tap("tap0");
    check_tap("tap0");
    int index = get("tap0").index;
    make_tap("tap0");
    check_tap("tap0");
    ck_assert_int_eq(get("tap0").index, index);
    int fd = tap_attach("tap0");
    ck_assert(fd >= 0);
    make_tap("tap0"); /* a VMM that holds it does not matter */
    check_tap("tap0");
    (void)close(fd);
    check_tap("tap0");
}
END_TEST

static struct link_check look_at_tap(void)
{
    struct link_check check;
    MUST(link_tap_check("tap0", "mark:vm", "br0", guest_mac, 0, &check, &err));
    return check;
}

static const struct {
    const char *command;
    const char *found;
} tap_damages[] = {
    {"ip link set tap0 nomaster", "it is not a port of bridge br0"},
    {"ip link set tap0 down", "it is down"},
    {"ip link set tap0 master br1", "it is not a port of bridge br0"},
    {"ip link set tap0 type bridge_slave isolated off", "it is not isolated"},
    {"ip link set tap0 type bridge_slave learning on", "it learns addresses"},
    {"ip link set tap0 type bridge_slave flood on", "frames to unknown addresses are flooded to it"},
    {"ip link set tap0 type bridge_slave mcast_flood off", "multicast is not sent to it"},
    {"ip link set tap0 type bridge_slave bcast_flood off", "broadcast is not sent to it"},
    {"ip link set tap0 type bridge_slave hairpin on", "it is in hairpin mode"},
    {"ip link set tap0 type bridge_slave proxy_arp on", "the bridge answers ARP in its place"},
    {"ip link set tap0 type bridge_slave root_block on", "it may not lead to the root bridge"},
    {"ip link set tap0 type bridge_slave group_fwd_mask 0", "link-local groups are not bridged from it"},
    {"ip link set tap0 arp on", "it answers ARP"},
    {"bridge fdb del 02:5a:00:00:01:01 dev tap0 master", "the bridge does not know its guest's MAC"},
};

START_TEST(tap_is_repaired)
{
    (void)make_bridge();
    netns_run("ip link add br1 type bridge");
    make_tap("tap0");
    ck_assert_str_eq(look_at_tap().found, "");
    netns_run(tap_damages[_i].command);
    ck_assert_str_eq(look_at_tap().found, tap_damages[_i].found);
    make_tap("tap0");
    check_tap("tap0");
    ck_assert_str_eq(look_at_tap().found, "");
}
END_TEST

START_TEST(several_damages_are_all_told)
{
    (void)make_bridge();
    make_tap("tap0");
    netns_run("ip link set tap0 down");
    netns_run("ip link set tap0 type bridge_slave isolated off learning on");
    ck_assert_str_eq(look_at_tap().found, "it is down; it is not isolated; it learns addresses");
}
END_TEST

START_TEST(only_links_of_ours_are_taken_down)
{
    bool changed = false;
    (void)make_bridge();
    make_tap("tap0");
    netns_run("ip tuntap add foreign0 mode tap");
    netns_run("ip link set foreign0 up");
    MUST(link_take_down("tap0", "mark", &changed, &err));
    ck_assert(changed && !get("tap0").up);
    MUST(link_take_down("tap0", "mark", &changed, &err));
    ck_assert(!changed);
    MUST(link_take_down("foreign0", "mark", &changed, &err));
    ck_assert(!changed && get("foreign0").up);
    MUST(link_take_down("nothing0", "mark", &changed, &err));
    ck_assert(!changed);
}
END_TEST

/* A link is known again by its index when its alias was changed; another one of that name is foreign. */
START_TEST(an_alias_is_given_back)
{
    struct link_check check;
    (void)make_bridge();
    make_tap("tap0");
    int index = look_at_tap().index;
    netns_run("ip link set tap0 alias other");
    check = look_at_tap();
    ck_assert(check.present && !check.ours);
    MUST(link_tap_check("tap0", "mark:vm", "br0", guest_mac, index, &check, &err));
    ck_assert(check.present && check.ours);
    ck_assert_str_eq(check.found, "its alias is 'other'");
    ck_assert_int_ne(link_alias_restore("tap1", index, "mark:vm", &err), 0);
    ck_assert_int_ne(link_alias_restore("tap0", index + 1000, "mark:vm", &err), 0);
    MUST(link_alias_restore("tap0", index, "mark:vm", &err));
    ck_assert_str_eq(look_at_tap().found, "");
    netns_run("ip link del tap0");
    check = look_at_tap();
    ck_assert(!check.present && !check.ours);
    ck_assert_str_eq(check.found, "it is gone");
    netns_run("ip tuntap add tap0 mode tap");
    MUST(link_tap_check("tap0", "mark:vm", "br0", guest_mac, index, &check, &err));
    ck_assert(check.present && !check.ours);
}
END_TEST

static const struct {
    const char *made_by;
    const char *alias;
} foreign_taps[] = {
    {"ip tuntap add tap0 mode tap", NULL},      {"ip tuntap add tap0 mode tap", "mark:vm2"},          {"ip tuntap add tap0 mode tap", "other:vm"},
    {"ip tuntap add tap0 mode tun", "mark:vm"}, {"ip link add tap0 type veth peer name peer0", NULL}, {"ip link add tap0 type veth peer name peer0", "mark:vm"},
};

START_TEST(foreign_tap_is_left_alone)
{
    static char before[OUTPUT_MAX];
    static char after[OUTPUT_MAX];
    char command[64];
    (void)make_bridge();
    netns_run(foreign_taps[_i].made_by);
    if (foreign_taps[_i].alias != NULL) {
        (void)snprintf(command, sizeof command, "ip link set tap0 alias %s", foreign_taps[_i].alias);
        netns_run(command);
    }
    (void)netns_try("ip -d addr show tap0", before);
    ck_assert(link_tap_ensure("tap0", "mark:vm", "br0", guest_mac, (uid_t)-1, &err) != 0);
    ck_assert_int_eq(err.code, ERR_TAP_CREATE_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "tap0"));
    (void)netns_try("ip -d addr show tap0", after);
    ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(tap_without_its_bridge)
{
    ck_assert(link_tap_ensure("tap0", "mark:vm", "br0", guest_mac, (uid_t)-1, &err) != 0);
    ck_assert_int_eq(err.code, ERR_TAP_CREATE_FAILED);
    ck_assert_int_eq(err.sys_errno, ENODEV);
    ck_assert(!exists("tap0"));
    netns_run("ip link add veth0 type veth peer name veth1");
    ck_assert(link_tap_ensure("tap0", "mark:vm", "veth0", guest_mac, (uid_t)-1, &err) != 0);
    ck_assert(!exists("tap0"));
    (void)make_bridge();
    char long_alias[LINK_ALIAS_MAX + 32];
    (void)memset(long_alias, 'a', sizeof long_alias - 1);
    long_alias[sizeof long_alias - 1] = '\0';
    ck_assert(link_tap_ensure("tap0", long_alias, "br0", guest_mac, (uid_t)-1, &err) != 0);
    ck_assert_msg(!exists("tap0"), "a TAP that could not be completed is still there");
    ck_assert(link_tap_ensure("sixteen-letters-", "mark:vm", "br0", guest_mac, (uid_t)-1, &err) != 0);
    ck_assert_uint_eq(netns_count("ip -o link show type tun", "\n"), 0);
}
END_TEST

/* Can this user attach, given that /dev/net/tun is open to everyone, as on most hosts? Tried by a child that
 * is nobody else. */
static bool can_attach(uid_t uid)
{
    int status = 0;
    int tun = tap_open();
    pid_t pid = fork();
    if (pid == 0) {
        _exit(setuid(uid) == 0 && tap_attach_by(tun, "tap0") ? 0 : 1);
    }
    (void)close(tun);
    ck_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status) == 0;
}

START_TEST(tap_belongs_to_its_owner)
{
    (void)make_bridge();
    make_tap("tap0");
    ck_assert(can_attach(0));
    ck_assert_msg(!can_attach(65534), "a TAP for root alone is open to everyone");
    MUST(link_tap_ensure("tap0", "mark:vm", "br0", guest_mac, 65534, &err));
    check_tap("tap0");
    ck_assert(can_attach(65534));
    ck_assert(!can_attach(65533));
    int fd = tap_attach("tap0");
    ck_assert(link_tap_ensure("tap0", "mark:vm", "br0", guest_mac, 65533, &err) != 0);
    ck_assert_int_eq(err.sys_errno, EBUSY);
    (void)close(fd);
    MUST(link_tap_ensure("tap0", "mark:vm", "br0", guest_mac, 65533, &err));
    ck_assert(can_attach(65533));
}
END_TEST

static void *close_soon(void *fd)
{
    (void)usleep(50 * 1000);
    (void)close(*(int *)fd);
    return NULL;
}

START_TEST(tap_of_a_dying_process_is_made_anew)
{
    pthread_t closer;
    (void)make_bridge();
    int fd = tap_attach("tap0"); /* ours by its alias, but gone when its maker is */
    ck_assert(fd >= 0);
    netns_run("ip link set tap0 alias mark:vm");
    int index = get("tap0").index;
    ck_assert(pthread_create(&closer, NULL, close_soon, &fd) == 0);
    make_tap("tap0");
    ck_assert(pthread_join(closer, NULL) == 0);
    check_tap("tap0");
    ck_assert_int_ne(get("tap0").index, index);
}
END_TEST

/* Runs `call` in a child, and kills that before its system call number `stop`. Returns whether it came to an
 * end before. */
static bool killed_at(int (*call)(void), int stop)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        _exit(call() == 0 ? 0 : 1);
    }
    ck_assert(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    ck_assert(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL) == 0);
    for (int i = 0; i < 2 * stop - 1; i++) {
        ck_assert(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
        ck_assert(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status)) {
            ck_assert_int_eq(WEXITSTATUS(status), 0);
            return true;
        }
    }
    (void)kill(pid, SIGKILL);
    ck_assert(waitpid(pid, &status, 0) == pid);
    return false;
}

static int call_tap(void)
{
    return link_tap_ensure("tap0", "mark:vm", "br0", guest_mac, (uid_t)-1, NULL);
}

START_TEST(tap_survives_a_crash_anywhere)
{
    const char *const name = "tap0";
    bool finished = false;
    int left_nothing = 0;
    (void)make_bridge();
    for (int stop = 1; !finished; stop++) {
        bool found = false;
        struct link_info link;
        finished = killed_at(call_tap, stop);
        MUST(link_get(name, &link, &found, &err));
        ck_assert_msg(!found || strcmp(link.alias, "mark:vm") == 0, "unmarked after system call %d", stop);
        ck_assert_msg(!found || (link.isolated && link.up), "open to all after system call %d", stop);
        left_nothing += found ? 0 : 1;
        make_tap(name);
        check_tap(name);
        MUST(link_delete("mark", &name, 1, &err));
        ck_assert(!exists(name));
        ck_assert_int_lt(stop, 200);
    }
    ck_assert_int_gt(left_nothing, 5);
}
END_TEST

static int call_bridge(void)
{
    bool created = false;
    return link_bridge_ensure("br0", "mark:bridge", bridge_mac, gateway, PREFIX, &created, NULL);
}

START_TEST(bridge_survives_a_crash_anywhere)
{
    const char *const name = "br0";
    bool finished = false;
    for (int stop = 1; !finished; stop++) {
        finished = killed_at(call_bridge, stop);
        (void)make_bridge();
        check_bridge();
        MUST(link_delete("mark", &name, 1, &err));
        ck_assert(!exists(name));
        ck_assert_int_lt(stop, 200);
    }
}
END_TEST

START_TEST(only_marked_links_are_deleted)
{
    const char *const names[] = {"nosuch0", "tap0", "foreign0", "other0", "prefix0", "tap1", "peer0", "tap1"};
    (void)make_bridge();
    make_tap("tap0");
    make_tap("tap1");
    netns_run("ip tuntap add foreign0 mode tap");
    netns_run("ip link add other0 type bridge");
    netns_run("ip link set other0 alias other:vm");
    netns_run("ip link add prefix0 type veth peer name peer0");
    netns_run("ip link set prefix0 alias marked:vm");
    MUST(link_delete("mark", names, ARRAY_LEN(names), &err));
    ck_assert(!exists("tap0") && !exists("tap1"));
    ck_assert(exists("foreign0") && exists("other0") && exists("prefix0") && exists("peer0") && exists("br0"));
    ck_assert(netns_says("ip link show foreign0", "group default"));
    MUST(link_delete("mark", names, ARRAY_LEN(names), &err));
    MUST(link_delete("mark", &names[2], 1, &err));
    MUST(link_delete("mark", &names[0], 1, &err));
    MUST(link_delete("mark", names, 0, &err));
    ck_assert(exists("foreign0"));
}
END_TEST

enum { MANY = 1000, CALLERS = 10 };
static char many_names[MANY][INTERFACE_NAME_MAX];
static const char *many[MANY];

static void make_many(void)
{
    (void)make_bridge();
    for (int i = 0; i < MANY; i++) {
        char alias[32];
        struct mac mac = {{2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
        (void)snprintf(many_names[i], sizeof many_names[i], "tap%d", i);
        (void)snprintf(alias, sizeof alias, "mark:vm%d", i);
        many[i] = many_names[i];
        MUST(link_tap_ensure(many[i], alias, "br0", mac, (uid_t)-1, &err));
    }
}

START_TEST(a_thousand_taps)
{
    struct link_info *links = NULL;
    size_t count = 0;
    size_t ports = 0;
    int64_t start = clock_monotonic_us();
    make_many();
    int64_t made = clock_monotonic_us();
    MUST(link_list(&links, &count, &err));
    int64_t listed = clock_monotonic_us();
    int bridge = get("br0").index;
    for (size_t i = 0; i < count; i++) {
        ports += links[i].master == bridge && links[i].isolated && links[i].is_tap && links[i].up ? 1 : 0;
    }
    free(links);
    ck_assert_uint_eq(ports, MANY);
    ck_assert_uint_eq(count, MANY + 2); /* and lo, br0 */
    int64_t before = clock_monotonic_us();
    MUST(link_delete("mark", many, 100, &err));
    int64_t deleted = clock_monotonic_us();
    MUST(link_delete("mark", many, MANY, &err));
    int64_t all_deleted = clock_monotonic_us();
    ck_assert_uint_eq(netns_count("ip -o link show type tun", "\n"), 0);
    ck_assert(exists("br0"));
    (void)printf("link: tap_ensure %.2f ms, list of %zu %.1f ms, delete of 100 %.0f ms, of %d more %.0f ms\n", (double)(made - start) / 1000 / MANY, count,
                 (double)(listed - made) / 1000, (double)(deleted - before) / 1000, MANY - 100, (double)(all_deleted - deleted) / 1000);
    ck_assert_msg(deleted - before < 1000L * 1000, "100 TAPs took as long as one by one");
}
END_TEST

static void *delete_some(void *first)
{
    for (size_t i = 0; i < 10; i++) {
        ck_assert(link_delete("mark", (const char *const *)first + i, 1, NULL) == 0);
    }
    return NULL;
}

START_TEST(callers_that_delete_at_once_are_combined)
{
    pthread_t threads[CALLERS];
    (void)make_bridge();
    make_many();
    int64_t start = clock_monotonic_us();
    for (size_t i = 0; i < CALLERS; i++) {
        ck_assert(pthread_create(&threads[i], NULL, delete_some, (void *)&many[i * 10]) == 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        ck_assert(pthread_join(threads[i], NULL) == 0);
    }
    (void)printf("link: 10 threads deleted 10 TAPs each, one by one, in %.0f ms\n", (double)(clock_monotonic_us() - start) / 1000);
    ck_assert_uint_eq(netns_count("ip -o link show type tun", "\n"), MANY - 100);
    ck_assert(!exists("tap0") && !exists("tap99") && exists("tap100"));
}
END_TEST

static bool overlaps(const char *net, const char *except, char text[64])
{
    bool found = false;
    struct ipv4_net parsed;
    MUST(ipv4_net_parse(net, &parsed, &err));
    MUST(link_route_overlap(parsed, except, &found, text, &err));
    return found;
}

START_TEST(overlapping_routes_are_named)
{
    char text[64] = "";
    (void)make_bridge();
    netns_run("ip link add up0 type veth peer name peer0");
    netns_run("ip addr add 10.1.0.1/16 dev up0");
    netns_run("ip link set up0 up");
    netns_run("ip route add default via 10.1.0.2");
    ck_assert(!overlaps("172.31.0.0/24", "br0", text));
    ck_assert(!overlaps("172.30.0.0/24", "br0", text));
    ck_assert(overlaps("172.30.0.0/24", "", text));
    ck_assert(overlaps("172.30.0.0/24", "nosuch0", text));
    ck_assert(overlaps("10.1.2.0/24", "br0", text));
    ck_assert_str_eq(text, "10.1.0.0/16 via up0");
    ck_assert(overlaps("10.0.0.0/8", "br0", text));
    ck_assert(!overlaps("10.2.0.0/16", "br0", text));
    ck_assert(overlaps("127.1.0.0/16", "br0", text)); /* the local table */
    ck_assert_ptr_nonnull(strstr(text, " via lo"));
    netns_run("ip route add blackhole 192.168.5.0/24");
    ck_assert(overlaps("192.168.0.0/16", "br0", text));
    ck_assert_str_eq(text, "192.168.5.0/24 via no interface");
    netns_run("ip route add 192.0.2.0/24 via 10.1.0.2 table 77");
    ck_assert(!overlaps("192.0.2.0/24", "br0", text));
}
END_TEST

struct heard {
    size_t count;
    size_t tap0, nothing;
    bool routes;
};

static void hear(const char *name, void *ctx)
{
    struct heard *heard = ctx;
    heard->count++;
    heard->nothing += name == NULL ? 1 : 0;
    heard->tap0 += name != NULL && strcmp(name, "tap0") == 0 ? 1 : 0;
}

static struct heard drain(int fd)
{
    struct heard heard = {0};
    MUST(link_monitor_drain(fd, "tap", hear, &heard, &heard.routes, &err));
    return heard;
}

START_TEST(monitor_tells_each_change_once)
{
    int fd = -1;
    (void)make_bridge();
    MUST(link_monitor_open(&fd, &err));
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    struct heard heard = drain(fd);
    ck_assert(heard.count == 0 && !heard.routes);
    ck_assert_int_eq(poll(&readable, 1, 0), 0);
    make_tap("tap0");
    ck_assert_int_eq(poll(&readable, 1, 1000), 1);
    heard = drain(fd);
    ck_assert_uint_eq(heard.tap0, 1);
    ck_assert(!heard.routes);
    while (poll(&readable, 1, 1500) > 0) { /* the kernel tells of lost carriers when it finds time */
        (void)drain(fd);
    }
    make_tap("tap0"); /* nothing to be done, so nothing is told */
    ck_assert_uint_eq(drain(fd).count, 0);
    netns_run("ip addr add 10.1.2.3/8 dev br0");
    ck_assert(drain(fd).routes);
    netns_run("ip link del tap0");
    ck_assert_uint_eq(drain(fd).tap0, 1);
    netns_run("ip route add blackhole 192.168.5.0/24");
    heard = drain(fd);
    ck_assert(heard.routes && heard.count == 0);
    (void)close(fd);
}
END_TEST

/* What is told besides links; `tap`: about a TAP, else about the rest of the network. */
static const struct {
    const char *command;
    bool tap, rest;
} news[] = {
    {"ip rule add iif br0 lookup 77 priority 77", false, true},
    {"ip -6 rule add iif br0 lookup 77 priority 77", false, true},
    {"ip route add 192.168.9.0/24 dev br0", false, true},
    {"ip -6 route add fd00:9::/64 dev br0", false, true},
    {"ip -6 addr add fd00:7::1/64 dev br0 nodad", false, true},
    {"sysctl -qw net.ipv4.conf.br0.forwarding=1", false, true},
    {"sysctl -qw net.ipv4.ip_forward=1", true, true},
    {"sysctl -qw net.ipv4.conf.br0.rp_filter=2", false, true},
    {"sysctl -qw net.ipv4.conf.br0.proxy_arp=1", false, true},
    {"sysctl -qw net.ipv6.conf.br0.forwarding=1", false, true},
    {"sysctl -qw net.ipv4.conf.tap0.rp_filter=2", true, false},
    {"bridge fdb del 02:5a:00:00:01:01 dev tap0 master", true, false},
    {"ip link set tap0 type bridge_slave isolated off", true, false},
    {"ip neigh add 172.30.0.77 lladdr 02:00:00:00:00:77 dev br0", false, false},
    {"ip route add local 172.30.9.9 dev br0 table local", false, false},
};

START_TEST(monitor_tells_what_was_changed)
{
    int fd = -1;
    (void)make_bridge();
    make_tap("tap0");
    MUST(link_monitor_open(&fd, &err));
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (poll(&readable, 1, 1500) > 0) {
        (void)drain(fd);
    }
    for (size_t i = 0; i < ARRAY_LEN(news); i++) {
        netns_run(news[i].command);
        struct heard heard = drain(fd);
        ck_assert_msg((heard.tap0 == 1) == news[i].tap && heard.routes == news[i].rest, "%s: tap0 %zu, rest %d", news[i].command, (size_t)heard.tap0,
                      heard.routes);
    }
    (void)close(fd);
}
END_TEST

START_TEST(monitor_that_lost_news_says_anything)
{
    int fd = -1;
    const int small = 4096;
    (void)make_bridge();
    MUST(link_monitor_open(&fd, &err));
    ck_assert(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    for (int i = 0; i < 20; i++) {
        netns_run(i % 2 == 0 ? "ip link set br0 down" : "ip link set br0 up");
    }
    struct heard heard = drain(fd);
    ck_assert_uint_eq(heard.nothing, 1);
    ck_assert(heard.routes);
    ck_assert_uint_eq(drain(fd).nothing, 0);
    (void)close(fd);
}
END_TEST

static TCase *bridge_tests(void)
{
    TCase *tests = tcase_create("bridge");
    tcase_add_checked_fixture(tests, netns_enter, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, bridge_is_made_once);
    tcase_add_loop_test(tests, bridge_is_repaired, 0, (int)ARRAY_LEN(bridge_damages));
    tcase_add_test(tests, bridge_takes_a_new_address);
    tcase_add_loop_test(tests, foreign_bridge_is_left_alone, 0, (int)ARRAY_LEN(foreign_bridges));
    tcase_add_test(tests, half_made_bridge_is_finished);
    tcase_add_test(tests, failed_bridge_is_taken_back);
    tcase_add_test(tests, bridge_survives_a_crash_anywhere);
    return tests;
}

static TCase *tap_tests(void)
{
    TCase *tests = tcase_create("tap");
    tcase_add_checked_fixture(tests, netns_enter, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, tap_is_made_once);
    tcase_add_loop_test(tests, tap_is_repaired, 0, (int)ARRAY_LEN(tap_damages));
    tcase_add_test(tests, several_damages_are_all_told);
    tcase_add_test(tests, only_links_of_ours_are_taken_down);
    tcase_add_test(tests, an_alias_is_given_back);
    tcase_add_loop_test(tests, foreign_tap_is_left_alone, 0, (int)ARRAY_LEN(foreign_taps));
    tcase_add_test(tests, tap_without_its_bridge);
    tcase_add_test(tests, tap_belongs_to_its_owner);
    tcase_add_test(tests, tap_of_a_dying_process_is_made_anew);
    tcase_add_test(tests, tap_survives_a_crash_anywhere);
    return tests;
}

static TCase *other_tests(void)
{
    TCase *tests = tcase_create("links");
    tcase_add_checked_fixture(tests, netns_enter, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, only_marked_links_are_deleted);
    tcase_add_test(tests, a_thousand_taps);
    tcase_add_test(tests, callers_that_delete_at_once_are_combined);
    tcase_add_test(tests, overlapping_routes_are_named);
    tcase_add_test(tests, monitor_tells_each_change_once);
    tcase_add_test(tests, monitor_tells_what_was_changed);
    tcase_add_test(tests, monitor_that_lost_news_says_anything);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("host/link");
    suite_add_tcase(suite, bridge_tests());
    suite_add_tcase(suite, tap_tests());
    suite_add_tcase(suite, other_tests());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
