/* Listeners of the host, in a namespace of the test's own. */
#include "host/nft/listening.h"
#include "host/process/socket_owner.h"

#include "tests/host/netns.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct error err;

struct found {
    struct listener items[16];
    size_t count;
};

static void note(const struct listener *listener, void *ctx)
{
    struct found *found = ctx;
    ck_assert(found->count < ARRAY_LEN(found->items));
    found->items[found->count++] = *listener;
}

static struct listener last; /* that listens() found */

static bool listens(uint8_t protocol, uint16_t port)
{
    struct found found = {.count = 0};
    bool there = false;
    MUST(listener_each(protocol, note, &found, &err));
    for (size_t i = 0; i < found.count; i++) {
        ck_assert(found.items[i].protocol == protocol && found.items[i].inode != 0);
        if (found.items[i].port == port) {
            last = found.items[i];
            there = true;
        }
    }
    return there;
}

static int bound(int family, int type, uint16_t port)
{
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    ck_assert(fd >= 0);
    ck_assert(family == AF_INET ? bind(fd, (struct sockaddr *)&any4, sizeof any4) == 0 : bind(fd, (struct sockaddr *)&any6, sizeof any6) == 0);
    return fd;
}

START_TEST(tcp)
{
    netns_enter();
    AUTO_CLOSE int only_bound = bound(AF_INET, SOCK_STREAM, 1000);
    AUTO_CLOSE int four = bound(AF_INET, SOCK_STREAM, 1001);
    AUTO_CLOSE int six = bound(AF_INET6, SOCK_STREAM, 1002);
    ck_assert(!listens(IPPROTO_TCP, 1001));
    ck_assert(listen(four, 1) == 0 && listen(six, 1) == 0);
    ck_assert(listens(IPPROTO_TCP, 1001) && listens(IPPROTO_TCP, 1002));
    ck_assert(!listens(IPPROTO_TCP, 1000) && !listens(IPPROTO_UDP, 1001));
    ck_assert(only_bound >= 0);
}
END_TEST

START_TEST(udp)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    netns_enter();
    AUTO_CLOSE int server = bound(AF_INET, SOCK_DGRAM, 1003);
    AUTO_CLOSE int client = bound(AF_INET, SOCK_DGRAM, 1004);
    ck_assert(connect(client, (struct sockaddr *)&to, sizeof to) == 0);
    ck_assert(listens(IPPROTO_UDP, 1003) && !listens(IPPROTO_TCP, 1003));
    ck_assert(!listens(IPPROTO_UDP, 1004)); /* it only asks */
    ck_assert(server >= 0);
}
END_TEST

static int bound6(const char *address, bool v6_only, uint16_t port)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int only = v6_only;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert(fd >= 0 && inet_pton(AF_INET6, address, &to.sin6_addr) == 1);
    ck_assert(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) == 0);
    ck_assert(bind(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* At which addresses they listen, and who does. */
START_TEST(where_and_who)
{
    static const uint8_t loopback[16] = {127, 0, 0, 1};
    static const uint8_t zeroes[16];
    netns_enter();
    AUTO_CLOSE int four = bound(AF_INET, SOCK_DGRAM, 1101);
    AUTO_CLOSE int both = bound6("::", false, 1102);
    AUTO_CLOSE int six = bound6("::", true, 1103);
    AUTO_CLOSE int mapped = bound6("::ffff:127.0.0.1", false, 1104);
    AUTO_CLOSE int one = bound6("::1", true, 1105);
    ck_assert(listens(IPPROTO_UDP, 1101) && last.host.version == IP_V4 && memcmp(last.host.bytes, loopback, 16) == 0 && !last.both);
    struct socket_owner owners[2] = {{.inode = last.inode}, {.inode = UINT32_MAX}};
    socket_owners_find(owners, ARRAY_LEN(owners));
    ck_assert(owners[0].pid == getpid() && owners[1].pid == 0);
    ck_assert_str_eq(owners[0].name, "listener");
    ck_assert_str_eq(owners[1].name, "");
    ck_assert(listens(IPPROTO_UDP, 1102) && last.host.version == IP_V6 && memcmp(last.host.bytes, zeroes, 16) == 0 && last.both);
    ck_assert(listens(IPPROTO_UDP, 1103) && last.host.version == IP_V6 && !last.both);
    ck_assert(listens(IPPROTO_UDP, 1104) && last.host.version == IP_V4 && memcmp(last.host.bytes, loopback, 16) == 0 && !last.both);
    ck_assert(listens(IPPROTO_UDP, 1105) && last.host.version == IP_V6 && last.host.bytes[15] == 1 && !last.both);
    ck_assert(four >= 0 && both >= 0 && six >= 0 && mapped >= 0 && one >= 0);
}
END_TEST

static const struct {
    const char *listener; /* "both" or an address */
    const char *published;
    bool meets;
} meetings[] = {
    {"0.0.0.0", "0.0.0.0", true},     {"127.0.0.1", "0.0.0.0", true}, {"0.0.0.0", "192.0.2.1", true}, {"127.0.0.1", "192.0.2.1", false},
    {"192.0.2.1", "192.0.2.1", true}, {"both", "0.0.0.0", true},      {"both", "192.0.2.1", true},    {"both", "2001:db8::1", true},
    {"::", "0.0.0.0", false},         {"::", "2001:db8::1", true},    {"0.0.0.0", "::", false},       {"::1", "::", true},
    {"::1", "2001:db8::1", false},
};

START_TEST(which_ports_it_meets)
{
    const bool both = strcmp(meetings[_i].listener, "both") == 0;
    struct listener listener = {.protocol = IPPROTO_TCP, .port = 80, .both = both};
    struct vm_port port = {.protocol = IPPROTO_TCP, .host_port = 80, .count = 1};
    ck_assert(ip_addr_parse(both ? "::" : meetings[_i].listener, &listener.host) && ip_addr_parse(meetings[_i].published, &port.host));
    ck_assert(listener_meets(&listener, &port) == meetings[_i].meets);
    port.protocol = IPPROTO_UDP;
    ck_assert(!listener_meets(&listener, &port));
    port = (struct vm_port){.protocol = IPPROTO_TCP, .host = port.host, .host_port = 70, .count = 10};
    ck_assert(!listener_meets(&listener, &port));
    port.count = 11;
    ck_assert(listener_meets(&listener, &port) == meetings[_i].meets);
    port.host_port = 81;
    ck_assert(!listener_meets(&listener, &port));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host/listener");
    TCase *tcase = tcase_create("listener");
    tcase_add_test(tcase, tcp);
    tcase_add_test(tcase, udp);
    tcase_add_test(tcase, where_and_who);
    tcase_add_loop_test(tcase, which_ports_it_meets, 0, (int)ARRAY_LEN(meetings));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
