/* Real tunnels by wireguard-go between two network namespaces. */
#include "core/seal.h"
#include "host/process/process.h"
#include "host/tunnel/tunnel.h"
#include "host/tunnel/wireguard_backends.h"

#include "tests/host/netns.h"

#include <time.h>
#include <unistd.h>

#define MARK   "smartvm_test"
#define BINARY "/usr/bin/wireguard-go"

static struct error err;
static int here, there;
static char name_a[INTERFACE_NAME_MAX], name_b[INTERFACE_NAME_MAX]; /* sockets have the same names in every namespace */
static char alias[] = MARK ":wireguard";

static void setup(void)
{
    (void)snprintf(name_a, sizeof name_a, "wa%d", (int)getpid());
    (void)snprintf(name_b, sizeof name_b, "wb%d", (int)getpid());
    netns_enter();
    there = netns_here();
    netns_enter();
    here = netns_here();
}

static void teardown(void)
{
    netns_go(here);
    (void)wireguard_go_stop(MARK, name_a, &err);
    (void)wireguard_go_stop(MARK, name_b, &err);
}

static struct tunnel_wanted tunnel(const char *name, const struct wireguard_address *address)
{
    return (struct tunnel_wanted){.name = name, .alias = alias, .addresses = address, .address_count = 1, .mtu = 1400, .has_our_process = true};
}

static struct wireguard_address address_of(uint8_t last)
{
    return (struct wireguard_address){.address = {.version = IP_V4, .bytes = {10, 7, 0, last}}, .prefix = 24};
}

static void add_peer(struct wireguard_device *device, const uint8_t *private_key, uint8_t net, uint16_t port)
{
    struct wireguard_device_peer *peer = wireguard_device_add_peer(device);
    struct ip_net allowed = {.address = {.version = IP_V4, .bytes = {10, 7, 0, net}}, .prefix = 32};
    MUST(seal_public_key(private_key, peer->public_key.bytes, &err));
    ck_assert_int_eq(wireguard_device_add_allowed(peer, &allowed), 0);
    if (port != 0) {
        peer->endpoint = (struct wireguard_endpoint){.address = {.version = IP_V4, .bytes = {192, 0, 2, 2}}, .port = port};
    }
}

static void make(const char *name, const struct wireguard_address *address, const struct wireguard_device *wanted)
{
    AUTO_WIREGUARD_DEVICE seen = {.peers = NULL};
    AUTO_WIREGUARD_CHANGE change = {.peers = NULL};
    const struct tunnel_wanted link = tunnel(name, address);
    AUTO_CLOSE int pidfd = -1;
    AUTO_CLOSE int words = -1;
    MUST(wireguard_go_start(BINARY, MARK, name, &pidfd, &words, &err));
    MUST(wireguard_get(WIREGUARD_USERSPACE, name, &seen, &err));
    MUST(wireguard_diff(&seen, wanted, &change, &err));
    MUST(wireguard_set(WIREGUARD_USERSPACE, name, &change, &err));
    MUST(tunnel_ensure(&link, &err));
}

static bool pings(const char *address)
{
    char command[64];
    (void)snprintf(command, sizeof command, "ping -c 1 -W 5 %s", address);
    return netns_try(command, NULL) == 0;
}

static int64_t handshake_of(const char *name, size_t peer)
{
    AUTO_WIREGUARD_DEVICE device = {.peers = NULL};
    MUST(wireguard_get(WIREGUARD_USERSPACE, name, &device, &err));
    return device.peers[peer].handshake_ms;
}

/* Changes a device to what is wanted; how many peers that concerned. */
static size_t change_to(const char *name, const struct wireguard_device *wanted)
{
    AUTO_WIREGUARD_DEVICE seen = {.peers = NULL};
    AUTO_WIREGUARD_CHANGE change = {.peers = NULL};
    MUST(wireguard_get(WIREGUARD_USERSPACE, name, &seen, &err));
    MUST(wireguard_diff(&seen, wanted, &change, &err));
    MUST(wireguard_set(WIREGUARD_USERSPACE, name, &change, &err));
    return change.peer_count;
}

static uint8_t keys[4][SEAL_KEY_BYTES];

static void join_namespaces(void)
{
    netns_run("ip link add u0 type veth peer name u1");
    netns_run("ip address add 192.0.2.1/24 dev u0");
    netns_run("ip link set u0 up");
    char command[64];
    (void)snprintf(command, sizeof command, "ip link set u1 netns /proc/%d/fd/%d", (int)getpid(), there);
    netns_run(command);
    netns_go(there);
    netns_run("ip address add 192.0.2.2/24 dev u1");
    netns_run("ip link set u1 up");
    netns_go(here);
}

