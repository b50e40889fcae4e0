/* A process in a jail of ours: what it sees, what it may, what it can fill, and that nothing of it is on the host; and the way to its socket. */
#include "host/process/jail.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/process.h"
#include "host/vmm/peer.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UID = 1955555555 };

static char dir[64], place[80];
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/jail-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(place, sizeof place, "%s/jail", dir);
    ck_assert_int_eq(mkdir(place, 0700), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static void teardown(void)
{
    ck_assert_int_eq(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *file(const char *name, const char *text, mode_t mode)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    return path;
}

/* With what a shell needs. */
static void make_jail(struct jail *jail)
{
    static const char *const names[] = {"usr", "lib", "lib64", "bin"};
    must(jail_open(1 << 20, 64, jail, &err));
    jail->place = place;
    jail->uid = UID;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[32];
        char target[64] = "";
        struct stat st;
        (void)snprintf(path, sizeof path, "/%s", names[i]);
        if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
            ck_assert_int_gt((int)readlink(path, target, sizeof target - 1), 0);
            must(jail_add_link(jail, names[i], target, &err));
        } else if (S_ISDIR(st.st_mode)) {
            must(jail_add_bind(jail, names[i], path, JAIL_EXECUTE, &err));
        }
    }
    must(jail_add_device(jail, "dev/null", (dev_t)0x103, 0666, 0, &err));
    must(jail_give(jail, ".", UID, &err));
}

