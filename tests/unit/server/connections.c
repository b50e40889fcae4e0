/* How many connections there may be, of whom, and how long they may take: see server/connections.h. */
#include "tests/unit/server/http_box.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { SHARE = 32, OF_PEER = 12, TIMEOUT_MS = 1000, SLACK_MS = 700 };

static void start(void)
{
    box.limits = (struct server_limits){.max_connections = 2 * SHARE, .max_connections_per_peer = OF_PEER, .head_timeout_s = 1, .body_timeout_s = 1};
    box_start();
}

/* From an address of its own, 127.0.0.<number>. */
static int tcp_client(unsigned number)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000 + number)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(box.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 8};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static bool is_closed(int fd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&poll_fd, 1, timeout_ms) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

/* A byte now and then: libmicrohttpd's own timeout would never be reached. Returns after how long it was closed. */
static int64_t trickle(int fd)
{
    const int64_t begin = clock_monotonic_ms();
    while (clock_monotonic_ms() < begin + 5000 && !is_closed(fd, 50)) {
        (void)send(fd, "x", 1, MSG_NOSIGNAL);
    }
    return clock_monotonic_ms() - begin;
}

static void closed_in_time(int64_t after_ms)
{
    ck_assert_msg(after_ms >= TIMEOUT_MS - 100 && after_ms <= TIMEOUT_MS + SLACK_MS, "closed after %lld ms", (long long)after_ms);
}

static const char *const heads[] = {"", "G", "GET /hello HTTP/1.1\r\n", "GET /hello HTTP/1.1\r\nHost: localhost\r\nX-A: b"};

START_TEST(slow_head)
{
    int fds[] = {client(), tcp_client(1)};
    for (size_t i = 0; i < 2; i++) {
        say(fds[i], heads[_i]);
    }
    closed_in_time(trickle(fds[0]));
    ck_assert(is_closed(fds[1], SLACK_MS));
    (void)close(fds[0]);
    (void)close(fds[1]);
}
END_TEST

static const char *const bodies[] = {
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
};

START_TEST(slow_body)
{
    int fd = client();
    char text[64];
    say(fd, bodies[_i]);
    if (_i == 2) {
        (void)hear_until(fd, text, sizeof text, "\r\n\r\n");
    }
    closed_in_time(trickle(fd));
    ck_assert_int_eq(box.shared->handled, 0);
    (void)close(fd);
}
END_TEST

/* Each head has its time, and each body. */
START_TEST(the_time_begins_anew)
{
    int fd = client();
    for (int i = 0; i < 4; i++) {
        (void)usleep(600 * 1000);
        say(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab");
        (void)usleep(600 * 1000);
        say(fd, "cde");
        expect(fd, 200, "abcde");
    }
    closed_in_time(trickle(fd));
    (void)close(fd);
}
END_TEST

/* They wait for us, and we don't wait for them. */
START_TEST(waits_and_streams_may_take_long)
{
    int waiting = client();
    int stream = client();
    char text[4096];
    get(waiting, "/wait?3000");
    get(stream, "/stream");
    (void)hear_until(stream, text, sizeof text, "\r\n\r\n");
    expect(waiting, 200, "expired");
    box.shared->published = 1;
    tell(IPC_CHANGED, 0, "events", -1);
    (void)hear_until(stream, text, sizeof text, "line 1");
    (void)close(waiting);
    (void)close(stream);
}
END_TEST

START_TEST(who_comes_beyond_takes_the_place_of_the_slowest)
{
    int fds[OF_PEER + 3];
    for (int i = 0; i < OF_PEER; i++) {
        fds[i] = client();
        say(fds[i], i % 2 == 0 ? "GET" : bodies[0]);
        (void)usleep(2000);
    }
    for (int i = OF_PEER; i < OF_PEER + 3; i++) {
        fds[i] = client();
        get(fds[i], "/hello");
        expect(fds[i], 200, "hello");
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_msg(is_closed(fds[i], 200), "%d is still open", i);
    }
    for (int i = 3; i < OF_PEER + 3; i++) {
        ck_assert_msg(!is_closed(fds[i], 0), "%d is closed", i);
    }
    for (int i = 0; i < OF_PEER + 3; i++) {
        (void)close(fds[i]);
    }
}
END_TEST

START_TEST(where_all_are_busy_it_is_refused)
{
    int fds[OF_PEER];
    for (int i = 0; i < OF_PEER; i++) {
        fds[i] = client();
        get(fds[i], "/wait?60000");
    }
    expect_counter(&box.shared->handled, OF_PEER);
    int more = client();
    get(more, "/hello");
    expect_code(more, 503, "UNAVAILABLE");
    int other = tcp_client(1); /* of another peer */
    get(other, "/hello");
    expect(other, 200, "hello");
    (void)close(more);
    (void)close(fds[0]);
    (void)usleep(100000);
    more = client(); /* a place is free now */
    get(more, "/hello");
    expect(more, 200, "hello");
    for (int i = 1; i < OF_PEER; i++) {
        ck_assert(!is_closed(fds[i], 0));
        (void)close(fds[i]);
    }
    (void)close(more);
    (void)close(other);
}
END_TEST

/* TCP has its share, whatever the number of addresses; the unix socket has its own. */
START_TEST(each_listener_has_its_share)
{
    int fds[SHARE + 5];
    for (unsigned i = 0; i < SHARE + 5; i++) {
        fds[i] = tcp_client(i + 1);
        say(fds[i], "GET");
    }
    int own = client();
    get(own, "/hello");
    expect(own, 200, "hello");
    for (unsigned i = 0; i < SHARE + 5; i++) {
        ck_assert_msg(is_closed(fds[i], i < 5 ? 300 : 0) == (i < 5), "%u", i);
        (void)close(fds[i]);
    }
    (void)close(own);
}
END_TEST

START_TEST(many_come_and_go)
{
    for (int round = 0; round < 50; round++) {
        int fds[2 * OF_PEER];
        for (int i = 0; i < 2 * OF_PEER; i++) {
            fds[i] = i % 2 == 0 ? client() : tcp_client((unsigned)(1 + (round * 7 + i) % 200));
            say(fds[i], i % 3 == 0 ? bodies[0] : "GET /h");
        }
        int fd = client();
        get(fd, "/hello");
        expect(fd, 200, "hello");
        (void)close(fd);
        for (int i = 0; i < 2 * OF_PEER; i++) {
            (void)close(fds[i]);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connections");
    TCase *tc = tcase_create("connections");
    tcase_add_checked_fixture(tc, start, box_stop);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, slow_head, 0, (int)(sizeof heads / sizeof *heads));
    tcase_add_loop_test(tc, slow_body, 0, (int)(sizeof bodies / sizeof *bodies));
    tcase_add_test(tc, the_time_begins_anew);
    tcase_add_test(tc, waits_and_streams_may_take_long);
    tcase_add_test(tc, who_comes_beyond_takes_the_place_of_the_slowest);
    tcase_add_test(tc, where_all_are_busy_it_is_refused);
    tcase_add_test(tc, each_listener_has_its_share);
    tcase_add_test(tc, many_come_and_go);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
