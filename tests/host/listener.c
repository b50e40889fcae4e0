/* Listeners of the host, in a namespace of the test's own. */
#include "host/nft/listening.h"

#include "tests/host/netns.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct error err;

struct found {
    uint16_t ports[16];
    size_t count;
};

static void note(uint16_t port, void *ctx)
{
    struct found *found = ctx;
    ck_assert(found->count < ARRAY_LEN(found->ports));
    found->ports[found->count++] = port;
}

static bool listens(uint8_t protocol, uint16_t port)
{
    struct found found = {.count = 0};
    bool there = false;
    MUST(listener_each(protocol, note, &found, &err));
    for (size_t i = 0; i < found.count; i++) {
        there = there || found.ports[i] == port;
    }
    return there;
}

static int bound(int family, int type, uint16_t port)
{
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    ck_assert(fd >= 0);
    ck_assert(family == AF_INET ? bind(fd, (struct sockaddr *)&any4, sizeof any4) == 0
                                : bind(fd, (struct sockaddr *)&any6, sizeof any6) == 0);
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

int main(void)
{
    Suite *suite = suite_create("host/listener");
    TCase *tcase = tcase_create("listener");
    tcase_add_test(tcase, tcp);
    tcase_add_test(tcase, udp);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
