/* By which links guests leave, and what stands against their subnet: in a network namespace of the test's own, set up by `ip`. */
#include "host/link/link.h"
#include "host/link/uplinks.h"

#include "tests/host/netns.h"

#include <stdlib.h>
#include <unistd.h>

static struct error err;
static struct uplinks found;
static const struct ip_net subnet6 = {.address = {.version = IP_V6, .bytes = {0xfd, 0, 0, 7}}, .prefix = 64};
static struct uplinks_question question = {.bridge = "br0", .subnet = {0xac1e0000, 24}, .gateway = 0xac1e0001};

/* up0 to up3: 198.51.100.0/24, 203.0.113.0/24, 192.0.2.0/24, 100.64.0.0/24. */
static void setup(void)
{
    static const char *const networks[] = {"198.51.100", "203.0.113", "192.0.2", "100.64.0"};
    char command[128];
    question = (struct uplinks_question){.bridge = "br0", .subnet = {0xac1e0000, 24}, .gateway = 0xac1e0001};
    netns_enter();
    netns_run("ip link add br0 type bridge");
    netns_run("ip address add 172.30.0.1/24 dev br0");
    netns_run("ip link set br0 up");
    netns_run("sysctl -qw net.ipv4.conf.br0.forwarding=1 net.ipv4.conf.br0.rp_filter=1");
    for (size_t i = 0; i < ARRAY_LEN(networks); i++) {
        (void)snprintf(command, sizeof command, "ip link add up%zu type veth peer name far%zu", i, i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "ip link set far%zu up", i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "ip address add %s.2/24 dev up%zu", networks[i], i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "ip -6 address add 2001:db8:%zu::2/64 dev up%zu nodad", i, i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "ip link set up%zu up", i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "sysctl -qw net.ipv4.conf.up%zu.forwarding=1", i);
        netns_run(command);
    }
}

static void are(const char *names)
{
    char text[INTERFACE_NAMES_TEXT_MAX];
    struct interface_names wanted;
    interface_names_parse(names, &wanted);
    MUST(uplinks_find(&question, &found, &err));
    for (int i = 0; i < 100 && !interface_names_equal(&wanted, &found.names); i++) {
        (void)usleep(20000); /* the kernel tells itself of carriers with a delay */
        MUST(uplinks_find(&question, &found, &err));
    }
    ck_assert_msg(interface_names_equal(&wanted, &found.names), "%s, not %s", interface_names_format(&found.names, text), names);
    ck_assert(found.ipv4 == (found.hole4[0] == '\0' || found.names.count > 0) || question.subnet6 != NULL);
}

/* What is done, and by which links guests leave then. "" ends a case. */
struct step {
    const char *commands[5];
    const char *uplinks;
    const char *hole; /* in what leads nowhere; NULL: all leads somewhere */
};

