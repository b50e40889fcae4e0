/*
 * One VM's network, attached and detached: by the drivers, by the commands of an administrator that do the same (ip, bridge, iptables, ebtables), and by
 * the bare system calls that can't be left out: /dev/net/tun to make the TAP, RTM_DELLINK to remove it. In a namespace of its own.
 */
#include "core/cleanup.h"
#include "core/clock.h"
#include "host/link.h"
#include "host/nft.h"
#include "tests/host/netns.h"

#include <check.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ROUNDS = 41, MIDDLE = 20 };

static struct error err;
static const struct mac guest_mac = {{2, 0, 0, 0, 0, 9}};
static const struct nft_guest guest = {.tap = "svbt9", .mac = {{2, 0, 0, 0, 0, 9}}, .address = 0x0a090009};

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static int by_value(const void *a, const void *b)
{
    return (*(const int64_t *)a > *(const int64_t *)b) - (*(const int64_t *)a < *(const int64_t *)b);
}

/* Median of ROUNDS, in microseconds. */
static double median(void (*before)(void), void (*work)(void), void (*after)(void))
{
    int64_t took[ROUNDS];
    for (size_t i = 0; i < ROUNDS; i++) {
        before();
        int64_t begin = clock_monotonic_us();
        work();
        took[i] = clock_monotonic_us() - begin;
        after();
    }
    qsort(took, ROUNDS, sizeof *took, by_value);
    return (double)took[MIDDLE];
}

static void figure(const char *name, double value, double floor)
{
    (void)printf("figure %s %.0f us floor=%.0f ratio=%.2f\n", name, value, floor, value / floor);
}

static void nothing(void)
{
}

static void attach(void)
{
    must(nft_guests_change("svb", &guest, 1, NULL, 0, &err));
    must(link_tap_ensure(guest.tap, "svb:vm", "svb0", guest_mac, (uid_t)-1, &err));
}

static void detach(void)
{
    const char *name = guest.tap;
    must(link_delete("svb", &name, 1, &err));
    must(nft_guests_change("svb", NULL, 0, &guest, 1, &err));
}

/* One process each, as a script would; fewer rules than ours, since iptables knows no bridge and ebtables no state. */
static void attach_by_commands(void)
{
    netns_run("ip tuntap add svbt9 mode tap vnet_hdr");
    netns_run("ip link set svbt9 alias svb:vm");
    netns_run("ip link set svbt9 master svb0");
    netns_run("ip link set dev svbt9 type bridge_slave isolated on learning off flood off");
    netns_run("ip link set svbt9 up");
    netns_run("bridge fdb add 02:00:00:00:00:09 dev svbt9 master static");
    netns_run("iptables -w -A FORWARD -i svb0 -s 10.9.0.9 -o lo -j ACCEPT");
    netns_run("iptables -w -A FORWARD -o svb0 -d 10.9.0.9 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
    netns_run("iptables -w -t nat -A POSTROUTING -s 10.9.0.9 -o lo -j MASQUERADE");
}

static void detach_by_commands(void)
{
    netns_run("iptables -w -D FORWARD -i svb0 -s 10.9.0.9 -o lo -j ACCEPT");
    netns_run("iptables -w -D FORWARD -o svb0 -d 10.9.0.9 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
    netns_run("iptables -w -t nat -D POSTROUTING -s 10.9.0.9 -o lo -j MASQUERADE");
    netns_run("ip link delete svbt9");
}

static void make_bare_tap(void)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    (void)strcpy(request.ifr_name, "svbt9"); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): it fits
    AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
    ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
}

/* The TAP goes with its descriptor: no netlink at all. */
static void remove_bare_tap(void)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    (void)strcpy(request.ifr_name, "svbt9"); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): it fits
    AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
    ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 0), 0);
}

START_TEST(figures)
{
    struct nft_base base = {.mark = "svb", .bridge = "svb0", .tap_prefix = "svbt", .subnet = {0x0a090000, 24}, .gateway = 0x0a090001, .max_flows = 100};
    bool created = false;
    netns_enter();
    must(link_bridge_ensure("svb0", "svb:bridge", (struct mac){{2, 0xff, 0, 0, 0, 1}}, base.gateway, 24, &created, &err));
    must(nft_base_apply(&base, NULL, 0, NULL, 0, &err));
    double bare_attach = median(nothing, make_bare_tap, remove_bare_tap);
    double bare_detach = median(make_bare_tap, remove_bare_tap, nothing);
    double ours = median(nothing, attach, detach);
    double ours_back = median(attach, detach, nothing);
    double commands = median(nothing, attach_by_commands, detach_by_commands);
    double commands_back = median(attach_by_commands, detach_by_commands, nothing);
    figure("attach_against_commands", ours, commands);
    figure("detach_against_commands", ours_back, commands_back);
    figure("attach_against_bare_tap", ours, bare_attach);
    figure("detach_against_bare_tap", ours_back, bare_detach);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("attach");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, figures);
    Suite *suite = suite_create("bench_attach");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
