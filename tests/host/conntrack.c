/*
 * Cutting tracked flows: live connections through a router of the test's own, of which some are forbidden. `conntrack` is the kernel's, the
 * judge is what still passes.
 */
#include "host/nft/conntrack.h"

#include "core/cleanup.h"
#include "tests/host/netns.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

enum { PORT = 8000, ANSWER_MS = 2000, QUIET_MS = 300, MANY = 20000 };

static struct error err;

static struct {
    int router, guests, server; /* namespaces */
    pid_t keepers[2];
    int listener;
} net;

static int new_namespace(pid_t *keeper)
{
    char path[64];
    int ready[2];
    char byte = 0;
    ck_assert(pipe2(ready, O_CLOEXEC) == 0);
    *keeper = fork();
    if (*keeper == 0) {
        _exit(unshare(CLONE_NEWNET) == 0 && write(ready[1], "x", 1) == 1 && pause() != 0 ? 0 : 1);
    }
    ck_assert(read(ready[0], &byte, 1) == 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)*keeper);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert(fd >= 0);
    return fd;
}

static void join(const char *link, pid_t keeper, const char *address)
{
    char command[160];
    (void)snprintf(command, sizeof command, "ip link add %s type veth peer name eth0 netns %d", link, (int)keeper);
    netns_run(command);
    (void)snprintf(command, sizeof command, "ip addr add %s dev %s", address, link);
    netns_run(command);
    (void)snprintf(command, sizeof command, "ip link set %s up", link);
    netns_run(command);
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    ck_assert(bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, 8) == 0);
    return fd;
}

/* Guests 10.1.0.2 and 10.1.0.3, the router 10.1.0.1 and 10.9.0.1, and a server 10.9.0.2 that is reached as 10.9.0.77, too. */
static void setup(void)
{
    netns_enter();
    net.router = netns_here();
    net.guests = new_namespace(&net.keepers[0]);
    net.server = new_namespace(&net.keepers[1]);
    join("guests0", net.keepers[0], "10.1.0.1/24");
    join("server0", net.keepers[1], "10.9.0.1/24");
    netns_run("sysctl -q -w net.ipv4.ip_forward=1");
    netns_run("nft add table ip t");
    netns_run("nft add chain ip t forward { type filter hook forward priority 0 ; }");
    netns_run("nft add rule ip t forward ct state established accept");
    netns_run("nft add rule ip t forward ct state new tcp flags & (syn|ack) == ack drop"); /* a flow begins with a SYN */
    netns_run("nft add chain ip t pre { type nat hook prerouting priority -100 ; }");
    netns_run("nft add rule ip t pre ip daddr 10.9.0.77 tcp dport 9000 dnat to 10.9.0.2:8000");
    netns_go(net.guests);
    netns_run("ip addr add 10.1.0.2/24 dev eth0");
    netns_run("ip addr add 10.1.0.3/24 dev eth0");
    netns_run("ip link set eth0 up");
    netns_run("ip route add default via 10.1.0.1");
    netns_go(net.server);
    netns_run("ip addr add 10.9.0.2/24 dev eth0");
    netns_run("ip link set eth0 up");
    netns_run("ip route add default via 10.9.0.1");
    net.listener = listen_at(PORT);
    netns_go(net.router);
}

static void teardown(void)
{
    (void)close(net.listener);
    for (size_t i = 0; i < ARRAY_LEN(net.keepers); i++) {
        (void)kill(net.keepers[i], SIGKILL);
        (void)waitpid(net.keepers[i], NULL, 0);
    }
    (void)close(net.guests);
    (void)close(net.server);
    (void)close(net.router);
}

struct connection {
    int client, server;
};

static struct sockaddr_in address_of(const char *text, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    ck_assert(inet_pton(AF_INET, text, &address.sin_addr) == 1);
    return address;
}