START_TEST(peers_are_changed_one_by_one)
{
    AUTO_WIREGUARD_DEVICE a = {.listen_port = 0};
    AUTO_WIREGUARD_DEVICE b = {.listen_port = 7001};
    const struct wireguard_address address_a = address_of(1);
    const struct wireguard_address address_b = address_of(2);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        MUST(seal_make_private_key(keys[i], &err));
        keys[i][0] &= 248; /* as Curve25519 wants it, and as wireguard-go then says it */
        keys[i][31] = (uint8_t)((keys[i][31] & 127) | 64);
    }
    memcpy(a.private_key.bytes, keys[0], sizeof keys[0]);
    memcpy(b.private_key.bytes, keys[1], sizeof keys[1]);
    add_peer(&a, keys[1], 2, 7001);
    add_peer(&a, keys[2], 3, 7002);
    add_peer(&b, keys[0], 1, 0);
    wireguard_device_sort(&a);
    join_namespaces();
    make(name_a, &address_a, &a);
    netns_go(there);
    make(name_b, &address_b, &b);
    char command[64];
    (void)snprintf(command, sizeof command, "ip route add 10.7.0.0/24 dev %s", name_b);
    netns_run(command);
    netns_go(here);
    (void)snprintf(command, sizeof command, "ip route add 10.7.0.0/24 dev %s", name_a);
    netns_run(command);
    ck_assert(pings("10.7.0.2"));
    uint8_t public_b[SEAL_KEY_BYTES];
    MUST(seal_public_key(keys[1], public_b, &err));
    size_t kept = memcmp(a.peers[0].public_key.bytes, public_b, sizeof public_b) == 0 ? 0 : 1;
    int64_t handshake_ms = handshake_of(name_a, kept);
    ck_assert_int_gt(handshake_ms, 0);
    /* The other peer becomes another one, and gets another network. */
    ck_assert_uint_eq(change_to(name_a, &a), 0);
    MUST(seal_public_key(keys[3], a.peers[1 - kept].public_key.bytes, &err));
    wireguard_device_sort(&a);
    ck_assert_uint_eq(change_to(name_a, &a), 2);
    ck_assert_uint_eq(change_to(name_a, &a), 0);
    kept = memcmp(a.peers[0].public_key.bytes, public_b, sizeof public_b) == 0 ? 0 : 1;
    ck_assert(pings("10.7.0.2"));
    ck_assert_int_eq(handshake_of(name_a, kept), handshake_ms);
    AUTO_WIREGUARD_DEVICE seen = {.peers = NULL};
    MUST(wireguard_get(WIREGUARD_USERSPACE, name_a, &seen, &err));
    ck_assert_uint_gt(seen.peers[kept].received_bytes, 0);
    ck_assert_uint_eq(seen.peers[kept].endpoint.port, 7001);
}
END_TEST

START_TEST(found_again_and_stopped)
{
    AUTO_CLOSE int pidfd = -1;
    AUTO_CLOSE int words = -1;
    AUTO_CLOSE int again = -1;
    int other = -1;
    char command[64];
    bool found = false;
    enum wireguard_backend backend = WIREGUARD_KERNEL;
    MUST(wireguard_find_backend(name_a, &backend, &found, &err));
    ck_assert(!found);
    MUST(wireguard_go_start(BINARY, MARK, name_a, &pidfd, &words, &err));
    MUST(wireguard_go_find(MARK, name_a, &again, &err));
    ck_assert_int_ge(again, 0);
    MUST(wireguard_go_find("smartvm_other", name_a, &other, &err));
    ck_assert_int_eq(other, -1);
    MUST(wireguard_find_backend(name_a, &backend, &found, &err));
    ck_assert(found && backend == WIREGUARD_USERSPACE);
    /* Another daemon's does not end by us. */
    MUST(wireguard_go_stop("smartvm_other", name_a, &err));
    ck_assert(process_is_alive(again));
    MUST(wireguard_go_stop(MARK, name_a, &err));
    ck_assert(!process_is_alive(again));
    (void)snprintf(command, sizeof command, "ip link show %s", name_a);
    ck_assert_int_ne(netns_try(command, NULL), 0);
    MUST(wireguard_go_stop(MARK, name_a, &err));
}
END_TEST

