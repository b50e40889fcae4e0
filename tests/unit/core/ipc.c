/* Messages between the two processes, and what a hostile or dead peer can and cannot do. */
#include "core/ipc.h"

#include "core/cleanup.h"
#include "core/limits.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int pair[2];

static void setup(void)
{
    ck_assert_int_eq(ipc_pair(pair, NULL), 0);
}

static void teardown(void)
{
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static struct ipc_message receive(void)
{
    struct ipc_message message;
    struct error err = {0};
    bool closed = true;
    ck_assert_msg(ipc_receive(pair[1], &message, &closed, &err) == 0, "%s", err.message);
    ck_assert(!closed);
    return message;
}

static void expect_refused(enum error_code code, int errnum, bool is_closed)
{
    struct ipc_message message = {.number = 4711};
    struct error err = {0};
    bool closed = !is_closed;
    ck_assert_int_eq(ipc_receive(pair[1], &message, &closed, &err), -1);
    ck_assert_msg(err.code == code && err.sys_errno == errnum, "%s (%d)", err.message, err.sys_errno);
    ck_assert(closed == is_closed);
    ck_assert_uint_eq(message.number, 4711);
}

static unsigned open_descriptors(void)
{
    AUTO_CLOSEDIR DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    while (readdir(dir) != NULL) {
        count++;
    }
    return count;
}

START_TEST(both_ends_are_safe_to_poll_and_to_exec)
{
    for (int i = 0; i < 2; i++) {
        ck_assert((fcntl(pair[i], F_GETFD) & FD_CLOEXEC) != 0);
        ck_assert((fcntl(pair[i], F_GETFL) & O_NONBLOCK) != 0);
    }
}
END_TEST

START_TEST(messages_arrive_in_order_and_apart)
{
    ck_assert_int_eq(ipc_send(pair[0], IPC_WAKE, 0, "vm/a", -1, NULL), 0);
    ck_assert_int_eq(ipc_send(pair[0], IPC_QUESTION, UINT64_MAX, "{\"question\":\"x\"}", -1, NULL), 0);
    ck_assert_int_eq(ipc_send(pair[0], IPC_CHANGED, 0, "", -1, NULL), 0);
    struct ipc_message message = receive();
    ck_assert_int_eq(message.type, IPC_WAKE);
    ck_assert_str_eq(message.text, "vm/a");
    ck_assert_int_eq(message.fd, -1);
    ipc_message_free(&message);
    message = receive();
    ck_assert_int_eq(message.type, IPC_QUESTION);
    ck_assert_uint_eq(message.number, UINT64_MAX);
    ck_assert_str_eq(message.text, "{\"question\":\"x\"}");
    ipc_message_free(&message);
    message = receive();
    ck_assert_int_eq(message.type, IPC_CHANGED);
    ck_assert_str_eq(message.text, "");
    ipc_message_free(&message);
    ipc_message_free(&message); /* and once more does no harm */
    ipc_message_free(NULL);
    expect_refused(ERR_UNAVAILABLE, EAGAIN, false);
    ck_assert_int_eq(ipc_send(pair[1], IPC_ANSWER, 1, "{}", -1, NULL), 0); /* the other way */
    bool closed;
    ck_assert_int_eq(ipc_receive(pair[0], &message, &closed, NULL), 0);
    ck_assert_int_eq(message.type, IPC_ANSWER);
    ipc_message_free(&message);
}
END_TEST

START_TEST(a_descriptor_comes_along)
{
    AUTO_CLOSE int file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    unsigned before = open_descriptors();
    ck_assert_int_eq(ipc_send(pair[0], IPC_ANSWER, 7, "{}", file, NULL), 0);
    ck_assert_int_ge(fcntl(file, F_GETFD), 0); /* still ours */
    struct ipc_message message = receive();
    ck_assert_int_ge(message.fd, 0);
    ck_assert_int_ne(message.fd, file);
    ck_assert((fcntl(message.fd, F_GETFD) & FD_CLOEXEC) != 0);
    struct stat here;
    struct stat there;
    ck_assert(fstat(file, &here) == 0 && fstat(message.fd, &there) == 0);
    ck_assert(here.st_rdev == there.st_rdev && here.st_ino == there.st_ino);
    ipc_message_free(&message);
    ck_assert_uint_eq(open_descriptors(), before);
    struct error err = {0};
    ck_assert_int_eq(ipc_send(pair[0], IPC_ANSWER, 7, "{}", 900, &err), -1);
    ck_assert_int_eq(err.sys_errno, EBADF);
}
END_TEST

START_TEST(the_longest_text_passes_and_one_byte_more_is_refused)
{
    static char text[LIMIT_QUESTION_BYTES + 2];
    memset(text, 't', LIMIT_QUESTION_BYTES + 1);
    text[LIMIT_QUESTION_BYTES + 1] = '\0';
    struct error err = {0};
    ck_assert_int_eq(ipc_send(pair[0], IPC_ANSWER, 1, text, -1, &err), -1);
    ck_assert_int_eq(err.code, ERR_PAYLOAD_TOO_LARGE);
    expect_refused(ERR_UNAVAILABLE, EAGAIN, false);
    text[LIMIT_QUESTION_BYTES] = '\0';
    ck_assert_int_eq(ipc_send(pair[0], IPC_ANSWER, 1, text, -1, NULL), 0);
    struct ipc_message message = receive();
    ck_assert_str_eq(message.text, text);
    ipc_message_free(&message);
}
END_TEST

struct raw {
    uint32_t type;
    uint32_t reserved;
    uint64_t number;
    char text[LIMIT_QUESTION_BYTES + 8];
};

/* Sends any bytes with any number of descriptors, as a peer that was taken over might. */
static void send_raw(const struct raw *raw, size_t len, int fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 8)];
    } control = {0};
    struct raw copy = *raw;
    struct iovec part = {&copy, len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        size_t size = sizeof(int) * (size_t)fd_count;
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memset(CMSG_DATA(header), 0, size); /* descriptor 0, several times */
    }
    ck_assert_int_eq(sendmsg(pair[0], &message, 0), (ssize_t)len);
}