static struct connection open_connection(const char *from, const char *to, uint16_t port)
{
    struct sockaddr_in source = address_of(from, 0);
    struct sockaddr_in target = address_of(to, port);
    struct connection c = {.client = -1, .server = -1};
    netns_go(net.guests);
    c.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    netns_go(net.router);
    ck_assert(c.client >= 0 && bind(c.client, (struct sockaddr *)&source, sizeof source) == 0);
    ck_assert_msg(connect(c.client, (struct sockaddr *)&target, sizeof target) == 0, "%s", strerror(errno));
    // cppcheck-suppress nullPointer
    c.server = accept4(net.listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert(c.server >= 0);
    return c;
}

static bool carries(const struct connection *c, int timeout_ms)
{
    char byte = 0;
    struct pollfd readable = {.fd = c->server, .events = POLLIN};
    ck_assert(send(c->client, "x", 1, MSG_NOSIGNAL) == 1);
    return poll(&readable, 1, timeout_ms) == 1 && recv(c->server, &byte, 1, 0) == 1;
}

static void close_connection(const struct connection *c)
{
    (void)close(c->client);
    (void)close(c->server);
}

/* What is forbidden, and what was asked about. */
struct wish {
    struct ip_addr source, destination;
    uint16_t port;
    size_t seen, published;
    struct conntrack_flow last; /* that was asked about */
};

static bool is_forbidden(const struct conntrack_flow *flow, void *ctx)
{
    struct wish *wish = ctx;
    wish->seen++;
    wish->last = *flow;
    wish->published += flow->published;
    return flow->protocol == IPPROTO_TCP && ip_addr_equal(&flow->source, &wish->source) && ip_addr_equal(&flow->destination, &wish->destination) &&
           flow->port == wish->port;
}

static struct wish wish_of(const char *source, const char *destination, uint16_t port)
{
    struct wish wish = {.port = port};
    ck_assert(ip_addr_parse(source, &wish.source) && ip_addr_parse(destination, &wish.destination));
    return wish;
}

static size_t flows_there(void)
{
    struct wish wish = {.port = 1};
    size_t cut = 99;
    MUST(conntrack_cut(is_forbidden, &wish, &cut, &err));
    ck_assert_uint_eq(cut, 0);
    return wish.seen;
}

START_TEST(only_what_is_forbidden_is_cut)
{
    struct wish wish = wish_of("10.1.0.2", "10.9.0.2", PORT);
    size_t cut = 0;
    const struct connection forbidden = open_connection("10.1.0.2", "10.9.0.2", PORT);
    const struct connection other_vm = open_connection("10.1.0.3", "10.9.0.2", PORT);
    netns_go(net.server);
    int second = listen_at(PORT + 1);
    netns_go(net.router);
    int first = net.listener;
    net.listener = second;
    const struct connection allowed = open_connection("10.1.0.2", "10.9.0.2", PORT + 1);
    net.listener = first;
    ck_assert(carries(&forbidden, ANSWER_MS) && carries(&other_vm, ANSWER_MS) && carries(&allowed, ANSWER_MS));
    ck_assert_uint_eq(flows_there(), 3);
    MUST(conntrack_cut(is_forbidden, &wish, &cut, &err));
    ck_assert_uint_eq(cut, 1);
    ck_assert_uint_eq(wish.seen, 3);
    ck_assert_uint_eq(flows_there(), 2);
    ck_assert(!carries(&forbidden, QUIET_MS));
    ck_assert(carries(&other_vm, ANSWER_MS));
    ck_assert(carries(&allowed, ANSWER_MS));
    MUST(conntrack_cut(is_forbidden, &wish, &cut, &err));
    ck_assert_uint_eq(cut, 0);
    close_connection(&forbidden);
    close_connection(&other_vm);
    close_connection(&allowed);
    (void)close(second);
}
END_TEST

START_TEST(a_translated_flow_is_known_by_where_it_goes)
{
    struct wish by_name = wish_of("10.1.0.2", "10.9.0.77", 9000);
    struct wish by_end = wish_of("10.1.0.2", "10.9.0.2", PORT);
    size_t cut = 0;
    const struct connection c = open_connection("10.1.0.2", "10.9.0.77", 9000);
    ck_assert(carries(&c, ANSWER_MS));
    MUST(conntrack_cut(is_forbidden, &by_name, &cut, &err));
    ck_assert_uint_eq(cut, 0);
    ck_assert_uint_eq(by_name.published, 1);
    ck_assert(ip_addr_equal(&by_name.last.asked, &by_name.destination) && by_name.last.asked_port == 9000);
    ck_assert(ip_addr_equal(&by_name.last.shown, &by_name.source));
    MUST(conntrack_cut(is_forbidden, &by_end, &cut, &err));
    ck_assert_uint_eq(cut, 1);
    ck_assert(!carries(&c, QUIET_MS));
    close_connection(&c);
}
END_TEST

static bool everything(const struct conntrack_flow *flow, void *ctx)
{
    (void)ctx;
    return flow->protocol == IPPROTO_UDP;
}

/* Flows of UDP in great number: the answer of the kernel does not fit one buffer. */
START_TEST(twenty_thousand_flows)
{
    size_t cut = 0;
    netns_run("nft add chain ip t out { type filter hook output priority 0 ; }");
    netns_run("nft add rule ip t out ct state new accept");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < MANY; i++) {
        struct sockaddr_in to = address_of("10.9.0.2", (uint16_t)(10000 + i));
        (void)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to);
    }
    const size_t there = flows_there();
    ck_assert_uint_ge(there, MANY / 2);
    MUST(conntrack_cut(everything, NULL, &cut, &err));
    ck_assert_uint_ge(cut, there / 2);
    ck_assert_uint_le(flows_there(), there - cut);
    (void)close(fd);
}
END_TEST

START_TEST(the_hosts_own_addresses)
{
    struct ip_addr *list = NULL;
    size_t count = 0;
    struct ip_addr mine;
    struct ip_addr other;
    bool found = false;
    ck_assert(ip_addr_parse("10.9.0.1", &mine) && ip_addr_parse("10.9.0.2", &other));
    MUST(conntrack_local_addresses(NULL, 0, &list, &count, &err));
    for (size_t i = 0; i < count; i++) {
        found = found || ip_addr_equal(&list[i], &mine);
        ck_assert(!ip_addr_equal(&list[i], &other));
    }
    ck_assert(found);
    free(list);
    static const char *const links[] = {"server0", "not-there"};
    MUST(conntrack_local_addresses(links, 2, &list, &count, &err));
    found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || ip_addr_equal(&list[i], &mine);
        ck_assert(list[i].version != IP_V4 || ip_addr_equal(&list[i], &mine)); /* not the loopback's */
    }
    ck_assert(found);
    free(list);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conntrack");
    TCase *tcase = tcase_create("flows");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, only_what_is_forbidden_is_cut);
    tcase_add_test(tcase, a_translated_flow_is_known_by_where_it_goes);
    tcase_add_test(tcase, twenty_thousand_flows);
    tcase_add_test(tcase, the_hosts_own_addresses);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
