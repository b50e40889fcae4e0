/* What happens before the first request: the lock, the listening sockets, the word to the service manager. */
#include "server/listen.h"
#include "server/lock.h"
#include "server/notify.h"

#include "core/config.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static char path[96];
static struct error err;

static void set_up(void)
{
    (void)strcpy(dir, "/tmp/start-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/api.sock", dir);
}

static void tear_down(void)
{
    char lock[96];
    (void)snprintf(lock, sizeof lock, "%s/lock", dir);
    (void)unlink(lock);
    (void)unlink(path);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left there */
}

static int try_lock(int *fd)
{
    return lock_acquire(LOCK_STATE_DIR, dir, fd, &err);
}

START_TEST(test_second_lock_is_refused)
{
    char expected[128];
    int fd = -1;
    int second = -1;
    ck_assert_int_eq(try_lock(&fd), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) {
        (void)close(fd); /* the description, and with it the lock, stays the parent's */
        _exit(try_lock(&second) < 0 && err.code == ERR_CONFLICT ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(try_lock(&second), -1);
    (void)snprintf(expected, sizeof expected, "state_dir: %s is that of the smartvmd with pid %d", dir, (int)getpid());
    ck_assert_str_eq(err.message, expected);
    // cppcheck-suppress doubleFree
    (void)close(fd);
    ck_assert_int_eq(try_lock(&second), 0);
    (void)close(second);
}
END_TEST

START_TEST(test_lock_of_a_dead_holder)
{
    pid_t child = fork();
    if (child == 0) {
        int held = -1;
        _exit(try_lock(&held) == 0 ? 0 : 1);
    }
    int status = -1;
    int fd = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(try_lock(&fd), 0);
    (void)close(fd);
}
END_TEST

START_TEST(test_lock_needs_the_directory)
{
    int fd = -1;
    ck_assert_int_eq(lock_acquire(LOCK_RUN_DIR, "/nonexistent/smartvm", &fd, &err), -1);
    ck_assert_int_eq(err.code, ERR_SYSTEM);
    ck_assert_int_eq(fd, -1);
}
END_TEST

static int open_path(struct listen_socket **ret)
{
    struct config_listen where = {.path = path};
    struct config config = {.user = getpwuid(getuid())->pw_name, .listen = &where, .listen_count = 1};
    return listen_open(&config, ret, &err);
}

static int connect_path(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, (struct sockaddr *)&address, sizeof address);
    (void)close(fd);
    return r;
}

START_TEST(test_unix_socket)
{
    struct listen_socket *sockets = NULL;
    struct stat st;
    mode_t before = umask(0);
    ck_assert_msg(open_path(&sockets) == 0, "%s", err.message);
    ck_assert_uint_eq(umask(before), 0); /* put back */
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_uint_eq(st.st_mode & 07777, 0660);
    ck_assert_uint_eq(st.st_gid, getpwuid(getuid())->pw_gid);
    ck_assert(!sockets[0].is_tcp);
    ck_assert_int_ne(fcntl(sockets[0].fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(sockets[0].fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(connect_path(), 0);
    listen_close(sockets, 1);
}
END_TEST

START_TEST(test_living_socket_is_refused)
{
    struct listen_socket *first = NULL;
    struct listen_socket *second = NULL;
    ck_assert_int_eq(open_path(&first), 0);
    ck_assert_int_eq(open_path(&second), -1);
    ck_assert_int_eq(err.code, ERR_CONFLICT);
    ck_assert_ptr_null(second);
    ck_assert_int_eq(connect_path(), 0); /* the first is unharmed */
    listen_close(first, 1);
}
END_TEST

START_TEST(test_stale_socket_is_replaced)
{
    struct listen_socket *sockets = NULL;
    ck_assert_int_eq(open_path(&sockets), 0);
    listen_close(sockets, 1);
    ck_assert_int_eq(connect_path(), -1);
    ck_assert_msg(open_path(&sockets) == 0, "%s", err.message);
    ck_assert_int_eq(connect_path(), 0);
    listen_close(sockets, 1);
}
END_TEST

START_TEST(test_foreign_file_is_left_alone)
{
    struct listen_socket *sockets = NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "data", 4), 4);
    (void)close(fd);
    ck_assert_int_eq(open_path(&sockets), -1);
    struct stat st;
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 4);
}
END_TEST

START_TEST(test_unknown_user)
{
    struct listen_socket *sockets = NULL;
    char user[] = "no-such-user-here";
    struct config_listen where = {.path = path};
    struct config config = {.user = user, .listen = &where, .listen_count = 1};
    ck_assert_int_eq(listen_open(&config, &sockets, &err), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, user));
}
END_TEST

