/*
 * One VM's network, attached and detached: by the drivers, by the commands of an administrator that do the same (ip, bridge, iptables, ebtables), and by
 * the bare calls: the same messages from memory on open sockets, without a look at anything; or the TAP alone, by /dev/net/tun. In a namespace of its own.
 */
#include "core/cleanup.h"
#include "core/clock.h"
#include "host/link/link.h"
#include "host/link/rtnl.h"
#include "host/nft/elements.h"
#include "tests/host/netns.h"

#include <check.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ROUNDS = 101, MIDDLE = 50 };

static struct error err;
static const struct mac guest_mac = {{2, 0, 0, 0, 0, 9}};
static const struct nft_guest guest = {.tap = "svbt9", .mac = {{2, 0, 0, 0, 0, 9}}, .address = 0x0a090009};

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static int by_value(const void *a, const void *b)
{
    return (*(const int64_t *)a > *(const int64_t *)b) - (*(const int64_t *)a < *(const int64_t *)b);
}

struct way {
    void (*attach)(void), (*detach)(void);
};

/* In microseconds, of one round. */
struct taken {
    int64_t attach[ROUNDS], detach[ROUNDS];
};

static void take(const struct way *way, struct taken *taken, size_t round)
{
    const int64_t begin = clock_monotonic_us();
    way->attach();
    const int64_t between = clock_monotonic_us();
    taken->attach[round] = between - begin;
    way->detach();
    taken->detach[round] = clock_monotonic_us() - between;
}

static void figure(const char *direction, const char *name, int64_t ours[ROUNDS], int64_t floor[ROUNDS])
{
    qsort(ours, ROUNDS, sizeof *ours, by_value);
    qsort(floor, ROUNDS, sizeof *floor, by_value);
    (void)printf("figure %s_against_%s %.0f us floor=%.0f ratio=%.2f\n", direction, name, (double)ours[MIDDLE], (double)floor[MIDDLE],
                 (double)ours[MIDDLE] / (double)floor[MIDDLE]);
}

/* Both take turns, so that what else the host does befalls both. Medians. */
static void compare(const char *name, const struct way *ours, const struct way *other)
{
    struct taken a;
    struct taken b;
    for (size_t i = 0; i < ROUNDS; i++) {
        take(ours, &a, i);
        take(other, &b, i);
    }
    figure("attach", name, a.attach, b.attach);
    figure("detach", name, a.detach, b.detach);
}

static void attach(void)
{
    must(nft_guests_change("svb", &guest, 1, NULL, 0, NULL, &err));
    must(link_tap_ensure(guest.tap, "svb:vm", "svb0", guest_mac, (uid_t)-1, &err));
}

static void detach(void)
{
    const char *name = guest.tap;
    must(link_delete("svb", &name, 1, &err));
    must(nft_guests_change("svb", NULL, 0, &guest, 1, NULL, &err));
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

/* A message as it is sent again and again. */
struct message {
    uint8_t bytes[4096];
    size_t len;
};

static struct {
    int rtnl, nft;
    struct message join, isolate, entry, removal, add, take;
} bare;

static void keep(struct message *m, const void *bytes, size_t len)
{
    ck_assert_uint_le(len, sizeof m->bytes);
    memcpy(m->bytes, bytes, len);
    m->len = len;
}

static void keep_link_message(struct message *m, int type, unsigned flags, unsigned change, void (*fill)(struct nl_msg *))
{
    const struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_flags = flags, .ifi_change = change};
    AUTO_MSG *msg = rtnl_msg(type, NLM_F_ACK, &head, sizeof head);
    (void)nla_put_string(msg, IFLA_IFNAME, guest.tap);
    fill(msg);
    keep(m, nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len);
}

static void fill_join(struct nl_msg *msg)
{
    (void)nla_put(msg, IFLA_IFALIAS, 6, "svb:vm");
    struct nlattr *families = nla_nest_start(msg, IFLA_AF_SPEC);
    struct nlattr *ipv6 = nla_nest_start(msg, AF_INET6);
    (void)nla_put_u8(msg, 8 /* IFLA_INET6_ADDR_GEN_MODE */, 1);
    (void)nla_nest_end(msg, ipv6);
    (void)nla_nest_end(msg, families);
    (void)nla_put_u32(msg, IFLA_MASTER, if_nametoindex("svb0"));
}

static void fill_isolation(struct nl_msg *msg)
{
    struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
    (void)nla_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge");
    struct nlattr *data = nla_nest_start(msg, IFLA_INFO_SLAVE_DATA);
    (void)nla_put_u16(msg, IFLA_BRPORT_GROUP_FWD_MASK, 0xfffd);
    for (size_t i = 0; i < ARRAY_LEN(link_port_flags); i++) {
        (void)nla_put_u8(msg, link_port_flags[i].attribute, link_port_flags[i].wanted);
    }
    (void)nla_nest_end(msg, data);
    (void)nla_nest_end(msg, info);
}