static const struct step steps[] = {
    {{NULL}, "", "Network is unreachable"},
    {{"ip route add default via 198.51.100.1"}, "up0", NULL},
    {{"ip route add default via 198.51.100.1 metric 200", "ip route add default via 203.0.113.1 metric 100"}, "up1", NULL},
    {{"ip route add default via 198.51.100.1 metric 200", "ip route add default via 203.0.113.1 metric 100", "ip link set up1 down"}, "up0", NULL},
    {{"ip route add default via 198.51.100.1", "ip route replace default via 203.0.113.1"}, "up1", NULL},
    {{"ip route add default dev up2"}, "up2", NULL}, /* as of PPP: no gateway */
    {{"ip route add default via 198.51.100.1 src 198.51.100.2"}, "up0", NULL},
    /* OpenVPN's def1, and its relatives */
    {{"ip route add default via 198.51.100.1", "ip route add 0.0.0.0/1 via 203.0.113.1", "ip route add 128.0.0.0/1 via 203.0.113.1"}, "up1", NULL},
    {{"ip route add 0.0.0.0/1 via 203.0.113.1", "ip route add 128.0.0.0/1 via 192.0.2.1"}, "up1 up2", NULL},
    {{"ip route add 0.0.0.0/1 via 203.0.113.1"}, "up1", "128.0.0.0 to 223.255.255.255"},
    {{"ip route add default via 198.51.100.1", "ip route add 128.0.0.0/1 via 203.0.113.1"}, "up0 up1", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add 64.0.0.0/2 via 203.0.113.1", "ip route add 192.0.0.0/3 via 192.0.2.1"}, "up0 up1 up2", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add 12.0.0.0/7 via 203.0.113.1"}, "up0 up1", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add 10.0.0.0/8 via 203.0.113.1"}, "up0", NULL}, /* a network of its own */
    /* several next hops */
    {{"ip route add default nexthop via 198.51.100.1 nexthop via 203.0.113.1 weight 3"}, "up0 up1", NULL},
    {{"ip route add default nexthop via 198.51.100.1 nexthop via 203.0.113.1", "ip link set up1 down"}, "up0", NULL},
    {{"ip nexthop add id 1 via 198.51.100.1 dev up0", "ip nexthop add id 2 via 192.0.2.1 dev up2", "ip nexthop add id 9 group 1/2",
      "ip route add default nhid 9"},
     "up0 up2",
     NULL},
    {{"sysctl -qw net.ipv4.nexthop_compat_mode=0", "ip nexthop add id 1 via 198.51.100.1 dev up0", "ip nexthop add id 2 via 192.0.2.1 dev up2",
      "ip nexthop add id 9 group 1/2", "ip route add default nhid 9"},
     "up0 up2",
     NULL},
    {{"sysctl -qw net.ipv4.nexthop_compat_mode=0", "ip nexthop add id 1 via 198.51.100.1 dev up0", "ip route add default nhid 1"}, "up0", NULL},
    {{"ip nexthop add id 1 blackhole", "ip route add default nhid 1"}, "", "1.0.0.0 to"},
    /* rules: wg-quick's, of sources, of what guests send, and for others */
    {{"ip route add default via 198.51.100.1", "ip route add default dev up3 table 51820", "ip rule add not fwmark 0xca6c table 51820",
      "ip rule add table main suppress_prefixlength 0"},
     "up3",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add from 172.30.0.0/24 lookup 100"}, "up1", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add iif br0 lookup 100"}, "up1", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add from 172.30.0.2 lookup 100"}, "up0 up1", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add from 172.30.0.128/25 lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add ipproto tcp dport 443 lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add iif br0 tos 0x10 lookup 100"}, "up0 up1", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add iif br0 to 128.0.0.0/1 lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add fwmark 7 lookup 100"}, "up0", NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip rule add from 10.0.0.0/8 lookup 100",
      "ip rule add iif up2 lookup 100"},
     "up0",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add ipproto udp lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add not ipproto udp lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add not ipproto tcp dport 443 lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add ipproto icmp lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add not to 128.0.0.0/1 lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add uidrange 0-0 to 128.0.0.0/1 lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add uidrange 1-9 to 128.0.0.0/1 lookup 100"},
     "up0",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add not from 172.30.0.2 lookup 100"},
     "up0 up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add not fwmark 7 lookup 100"},
     "up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add not iif up2 lookup 100"},
     "up1",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip route add default via 203.0.113.1 table 100", "ip route add 172.30.0.0/24 dev br0 table 100",
      "ip rule add ipproto 47 lookup 100"},
     "up0",
     NULL},
    {{"ip route add default via 198.51.100.1", "ip rule add from 172.30.0.0/24 prohibit"}, "", "Permission denied"},
    /* routes that are none */
    {{"ip route add unreachable default"}, "", "No route to host"},
    {{"ip route add prohibit default"}, "", "Permission denied"},
    {{"ip route add blackhole default"}, "", "1.0.0.0 to"},
    {{"ip route add default via 198.51.100.1", "ip route add unreachable 128.0.0.0/1"}, "up0", "128.0.0.0 to"},
    {{"ip route add default via 198.51.100.1", "ip route add unreachable 32.0.0.0/8"}, "up0", NULL}, /* a hole that is no part */
    {{"ip route add default via 198.51.100.1", "ip route add blackhole 32.9.33.77/32"}, "up0", NULL},
    {{"ip -6 route add default via 2001:db8:1::1"}, "", "Network is unreachable"}, /* which nobody asked for */
    /* a VRF's own routes don't lead guests, who are not in it; the host's do, wherever the link is */
    {{"ip link add blue type vrf table 10", "ip link set blue up", "ip link set up1 master blue", "ip route add default via 203.0.113.1 table 10"},
     "",
     "Network is unreachable"},
    {{"ip link add blue type vrf table 10", "ip link set blue up", "ip link set br0 master blue", "ip link set up1 master blue",
      "ip route add default via 203.0.113.1 table 10"},
     "up1",
     NULL},
    /* carriers */
    {{"ip route add default via 198.51.100.1 metric 9", "ip route add default via 203.0.113.1 metric 99", "ip link set far0 down"}, "up0", NULL},
    {{"sysctl -qw net.ipv4.conf.up0.ignore_routes_with_linkdown=1", "ip route add default via 198.51.100.1 metric 9",
      "ip route add default via 203.0.113.1 metric 99", "ip link set far0 down"},
     "up1",
     NULL},
};

