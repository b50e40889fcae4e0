/* The listener: replies that wait, ask the worker, or stream; and the end of the process. */
#include "http_box.h"

#include <fcntl.h>

START_TEST(test_wait_is_answered_by_a_change)
{
    int fd = client();
    get(fd, "/wait?20000");
    expect_counter(&box.shared->states, 1);
    tell(IPC_CHANGED, 0, "vm/other", -1);
    tell(IPC_CHANGED, 0, "vm/a", -1);
    expect_counter(&box.shared->polls, 1); /* looked at, but not ready */
    box.shared->ready = 1;
    tell(IPC_CHANGED, 0, "vm/a", -1);
    expect(fd, 200, "changed");
    ck_assert_int_eq(box.shared->polls, 2);
    get(fd, "/hello");
    expect(fd, 200, "hello");
    (void)close(fd);
}
END_TEST

START_TEST(test_wait_is_answered_by_any_change)
{
    int fd = client();
    get(fd, "/wait?20000");
    expect_counter(&box.shared->states, 1);
    box.shared->ready = 1;
    tell(IPC_CHANGED, 0, "", -1);
    expect(fd, 200, "changed");
    (void)close(fd);
}
END_TEST

/* Many messages about one key that arrive together are one look. */
START_TEST(test_changes_fold)
{
    int fd = client();
    get(fd, "/wait?20000");
    expect_counter(&box.shared->states, 1);
    ck_assert_int_eq(kill(box.pid, SIGSTOP), 0);
    for (int i = 0; i < 50; i++) {
        tell(IPC_CHANGED, 0, "vm/a", -1);
    }
    ck_assert_int_eq(kill(box.pid, SIGCONT), 0);
    expect_counter(&box.shared->polls, 1);
    (void)usleep(50000);
    ck_assert_int_eq(box.shared->polls, 1);
    (void)close(fd);
}
END_TEST

START_TEST(test_wait_deadline)
{
    int fd[3];
    static const char *const targets[] = {"/wait?600", "/wait?200", "/wait?400"};
    int64_t start = clock_monotonic_ms();
    for (int i = 0; i < 3; i++) {
        fd[i] = client();
        get(fd[i], targets[i]);
    }
    static const int order[] = {1, 2, 0};
    for (int i = 0; i < 3; i++) {
        expect(fd[order[i]], 200, "expired");
        int64_t took = clock_monotonic_ms() - start;
        int64_t due = (int64_t)200 * (i + 1);
        ck_assert_int_ge(took, due);
        ck_assert_int_lt(took, due + 190);
    }
    for (int i = 0; i < 3; i++) {
        (void)close(fd[i]);
    }
}
END_TEST

START_TEST(test_client_leaves_while_waiting)
{
    int fd = client();
    get(fd, "/wait?20000");
    expect_counter(&box.shared->states, 1);
    (void)close(fd);
    expect_counter(&box.shared->states, 0);
    ck_assert_int_eq(box.shared->polls, 0);
}
END_TEST

START_TEST(test_half_closed_client_still_waits)
{
    int fd = client();
    get(fd, "/wait?300");
    (void)shutdown(fd, SHUT_WR);
    expect(fd, 200, "expired");
    (void)close(fd);
}
END_TEST

START_TEST(test_pipelined_behind_a_wait)
{
    int fd = client();
    get(fd, "/wait?200");
    get(fd, "/hello");
    expect(fd, 200, "expired");
    expect(fd, 200, "hello");
    (void)close(fd);
}
END_TEST

START_TEST(test_many_wait)
{
    enum { COUNT = 300 };
    static int fd[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fd[i] = client();
        get(fd[i], "/wait?20000");
    }
    expect_counter(&box.shared->states, COUNT);
    for (int i = 0; i < COUNT; i += 2) {
        (void)close(fd[i]);
    }
    expect_counter(&box.shared->states, COUNT / 2);
    box.shared->ready = 1;
    tell(IPC_CHANGED, 0, "vm/a", -1);
    for (int i = 1; i < COUNT; i += 2) {
        expect(fd[i], 200, "changed");
        (void)close(fd[i]);
    }
}
END_TEST