START_TEST(what_ends_at_once_is_told)
{
    AUTO_CLOSE int pidfd = -1;
    AUTO_CLOSE int words = -1;
    ck_assert_int_eq(wireguard_go_start("/bin/false", MARK, name_a, &pidfd, &words, &err), -1);
    ck_assert_int_eq(err.code, ERR_WIREGUARD_SETUP_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "exit code 1"));
    ck_assert_int_eq(wireguard_go_start(BINARY, MARK, "longer-than-a-name-may-be", &pidfd, &words, &err), -1);
    ck_assert_msg(strstr(err.message, "exit code 1: ") != NULL && strstr(err.message, "name too long") != NULL, "%s", err.message);
    ck_assert(pidfd < 0 && words < 0);
    ck_assert_int_eq(wireguard_go_start("/nonexistent", MARK, name_a, &pidfd, &words, &err), -1);
    ck_assert_int_eq(err.code, ERR_WIREGUARD_SETUP_FAILED);
}
END_TEST

START_TEST(the_link)
{
    AUTO_CLOSE int pidfd = -1;
    AUTO_CLOSE int words = -1;
    struct link_check check;
    char command[96];
    const struct wireguard_address address = address_of(1);
    struct tunnel_wanted wanted = tunnel(name_a, &address);
    MUST(tunnel_check(&wanted, 0, &check, &err));
    ck_assert(!check.present);
    MUST(wireguard_go_start(BINARY, MARK, name_a, &pidfd, &words, &err));
    wanted.has_our_process = false;
    MUST(tunnel_check(&wanted, 0, &check, &err));
    ck_assert(check.present && !check.ours);
    ck_assert_int_eq(tunnel_ensure(&wanted, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "not made by this daemon"));
    wanted.has_our_process = true;
    MUST(tunnel_ensure(&wanted, &err));
    wanted.has_our_process = false;
    MUST(tunnel_check(&wanted, 0, &check, &err));
    ck_assert(check.ours && check.marked);
    ck_assert_str_eq(check.found, "");
    (void)snprintf(command, sizeof command, "ip address show %s", name_a);
    ck_assert(netns_says(command, "10.7.0.1/24") && netns_says(command, "mtu 1400"));
    ck_assert(!netns_says("ip route", "10.7.0.0")); /* what the host sends stays where it went */
    (void)snprintf(command, sizeof command, "ip address add 10.8.0.1/32 dev %s", name_a);
    netns_run(command);
    (void)snprintf(command, sizeof command, "ip address delete 10.7.0.1/24 dev %s", name_a);
    netns_run(command);
    (void)snprintf(command, sizeof command, "ip link set %s mtu 1300 down", name_a);
    netns_run(command);
    MUST(tunnel_check(&wanted, 0, &check, &err));
    ck_assert_str_eq(check.found, "it is down; its MTU is 1300, not 1400; its address 10.7.0.1/24 is gone; it has the additional address 10.8.0.1/32");
    MUST(tunnel_ensure(&wanted, &err));
    MUST(tunnel_check(&wanted, 0, &check, &err));
    ck_assert_str_eq(check.found, "");
}
END_TEST

START_TEST(a_kernel_without_it_says_so)
{
    const struct wireguard_address address = address_of(1);
    const struct tunnel_wanted wanted = tunnel(name_a, &address);
    char command[64];
    if (tunnel_create(&wanted, &err) == 0) {
        struct link_check check;
        MUST(tunnel_ensure(&wanted, &err)); /* this kernel has WireGuard: then by it */
        MUST(tunnel_check(&wanted, 0, &check, &err));
        ck_assert_str_eq(check.found, "");
        (void)snprintf(command, sizeof command, "ip link delete %s", name_a);
        netns_run(command);
        return;
    }
    ck_assert_int_eq(err.sys_errno, EOPNOTSUPP);
    AUTO_WIREGUARD_DEVICE device = {.peers = NULL};
    ck_assert_int_eq(wireguard_get(WIREGUARD_KERNEL, name_a, &device, &err), -1);
    ck_assert_int_eq(err.code, ERR_WIREGUARD_SETUP_FAILED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wireguard");
    TCase *tests = tcase_create("wireguard");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, peers_are_changed_one_by_one);
    tcase_add_test(tests, found_again_and_stopped);
    tcase_add_test(tests, what_ends_at_once_is_told);
    tcase_add_test(tests, the_link);
    tcase_add_test(tests, a_kernel_without_it_says_so);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