START_TEST(test_tcp_socket)
{
    struct listen_socket *sockets = NULL;
    struct listen_socket *again = NULL;
    struct config_listen where = {.is_tcp = true, .address = 0x7f000105, .port = (uint16_t)(20000 + getpid() % 30000)};
    struct config config = {.user = getpwuid(getuid())->pw_name, .listen = &where, .listen_count = 1};
    ck_assert_msg(listen_open(&config, &sockets, &err) == 0, "%s", err.message);
    struct sockaddr_in address = {0};
    socklen_t len = sizeof address;
    ck_assert_int_eq(getsockname(sockets[0].fd, (struct sockaddr *)&address, &len), 0);
    ck_assert_uint_eq(ntohl(address.sin_addr.s_addr), 0x7f000105);
    ck_assert_uint_eq(ntohs(address.sin_port), where.port);
    ck_assert(sockets[0].is_tcp);
    ck_assert_int_eq(listen_open(&config, &again, &err), -1);
    ck_assert_int_eq(err.code, ERR_CONFLICT);
    listen_close(sockets, 1);
}
END_TEST

static int bind_notify(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, strlen(name));
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

START_TEST(test_notify)
{
    char abstract[64];
    (void)snprintf(abstract, sizeof abstract, "@smartvm-test-%d", (int)getpid());
    const char *const names[] = {path, abstract};
    for (int i = 0; i < 2; i++) {
        char text[64] = "";
        int fd = bind_notify(names[i]);
        ck_assert_msg(notify_send("READY=1\nSTATUS=well", &err) == 0, "%s", err.message);
        ck_assert_int_eq(recv(fd, text, sizeof text - 1, 0), 19);
        ck_assert_str_eq(text, "READY=1\nSTATUS=well");
        (void)close(fd);
    }
}
END_TEST

START_TEST(test_notify_without_a_manager)
{
    (void)unsetenv("NOTIFY_SOCKET");
    ck_assert_int_eq(notify_send("READY=1", &err), 0);
    (void)setenv("NOTIFY_SOCKET", "", 1);
    ck_assert_int_eq(notify_send("READY=1", &err), 0);
    static const char *const wrong[] = {"relative", "@", "/nonexistent/socket"};
    for (int i = 0; i < 3; i++) {
        (void)setenv("NOTIFY_SOCKET", wrong[i], 1);
        ck_assert_int_eq(notify_send("READY=1", &err), -1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("start");
    TCase *tc = tcase_create("start");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, test_second_lock_is_refused);
    tcase_add_test(tc, test_lock_of_a_dead_holder);
    tcase_add_test(tc, test_lock_needs_the_directory);
    tcase_add_test(tc, test_unix_socket);
    tcase_add_test(tc, test_living_socket_is_refused);
    tcase_add_test(tc, test_stale_socket_is_replaced);
    tcase_add_test(tc, test_foreign_file_is_left_alone);
    tcase_add_test(tc, test_unknown_user);
    tcase_add_test(tc, test_tcp_socket);
    tcase_add_test(tc, test_notify);
    tcase_add_test(tc, test_notify_without_a_manager);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