START_TEST(test_ask)
{
    int fd = client();
    get(fd, "/ask");
    struct ipc_message question = listen_to_api();
    ck_assert_int_eq(question.type, IPC_QUESTION);
    ck_assert_str_eq(question.text, "{\"question\":\"time\"}");
    tell(IPC_ANSWER, question.number + 1, "{\"answer\": \"to another question\"}", -1);
    tell(IPC_ANSWER, question.number, "{\"answer\": \"noon\"}", -1);
    expect(fd, 200, "noon");
    /* The same answer again finds nobody. */
    tell(IPC_ANSWER, question.number, "{\"answer\": \"noon\"}", -1);
    ipc_message_free(&question);
    get(fd, "/ask");
    question = listen_to_api();
    tell(IPC_ANSWER, question.number, "{\"error\": {\"code\": \"NOT_FOUND\", \"message\": \"x\"}}", -1);
    expect(fd, 200, "error");
    ipc_message_free(&question);
    get(fd, "/ask");
    question = listen_to_api();
    tell(IPC_ANSWER, question.number, "not JSON", -1);
    expect(fd, 504, "none");
    ipc_message_free(&question);
    (void)close(fd);
}
END_TEST

START_TEST(test_answer_with_a_descriptor)
{
    int fd = client();
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(write(ends[1], "through a pipe", 14), 14);
    get(fd, "/ask");
    struct ipc_message question = listen_to_api();
    tell(IPC_ANSWER, question.number, "{\"answer\": \"see the descriptor\"}", ends[0]);
    expect(fd, 200, "through a pipe");
    ipc_message_free(&question);
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(fd);
}
END_TEST

START_TEST(test_no_answer)
{
    int fd = client();
    int64_t start = clock_monotonic_ms();
    get(fd, "/ask");
    expect(fd, 504, "none");
    ck_assert_int_ge(clock_monotonic_ms() - start, (int64_t)LIMIT_QUESTION_S * 1000);
    struct ipc_message question = listen_to_api();
    tell(IPC_ANSWER, question.number, "{\"answer\": \"too late\"}", -1);
    ipc_message_free(&question);
    get(fd, "/hello");
    expect(fd, 200, "hello");
    (void)close(fd);
}
END_TEST

START_TEST(test_client_leaves_while_asking)
{
    int fd = client();
    get(fd, "/ask");
    struct ipc_message question = listen_to_api();
    (void)close(fd);
    expect_counter(&box.shared->states, 0);
    tell(IPC_ANSWER, question.number, "{\"answer\": \"nobody is there\"}", -1);
    ipc_message_free(&question);
    fd = client();
    get(fd, "/hello");
    expect(fd, 200, "hello");
    (void)close(fd);
}
END_TEST

/* Questions are answered at once with nothing when the worker does not read; wake-ups become one for
 * everything. */
START_TEST(test_worker_that_does_not_read)
{
    enum { WAKES = 100000 };
    int fd = client();
    get(fd, "/wake?100000");
    ck_assert_int_eq(hear(fd)->status, 204);
    get(fd, "/ask");
    expect(fd, 504, "none");
    int heard = 0;
    for (;;) {
        struct ipc_message message = listen_to_api();
        ck_assert_int_eq(message.type, IPC_WAKE);
        bool all = message.text[0] == '\0';
        ck_assert(all || strcmp(message.text, "vm/x") == 0);
        ipc_message_free(&message);
        heard++;
        if (all) {
            break;
        }
    }
    ck_assert_int_lt(heard, WAKES);
    get(fd, "/wake?1");
    ck_assert_int_eq(hear(fd)->status, 204);
    struct ipc_message message = listen_to_api();
    ck_assert_str_eq(message.text, "vm/x");
    ipc_message_free(&message);
    (void)close(fd);
}
END_TEST

/* What the last line is followed by is a look that finds nothing; the client does not see when that was. */
static int reads_at_rest(void)
{
    int reads;
    do {
        reads = box.shared->reads;
        (void)usleep(50000);
    } while (box.shared->reads != reads);
    return reads;
}