START_TEST(each_way_out)
{
    const struct step *step = &steps[_i];
    for (size_t i = 0; i < ARRAY_LEN(step->commands) && step->commands[i] != NULL; i++) {
        if (strstr(step->commands[i], "type vrf") != NULL && netns_try(step->commands[i], NULL) != 0) {
            return; /* this kernel has none */
        }
        if (strstr(step->commands[i], "type vrf") == NULL) {
            netns_run(step->commands[i]);
        }
    }
    are(step->uplinks);
    if (step->hole == NULL) {
        ck_assert_str_eq(found.hole4, "");
    } else {
        ck_assert_msg(strstr(found.hole4, step->hole) != NULL, "no '%s' in '%s'", step->hole, found.hole4);
    }
}
END_TEST

START_TEST(no_vm_runs)
{
    question.no_carrier = true;
    netns_run("ip tuntap add dev tap0 mode tap");
    netns_run("ip link set tap0 master br0 up");
    netns_run("sysctl -qw net.ipv4.conf.br0.ignore_routes_with_linkdown=1");
    netns_run("ip route add default via 198.51.100.1");
    for (int i = 0; i < 300 && !netns_says("ip route show dev br0", "linkdown"); i++) {
        (void)usleep(10000); /* the kernel tells itself of carriers with a delay */
    }
    are("up0");
    question.no_carrier = false;
    are("");
}
END_TEST

START_TEST(ipv6)
{
    netns_run("ip -6 address add fd00:7::1/64 dev br0 nodad");
    question.subnet6 = &subnet6;
    netns_run("ip route add default via 198.51.100.1");
    are("up0");
    ck_assert(!found.ipv6);
    ck_assert_ptr_nonnull(strstr(found.hole6, "2000:: to 3fff:ffff:"));
    netns_run("ip -6 route add 2000::/3 via 2001:db8:1::1");
    are("up0 up1");
    ck_assert(found.ipv6);
    ck_assert_str_eq(found.hole6, "");
    netns_run("ip -6 route add 3000::/4 via 2001:db8:2::1");
    are("up0 up1 up2");
    netns_run("ip -6 route del 2000::/3");
    are("up0 up2");
    ck_assert_ptr_nonnull(strstr(found.hole6, "2000:: to 2fff:ffff:"));
    netns_run("ip -6 route del 3000::/4");
    netns_run("ip -6 route add default nexthop via 2001:db8:1::1 nexthop via 2001:db8:3::1");
    are("up0 up1 up3");
    netns_run("ip -6 route del default");
    netns_run("ip -6 route add default via 2001:db8:2::1 table 100");
    netns_run("ip -6 rule add iif br0 lookup 100");
    are("up0 up2");
    netns_run("ip route del default");
    are("up2");
    ck_assert(!found.ipv4);
    ck_assert_ptr_nonnull(strstr(found.hole4, "Network is unreachable"));
}
END_TEST

/* While the bridge can't be asked for, rules that name it are not known. */
START_TEST(as_the_host)
{
    question.as_host = true;
    netns_run("ip route add default via 198.51.100.1");
    netns_run("ip route add default via 203.0.113.1 table 100");
    netns_run("ip rule add iif br0 lookup 100");
    are("up0");
    netns_run("ip link del br0");
    are("up0");
}
END_TEST