static void fill_nothing(struct nl_msg *msg)
{
    (void)msg;
}

static void keep_entry(void)
{
    const struct ndmsg head = {.ndm_family = AF_BRIDGE, .ndm_state = NUD_NOARP, .ndm_flags = NTF_MASTER | NTF_STICKY};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, &head, sizeof head);
    (void)nla_put(msg, NDA_LLADDR, sizeof guest_mac.bytes, guest_mac.bytes);
    keep(&bare.entry, nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len);
}

static void keep_batch(struct message *m, void (*put)(struct nft_batch *b))
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put(&b);
    ((struct nlmsghdr *)(void *)(b.buf + b.last))->nlmsg_flags |= NLM_F_ACK;
    b.len += nftnl_batch_end(b.buf + b.len, (uint32_t)b.count + 1)->nlmsg_len;
    keep(m, b.buf, b.len);
}

static void put_addition(struct nft_batch *b)
{
    nft_put_guests(b, NFT_MSG_NEWSETELEM, "svb", &guest, 1);
}

static void put_removal(struct nft_batch *b)
{
    nft_put_guests(b, NFT_MSG_DELSETELEM, "svb", &guest, 1);
}

static int netlink(int protocol)
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    ck_assert(fd >= 0 && bind(fd, (struct sockaddr *)&self, sizeof self) == 0);
    return fd;
}

static void tell(int fd, const struct message *m)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    uint8_t answer[4096];
    ck_assert_int_eq(sendto(fd, m->bytes, m->len, 0, (struct sockaddr *)&kernel, sizeof kernel), (ssize_t)m->len);
    ck_assert_int_gt(recv(fd, answer, sizeof answer, 0), 0);
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)answer;
    ck_assert_int_eq(h->nlmsg_type, NLMSG_ERROR);
    ck_assert_int_eq(((const struct nlmsgerr *)NLMSG_DATA(h))->error, 0);
}

static void make_bare(void)
{
    bare.rtnl = netlink(NETLINK_ROUTE);
    bare.nft = netlink(NETLINK_NETFILTER);
    keep_link_message(&bare.join, RTM_NEWLINK, IFF_NOARP, IFF_NOARP, fill_join);
    keep_link_message(&bare.isolate, RTM_NEWLINK, IFF_UP, IFF_UP, fill_isolation);
    keep_link_message(&bare.removal, RTM_DELLINK, 0, 0, fill_nothing);
    keep_entry();
    keep_batch(&bare.add, put_addition);
    keep_batch(&bare.take, put_removal);
}

static void attach_bare(void)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    (void)strcpy(request.ifr_name, "svbt9"); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): it fits
    tell(bare.nft, &bare.add);
    AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
    ck_assert_int_eq(ioctl(fd, TUNSETOWNER, 0UL), 0);
    tell(bare.rtnl, &bare.join);
    tell(bare.rtnl, &bare.isolate);
    ck_assert_int_eq(ioctl(bare.rtnl, SIOCGIFINDEX, &request), 0);
    ((struct ndmsg *)NLMSG_DATA((struct nlmsghdr *)(void *)bare.entry.bytes))->ndm_ifindex = request.ifr_ifindex;
    tell(bare.rtnl, &bare.entry);
    ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
}

static void detach_bare(void)
{
    tell(bare.rtnl, &bare.removal);
    tell(bare.nft, &bare.take);
}

START_TEST(figures)
{
    struct nft_base base = {
        .mark = "svb", .bridge = "svb0", .tap_prefix = "svbt", .subnet = {0x0a090000, 24}, .gateway = 0x0a090001, .max_flows = 100, .flow_rate = 100};
    bool created = false;
    netns_enter();
    must(link_bridge_ensure("svb0", "svb:bridge", (struct mac){{2, 0xff, 0, 0, 0, 1}}, base.gateway, 24, &created, &err));
    must(nft_base_apply(&base, NULL, 0, NULL, 0, &err));
    make_bare();
    const struct way tap = {make_bare_tap, remove_bare_tap};
    const struct way calls = {attach_bare, detach_bare};
    const struct way commands = {attach_by_commands, detach_by_commands};
    const struct way ours = {attach, detach};
    compare("calls", &ours, &calls);
    compare("bare_tap", &ours, &tap);
    compare("commands", &ours, &commands);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("attach");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, figures);
    Suite *suite = suite_create("bench_attach");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