START_TEST(malformed_messages_are_refused_and_leave_nothing_behind)
{
    static const struct raw good = {.type = IPC_WAKE, .text = "vm/a"};
    static const struct raw unknown_type = {.type = IPC_ANSWER + 1, .text = "vm/a"};
    static const struct raw negative_type = {.type = UINT32_MAX, .text = "vm/a"};
    static const struct raw from_the_future = {.type = IPC_WAKE, .reserved = 1, .text = "vm/a"};
    static const struct raw nul = {.type = IPC_WAKE, .text = "vm\0a"};
    unsigned before = open_descriptors();
    send_raw(&good, 1, 0); /* no whole header */
    send_raw(&good, 15, 1);
    send_raw(&unknown_type, 20, 1);
    send_raw(&negative_type, 20, 0);
    send_raw(&from_the_future, 20, 0);
    send_raw(&nul, 20, 0);
    send_raw(&good, 20, 2);
    send_raw(&good, 20, 8);
    for (int i = 0; i < 8; i++) {
        expect_refused(ERR_BAD_REQUEST, 0, false);
    }
    static struct raw large = {.type = IPC_WAKE};
    memset(large.text, 'x', sizeof large.text);
    send_raw(&large, 16 + LIMIT_QUESTION_BYTES + 1, 0);
    expect_refused(ERR_BAD_REQUEST, 0, false);
    send_raw(&large, sizeof large, 1);
    expect_refused(ERR_BAD_REQUEST, 0, false);
    ck_assert_uint_eq(open_descriptors(), before);
    send_raw(&good, 20, 0); /* and the next good one is read as ever */
    struct ipc_message message = receive();
    ck_assert_str_eq(message.text, "vm/a");
    ipc_message_free(&message);
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_not_waited_for)
{
    struct error err = {0};
    int sent = 0;
    while (ipc_send(pair[0], IPC_WAKE, 0, "vm/some-machine", -1, &err) == 0) {
        sent++;
        ck_assert_int_lt(sent, 10000000);
    }
    ck_assert_int_eq(err.sys_errno, EAGAIN);
    ck_assert_int_ge(sent, 50);
    struct ipc_message message = receive();
    ipc_message_free(&message);
}
END_TEST

START_TEST(a_peer_that_is_gone_is_noticed)
{
    ck_assert_int_eq(ipc_send(pair[0], IPC_WAKE, 0, "vm/last", -1, NULL), 0);
    (void)close(pair[0]);
    struct ipc_message message = receive(); /* what it said before still counts */
    ck_assert_str_eq(message.text, "vm/last");
    ipc_message_free(&message);
    expect_refused(ERR_UNAVAILABLE, EPIPE, true);
    struct error err = {0};
    ck_assert_int_eq(ipc_send(pair[1], IPC_ANSWER, 0, "{}", -1, &err), -1); /* and no SIGPIPE */
    ck_assert_int_eq(err.sys_errno, EPIPE);
}
END_TEST

START_TEST(a_peer_that_left_without_reading_is_noticed)
{
    ck_assert_int_eq(ipc_send(pair[1], IPC_ANSWER, 0, "{}", -1, NULL), 0);
    (void)close(pair[0]);
    expect_refused(ERR_UNAVAILABLE, EPIPE, true);
    expect_refused(ERR_UNAVAILABLE, EPIPE, true);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ipc");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, both_ends_are_safe_to_poll_and_to_exec);
    tcase_add_test(tc, messages_arrive_in_order_and_apart);
    tcase_add_test(tc, a_descriptor_comes_along);
    tcase_add_test(tc, the_longest_text_passes_and_one_byte_more_is_refused);
    tcase_add_test(tc, malformed_messages_are_refused_and_leave_nothing_behind);
    tcase_add_test(tc, a_peer_that_does_not_read_is_not_waited_for);
    tcase_add_test(tc, a_peer_that_is_gone_is_noticed);
    tcase_add_test(tc, a_peer_that_left_without_reading_is_noticed);
    Suite *suite = suite_create("ipc");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