START_TEST(networks_beside)
{
    netns_run("ip route add default via 198.51.100.1");
    netns_run("ip route add 10.0.0.0/8 via 203.0.113.1");  /* somebody's own */
    netns_run("ip route add 8.8.8.8/32 via 203.0.113.1");  /* a VPN's server, say */
    netns_run("ip route add 9.9.0.0/16 via 198.51.100.1"); /* where guests leave anyway */
    are("up0");
    ck_assert_str_eq(found.unused, "");
    netns_run("ip route add 8.8.0.0/16 via 203.0.113.1");
    are("up0");
    ck_assert_str_eq(found.unused, "8.8.0.0/16 by up1");
    ck_assert_uint_eq(found.unused_count, 1);
    netns_run("ip route add default via 203.0.113.1 metric 7 table 100");
    netns_run("ip rule add from 172.30.0.9 lookup 100");
    are("up0 up1");
    ck_assert_str_eq(found.unused, "");
}
END_TEST

START_TEST(more_than_fit)
{
    for (int i = 0; i < 40; i++) {
        char command[128];
        (void)snprintf(command, sizeof command, "ip link add d%d type bridge", i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "ip link set d%d up", i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "ip route add default dev d%d table %d", i, 1000 + i);
        netns_run(command);
        (void)snprintf(command, sizeof command, "ip rule add from 172.30.0.%d lookup %d", 100 + i, 1000 + i);
        netns_run(command);
    }
    MUST(uplinks_find(&question, &found, &err));
    ck_assert_uint_eq(found.names.count, INTERFACE_NAMES_MAX);
    ck_assert_uint_gt(found.left_out, 0);
}
END_TEST

static void answers(const char *words)
{
    char text[UPLINKS_TEXT_MAX];
    MUST(uplinks_find(&question, &found, &err));
    MUST(uplinks_check_answers(&question, &found, text, &err));
    ck_assert_msg(words == NULL ? text[0] == '\0' : strstr(text, words) != NULL, "'%s', not '%s'", text, words != NULL ? words : "");
}

START_TEST(answers_find_their_way)
{
    netns_run("ip route add default via 198.51.100.1");
    answers(NULL);
    netns_run("ip route add default via 203.0.113.1 table 100");
    netns_run("ip rule add from 172.30.0.0/24 lookup 100");
    netns_run("ip rule add iif br0 lookup 100");
    answers(NULL);
    netns_run("ip rule add priority 5 iif up1 to 172.30.0.0/25 lookup 100"); /* in which the guests' network is not */
    answers("what comes in by up1 for guests is led to up1");
    netns_run("ip rule del priority 5");
    answers(NULL);
    netns_run("ip rule add priority 5 iif up1 lookup 100"); /* then the bridge's rp_filter drops all that guests send */
    answers(NULL);
    ck_assert_ptr_nonnull(strstr(found.hole4, "does not take guests for what comes from the bridge"));
    ck_assert(!found.ipv4);
    netns_run("ip rule del priority 5");
    netns_run("ip route add 172.30.0.0/25 via 192.0.2.1");
    answers("what comes in by up1 for guests is led to up2");
    netns_run("ip route del 172.30.0.0/25");
    netns_run("sysctl -qw net.ipv4.conf.up1.rp_filter=1");
    netns_run("ip rule del from 172.30.0.0/24 lookup 100");
    netns_run("ip rule del iif br0 lookup 100");
    netns_run("ip rule add iif br0 ipproto tcp dport 443 lookup 100");
    answers("rp_filter"); /* they leave by up1, and the host would answer by up0 */
    netns_run("sysctl -qw net.ipv4.conf.up1.rp_filter=2");
    answers(NULL);
}
END_TEST

static void overlaps(const char *words)
{
    char text[64] = "";
    bool there = false;
    MUST(link_route_overlap(question.subnet, "br0", &there, text, &err));
    ck_assert_msg(there == (words != NULL), "%s", text);
    if (words != NULL) {
        ck_assert_str_eq(text, words);
    }
}