START_TEST(test_stream)
{
    int fd = client();
    char text[4096];
    box.shared->published = 2;
    get(fd, "/stream");
    (void)hear_until(fd, text, sizeof text, "line 2\n\r\n");
    ck_assert_ptr_nonnull(strstr(text, "\r\nTransfer-Encoding: chunked\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "line 1\n"));
    for (int i = 3; i < 20; i++) {
        char line[32];
        (void)snprintf(line, sizeof line, "line %d\n\r\n", i);
        box.shared->published = i;
        tell(IPC_CHANGED, 0, "events", -1);
        (void)hear_until(fd, text, sizeof text, line);
    }
    int reads = reads_at_rest();
    tell(IPC_CHANGED, 0, "vm/a", -1);
    (void)usleep(100000);
    ck_assert_int_eq(box.shared->reads, reads); /* no look without a reason */
    box.shared->end = 1;
    tell(IPC_CHANGED, 0, "", -1);
    (void)hear_until(fd, text, sizeof text, "0\r\n\r\n");
    get(fd, "/hello");
    expect(fd, 200, "hello");
    (void)close(fd);
}
END_TEST

START_TEST(test_client_leaves_a_stream)
{
    int fd = client();
    char text[4096];
    box.shared->published = 1;
    get(fd, "/stream");
    (void)hear_until(fd, text, sizeof text, "line 1\n");
    (void)close(fd);
    expect_counter(&box.shared->states, 0);
}
END_TEST

/* The change and the end arrive in one turn: the stream is resumed, finds nothing to send, and must still
 * end. */
START_TEST(test_client_leaves_as_its_stream_wakes)
{
    int fd = client();
    char text[4096];
    box.shared->published = 1;
    get(fd, "/stream");
    (void)hear_until(fd, text, sizeof text, "line 1\n");
    expect_counter(&box.shared->reads, 2);
    ck_assert_int_eq(kill(box.pid, SIGSTOP), 0);
    (void)usleep(20000);
    tell(IPC_CHANGED, 0, "events", -1);
    (void)close(fd);
    ck_assert_int_eq(kill(box.pid, SIGCONT), 0);
    expect_counter(&box.shared->states, 0);
}
END_TEST

START_TEST(test_stream_limit)
{
    static int fd[LIMIT_STREAMS];
    char text[4096];
    box.shared->published = 1;
    for (int i = 0; i < LIMIT_STREAMS; i++) {
        fd[i] = client();
        get(fd[i], "/stream");
        (void)hear_until(fd[i], text, sizeof text, "line 1\n");
    }
    int more = client();
    get(more, "/stream");
    expect_code(more, 503, "UNAVAILABLE");
    (void)close(fd[0]);
    expect_counter(&box.shared->states, LIMIT_STREAMS - 1);
    get(more, "/stream");
    (void)hear_until(more, text, sizeof text, "line 1\n");
    for (int i = 1; i < LIMIT_STREAMS; i++) {
        (void)close(fd[i]);
    }
    (void)close(more);
}
END_TEST

/* A client that never reads its stream costs its own buffers and holds up nobody. */
START_TEST(test_stream_without_a_reader)
{
    int deaf = client();
    box.shared->published = 1 << 30;
    get(deaf, "/stream");
    int fd = client();
    for (int i = 0; i < 50; i++) {
        get(fd, "/hello");
        expect(fd, 200, "hello");
    }
    (void)close(fd);
    (void)close(deaf);
    expect_counter(&box.shared->states, 0);
}
END_TEST

/* SIGTERM with one of each held: those who wait get their answer, streams end, and box_stop() sees a clean
 * exit. */
START_TEST(test_stop_with_all_kinds_held)
{
    char text[4096];
    int wait = client();
    int stream = client();
    int ask = client();
    int idle = client();
    box.shared->published = 1;
    get(wait, "/wait?20000");
    get(stream, "/stream");
    (void)hear_until(stream, text, sizeof text, "line 1\n");
    get(ask, "/ask");
    expect_counter(&box.shared->states, 3);
    ck_assert_int_eq(kill(box.pid, SIGTERM), 0);
    expect(wait, 200, "expired");
    expect(ask, 504, "none");
    (void)hear_until(stream, text, sizeof text, "0\r\n\r\n");
    expect_closed(wait);
    expect_closed(stream);
    expect_closed(idle);
}
END_TEST

START_TEST(test_stop_does_not_wait_for_slow_clients)
{
    int fd = client();
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    (void)usleep(50000);
    int64_t start = clock_monotonic_ms();
    ck_assert_int_eq(kill(box.pid, SIGTERM), 0);
    expect_closed(fd);
    ck_assert_int_lt(clock_monotonic_ms() - start, 3000);
}
END_TEST

START_TEST(test_ends_with_the_worker)
{
    int fd = client();
    get(fd, "/wait?20000");
    expect_counter(&box.shared->states, 1);
    (void)shutdown(box.worker, SHUT_RDWR);
    expect(fd, 200, "expired");
    int status = box_wait_end();
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "status %x", (unsigned)status);
    ck_assert_int_eq(box.shared->states, 0);
}
END_TEST

static const char *const seeds[] = {
    "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET /wait?5 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /stream HTTP/1.0\r\n\r\n",
    "HEAD /stream HTTP/1.0\r\n\r\n",
    "GET /ask HTTP/1.1\r\nHost: a\r\n\r\n",
};

/* One to four requests in a row, with up to three bytes gone wrong. */
static size_t make_noise(char *buf)
{
    size_t len = 0;
    for (int i = rand() % 4; i >= 0; i--) {
        const char *seed = seeds[(size_t)rand() % (sizeof seeds / sizeof seeds[0])];
        memcpy(buf + len, seed, strlen(seed) + 1);
        len += strlen(seed);
    }
    for (int i = rand() % 4; i > 0; i--) {
        buf[(size_t)rand() % (len + 1)] = rand() % 2 == 0 ? (char)rand() : "\r\n :/?0"[rand() % 7];
    }
    return len;
}

static void answer_some(void)
{
    struct ipc_message message = {.fd = -1};
    bool closed = false;
    while (ipc_receive(box.worker, &message, &closed, NULL) == 0 && !closed) {
        if (message.type == IPC_QUESTION && rand() % 2 == 0) {
            tell(IPC_ANSWER, message.number, "{\"answer\": \"noon\"}", -1);
        }
        ipc_message_free(&message);
    }
    if (rand() % 4 == 0) {
        tell(IPC_CHANGED, 0, rand() % 2 == 0 ? "" : "events", -1);
    }
}

/* Clients that send anything and leave at any moment: nothing breaks, and nothing of them stays. */
START_TEST(test_disorder)
{
    char buf[1024];
    srand(7);
    box.shared->published = 3;
    for (int i = 0; i < 5000; i++) {
        int fd = client();
        size_t len = make_noise(buf);
        for (size_t sent = 0; sent < len;) {
            ssize_t r = send(fd, buf + sent, 1 + (size_t)rand() % (len - sent), MSG_NOSIGNAL);
            sent = r < 0 ? len : sent + (size_t)r;
        }
        (void)recv(fd, buf, (size_t)rand() % sizeof buf, MSG_DONTWAIT);
        answer_some();
        if (rand() % 8 == 0) {
            (void)shutdown(fd, SHUT_WR);
        }
        (void)close(fd);
    }
    expect_counter(&box.shared->states, 0);
    int fd = client();
    get(fd, "/hello");
    expect(fd, 200, "hello");
    (void)close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_hold");
    TCase *tc = tcase_create("held");
    tcase_add_checked_fixture(tc, box_start, box_stop);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, test_wait_is_answered_by_a_change);
    tcase_add_test(tc, test_wait_is_answered_by_any_change);
    tcase_add_test(tc, test_changes_fold);
    tcase_add_test(tc, test_wait_deadline);
    tcase_add_test(tc, test_client_leaves_while_waiting);
    tcase_add_test(tc, test_half_closed_client_still_waits);
    tcase_add_test(tc, test_pipelined_behind_a_wait);
    tcase_add_test(tc, test_many_wait);
    tcase_add_test(tc, test_ask);
    tcase_add_test(tc, test_answer_with_a_descriptor);
    tcase_add_test(tc, test_no_answer);
    tcase_add_test(tc, test_client_leaves_while_asking);
    tcase_add_test(tc, test_worker_that_does_not_read);
    tcase_add_test(tc, test_stream);
    tcase_add_test(tc, test_client_leaves_a_stream);
    tcase_add_test(tc, test_client_leaves_as_its_stream_wakes);
    tcase_add_test(tc, test_stream_limit);
    tcase_add_test(tc, test_stream_without_a_reader);
    tcase_add_test(tc, test_disorder);
    tcase_add_test(tc, test_stop_with_all_kinds_held);
    tcase_add_test(tc, test_stop_does_not_wait_for_slow_clients);
    suite_add_tcase(suite, tc);
    tc = tcase_create("worker gone");
    tcase_add_checked_fixture(tc, box_start, NULL);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, test_ends_with_the_worker);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