/* What a script says in there, and the status it ends with. */
static int run(const struct jail *jail, const char *script, char *text, size_t size)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const struct process_spec spec = {
        .path = "/bin/sh", .argv = argv, .cwd = "/", .stdin_fd = -1, .stdout_fd = ends[1], .stderr_fd = ends[1], .cgroup_fd = -1, .extra_fd = -1, .jail = jail};
    struct process process;
    must(process_spawn(&spec, &process, &err));
    (void)close(ends[1]);
    size_t len = 0;
    for (ssize_t n; len < size - 1 && (n = read(ends[0], text + len, size - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    text[len] = '\0';
    (void)close(ends[0]);
    int status = -1;
    must(process_wait(process.pidfd, 10000, &status, &err));
    (void)close(process.pidfd);
    return status;
}

static void check(const char *script, const char *wanted)
{
    char text[4096];
    AUTO_JAIL jail = JAIL_NONE;
    make_jail(&jail);
    must(jail_add_bind(&jail, "read/only", file("read", "alive\n", 0644), JAIL_READ, &err));
    const char *writable = file("write", "old\n", 0600);
    ck_assert_int_eq(chown(writable, UID, UID), 0);
    must(jail_add_bind(&jail, "writable", writable, JAIL_WRITE, &err));
    (void)run(&jail, script, text, sizeof text);
    ck_assert_msg(strcmp(text, wanted) == 0, "%s: %s", script, text);
}

START_TEST(what_it_is)
{
    check("id -u; id -g; id -G", "1955555555\n1955555555\n1955555555\n");
    check("echo *", "bin dev lib lib64 read usr writable\n");
    check("cat read/only writable; echo new > writable; cat writable", "alive\nold\nnew\n");
    check("ulimit -c; ulimit -Hc; umask", "0\n0\n0077\n");
    check("ls -A dev", "null\n");
}
END_TEST

START_TEST(what_it_can_not)
{
    check("(echo x > read/only) 2> /dev/null || echo no", "no\n");
    check("(echo x > usr/x) 2> /dev/null || echo no", "no\n");
    check("rm -f read/only 2> /dev/null || echo no", "no\n");
    check("read/only 2> /dev/null || echo no", "no\n");
    check("cd ../../..; echo *", "bin dev lib lib64 read usr writable\n");
    check("mkdir -p a; chroot a / 2> /dev/null || echo no", "no\n");
    check("mount -t tmpfs none /dev 2> /dev/null || echo no", "no\n");
    check("mknod kvm c 10 232 2> /dev/null || echo no", "no\n");
}
END_TEST

/* Its network is the host's. */
START_TEST(what_it_can_not_ask_of_the_kernel)
{
    static const char *const families[] = {"AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        char script[256];
        (void)snprintf(
            script, sizeof script,
            "python3 -c 'import socket; socket.socket(socket.%s, socket.SOCK_RAW if \"%s\" == \"AF_NETLINK\" else socket.SOCK_DGRAM)' 2>&1 | tail -n 1",
            families[i], families[i]);
        check(script, "PermissionError: [Errno 1] Operation not permitted\n");
    }
    check("python3 -c 'import socket; socket.socketpair(); socket.socket(socket.AF_UNIX); print(\"yes\")'", "yes\n");
    check("python3 -c 'import fcntl, sys; fcntl.ioctl(0, 0x8924, b\"x\" * 40)' 2>&1 | tail -n 1", "PermissionError: [Errno 1] Operation not permitted\n");
    check("python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.syscall(425, 1, None), ctypes.get_errno())'", "-1 1\n");
}
END_TEST

START_TEST(what_it_can_fill)
{
    check("(head -c 2000000 /dev/zero > large) 2> /dev/null; head -c 2000000 usr/bin/ls > large 2> /dev/null; i=0; while mkdir d$i 2> /dev/null; do "
          "i=$((i+1)); done; "
          "[ $i -lt 64 ] && echo bounded",
          "bounded\n");
}
END_TEST

static void read_mounts(char *buf, size_t size)
{
    AUTO_CLOSE int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    for (ssize_t n; (n = read(fd, buf + len, size - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    buf[len] = '\0';
}

START_TEST(nothing_of_it_is_on_the_host)
{
    static char before[256 * 1024], after[256 * 1024];
    char text[64];
    AUTO_JAIL jail = JAIL_NONE;
    read_mounts(before, sizeof before);
    make_jail(&jail);
    read_mounts(after, sizeof after);
    ck_assert_ptr_null(strstr(after, dir));
    ck_assert_int_eq(run(&jail, "echo x > canary; exit 3", text, sizeof text), 3 << 8);
    jail_close(&jail);
    read_mounts(after, sizeof after);
    ck_assert_ptr_null(strstr(after, dir));
    ck_assert_int_eq(rmdir(place), 0); /* it is empty */
    ck_assert_int_eq(mkdir(place, 0700), 0);
}
END_TEST

START_TEST(failures_are_told_and_leave_nothing)
{
    struct process process;
    AUTO_JAIL jail = JAIL_NONE;
    make_jail(&jail);
    ck_assert_int_eq(jail_add_bind(&jail, "x", "/nonexistent", JAIL_READ, &err), -1);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_int_eq(jail_add_bind(&jail, "usr", "/usr", JAIL_READ, &err), 0); /* twice: the second one covers the first */
    char long_path[400];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    ck_assert_int_eq(jail_add_directory(&jail, long_path, &err), -1);
    while (jail.count < JAIL_BINDS_MAX) {
        char path[16];
        (void)snprintf(path, sizeof path, "b%zu", jail.count);
        must(jail_add_bind(&jail, path, "/etc/hostname", JAIL_READ, &err));
    }
    ck_assert_int_eq(jail_add_bind(&jail, "more", "/etc/hostname", JAIL_READ, &err), -1);
    jail.place = "/nonexistent";
    const struct process_spec spec = {.path = "/bin/true",
                                      .argv = (const char *const[]){"true", NULL},
                                      .cwd = "/",
                                      .stdin_fd = -1,
                                      .stdout_fd = -1,
                                      .stderr_fd = -1,
                                      .cgroup_fd = -1,
                                      .extra_fd = -1,
                                      .jail = &jail};
    ck_assert_int_eq(process_spawn(&spec, &process, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "mounting its jail"));
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    must(jail_probe(&err));
}
END_TEST

/* Listens on `path` as that uid, with that root directory; the byte tells that it does. */
static pid_t listen_as(uid_t uid, const char *root)
{
    int ends[2];
    char byte = 0;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/api.sock"};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (chroot(root) != 0 || chdir("/") != 0 || setgid(uid) != 0 || setuid(uid) != 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
            listen(fd, 4) != 0 || write(ends[1], "x", 1) != 1) {
            _exit(1);
        }
        (void)pause();
        _exit(0);
    }
    (void)close(ends[1]);
    ck_assert_int_eq((int)read(ends[0], &byte, 1), 1);
    (void)close(ends[0]);
    return pid;
}

static void end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static int connect_error(pid_t pid, uid_t uid)
{
    const struct vmm_peer peer = {.dir = dir, .pid = pid, .pidfd = -1, .uid = uid};
    AUTO_CLOSE int fd = -1;
    return vmm_peer_connect(&peer, 500, &fd, &err) == 0 ? 0 : err.sys_errno;
}

START_TEST(a_listener_is_the_process_itself)
{
    char path[128];
    ck_assert_int_eq(chmod(dir, 0777), 0);
    (void)snprintf(path, sizeof path, "%s/api.sock", dir);
    pid_t pid = listen_as(UID, dir);
    ck_assert_int_eq(connect_error(pid, UID), 0);
    ck_assert_int_eq(connect_error(pid, UID + 1), ENOENT); /* not in that jail */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(connect_error(pid, UID), ENOENT);
    pid_t other = listen_as(UID, dir); /* its uid, but another process */
    ck_assert_int_eq(connect_error(pid, UID), VMM_FOREIGN_SOCKET);
    end(other);
    ck_assert_int_eq(connect_error(pid, UID), ECONNREFUSED);
    ck_assert_int_eq(unlink(path), 0);
    other = listen_as(UID + 1, dir);
    ck_assert_int_eq(connect_error(pid, UID), VMM_FOREIGN_SOCKET);
    end(other);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink("/api.sock.other", path), 0);
    ck_assert_int_eq(connect_error(pid, UID), VMM_FOREIGN_SOCKET);
    ck_assert_ptr_nonnull(strstr(err.message, "it is a link"));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    ck_assert_int_eq(connect_error(pid, UID), VMM_FOREIGN_SOCKET);
    ck_assert_int_eq(rmdir(path), 0);
    end(pid);
    ck_assert_int_eq(connect_error(pid, UID), ENOENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("jail");
    TCase *tc = tcase_create("jail");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_it_is);
    tcase_add_test(tc, what_it_can_not);
    tcase_add_test(tc, what_it_can_not_ask_of_the_kernel);
    tcase_add_test(tc, what_it_can_fill);
    tcase_add_test(tc, nothing_of_it_is_on_the_host);
    tcase_add_test(tc, failures_are_told_and_leave_nothing);
    tcase_add_test(tc, a_listener_is_the_process_itself);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