START_TEST(only_what_takes_packets_from_guests_overlaps)
{
    static const struct {
        const char *route, *words;
    } rows[] = {
        {"default via 198.51.100.1", NULL},
        {"128.0.0.0/1 via 198.51.100.1", NULL},
        {"172.0.0.0/8 via 198.51.100.1", NULL}, /* a VPN's */
        {"172.16.0.0/12 dev up1", NULL},
        {"unreachable 172.16.0.0/12", NULL},
        {"172.30.0.0/23 via 198.51.100.1", NULL},
        {"172.30.0.0/24 via 198.51.100.1 metric 7", "172.30.0.0/24 via up0"},
        {"172.30.0.128/25 dev up1", "172.30.0.128/25 via up1"},
        {"172.30.0.9/32 via 198.51.100.1", "172.30.0.9/32 via up0"},
        {"blackhole 172.30.0.64/26", "172.30.0.64/26 via no interface"},
        {"local 172.16.0.0/12 dev lo table local", "172.16.0.0/12 via lo"}, /* asked first, so it takes all */
        {"172.31.0.0/24 via 198.51.100.1", NULL},
    };
    char command[128];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)snprintf(command, sizeof command, "ip route add %s", rows[i].route);
        netns_run(command);
        overlaps(rows[i].words);
        (void)snprintf(command, sizeof command, "ip route del %s", rows[i].route);
        netns_run(command);
    }
}
END_TEST

START_TEST(a_network_of_the_host_that_holds_the_subnet)
{
    netns_run("ip address add 172.30.7.1/16 dev up1");
    overlaps("172.30.0.0/16 via up1");
    netns_run("ip address del 172.30.7.1/16 dev up1");
    overlaps(NULL);
    netns_run("ip tuntap add dev tun0 mode tun"); /* where nobody is a neighbour */
    netns_run("ip address add 172.30.7.1/16 dev tun0");
    netns_run("ip link set tun0 up");
    overlaps(NULL);
}
END_TEST

static bool is_closed(const char *text, const char *uplinks)
{
    AUTO_FREE struct ip_net *nets = NULL;
    struct interface_names names;
    struct ip_net net;
    size_t count = 0;
    bool there = false;
    interface_names_parse(uplinks, &names);
    MUST(ip_net_parse(text, ERR_INTERNAL, &net, &err));
    MUST(link_networks_list(&(const char *){"br0"}, 1, &names, &nets, &count, &err));
    for (size_t i = 0; i < count; i++) {
        there = there || (ip_addr_equal(&nets[i].address, &net.address) && nets[i].prefix == net.prefix);
    }
    return there;
}

/* wg-quick with AllowedIPs of all that is public. */
START_TEST(a_tunnel_of_many_routes)
{
    netns_run("ip tuntap add dev tun0 mode tun");
    netns_run("ip address add 9.9.0.2/16 dev tun0");
    netns_run("ip link set tun0 up");
    netns_run("ip route add 0.0.0.0/5 dev tun0");
    netns_run("ip route add 11.0.0.0/8 dev tun0");
    netns_run("ip route add 192.168.7.0/24 dev tun0");
    netns_run("ip route add 13.0.0.0/8 dev up0");
    ck_assert(!is_closed("11.0.0.0/8", "up0 tun0")); /* a part of the way out */
    ck_assert(is_closed("11.0.0.0/8", "up0"));       /* which it is not here */
    ck_assert(is_closed("192.168.7.0/24", "tun0"));  /* somebody's own */
    ck_assert(is_closed("9.9.0.0/16", "tun0"));      /* of an address of the host */
    ck_assert(is_closed("13.0.0.0/8", "up0"));       /* neighbours */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uplinks");
    TCase *tcase = tcase_create("uplinks");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, each_way_out, 0, ARRAY_LEN(steps));
    tcase_add_test(tcase, no_vm_runs);
    tcase_add_test(tcase, ipv6);
    tcase_add_test(tcase, as_the_host);
    tcase_add_test(tcase, networks_beside);
    tcase_add_test(tcase, more_than_fit);
    tcase_add_test(tcase, answers_find_their_way);
    tcase_add_test(tcase, only_what_takes_packets_from_guests_overlaps);
    tcase_add_test(tcase, a_tunnel_of_many_routes);
    tcase_add_test(tcase, a_network_of_the_host_that_holds_the_subnet);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
