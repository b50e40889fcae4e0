/* What is left of a root process after drop_privileges() and drop_system_calls(): read back from the kernel.
 */
#include "server/inspector_process.h"
#include "server/landlock.h"
#include "server/privileges.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct report {
    int done;
    struct error err;
    char status[4096];
    struct rlimit files;
    mode_t mask;
    int dumpable;
    int death_signal;
    int setuid_errno;
    int shadow_errno;
    uint64_t before;
} * report;

static void set_up(void)
{
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(report, MAP_FAILED);
}

static void read_status(void)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, report->status, sizeof report->status - 1);
    report->status[len > 0 ? len : 0] = '\0';
    (void)close(fd);
}

/* In a child, which ends without the leak checker: that one needs the tracing which was given up. */
static void run(void (*child)(void), int expected)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        child();
        _exit(0);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "child ended with %x: %s", (unsigned)status, report->err.message);
    ck_assert_msg(report->done == expected, "%d of %d: %s", report->done, expected, report->err.message);
}

static void drop_all(void)
{
    if (drop_privileges("nobody", getppid(), &report->err) < 0 || drop_system_calls(SYSTEM_CALLS_OF_API, &report->err) < 0) {
        _exit(1);
    }
}

static void child_status(void)
{
    drop_all();
    read_status();
    (void)getrlimit(RLIMIT_NOFILE, &report->files);
    report->mask = umask(0);
    report->dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_GET_PDEATHSIG, &report->death_signal, 0, 0, 0);
    report->shadow_errno = open("/etc/shadow", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
    report->setuid_errno = setuid(0) < 0 ? errno : 0;
    report->done = 1;
}

static void expect_line(const char *name, const char *value)
{
    char line[128];
    (void)snprintf(line, sizeof line, "\n%s:\t%s\n", name, value);
    ck_assert_msg(strstr(report->status, line) != NULL, "no '%s: %s' in:\n%s", name, value, report->status);
}

START_TEST(test_nothing_is_left)
{
    char ids[64];
    const struct passwd *nobody = getpwnam("nobody");
    ck_assert_ptr_nonnull(nobody);
    run(child_status, 1);
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        expect_line(sets[i], "0000000000000000");
    }
    expect_line("NoNewPrivs", "1");
    expect_line("Seccomp", "2");
    unsigned uid = nobody->pw_uid;
    unsigned gid = nobody->pw_gid;
    (void)snprintf(ids, sizeof ids, "%u\t%u\t%u\t%u", uid, uid, uid, uid);
    expect_line("Uid", ids);
    (void)snprintf(ids, sizeof ids, "%u\t%u\t%u\t%u", gid, gid, gid, gid);
    expect_line("Gid", ids);
    (void)snprintf(ids, sizeof ids, "%u ", gid);
    expect_line("Groups", ids);
    ck_assert_uint_eq(report->mask, 007);
    ck_assert_int_eq(report->dumpable, 0);
    ck_assert_int_eq(report->death_signal, SIGTERM);
    ck_assert(report->files.rlim_cur >= 65536 || report->files.rlim_cur == report->files.rlim_max);
    ck_assert_int_eq(report->setuid_errno, ENOSYS);
    ck_assert_int_eq(report->shadow_errno, EACCES);
}
END_TEST

/* Each call has harmless arguments: ENOSYS before they are looked at is the filter's answer. */
static long call_denied(int i)
{
    switch (i) {
    case 0:
        return syscall(SYS_execve, NULL, NULL, NULL);
    case 1:
        return syscall(SYS_execveat, -1, NULL, NULL, NULL, 0);
    case 2:
        return syscall(SYS_ptrace, PTRACE_PEEKDATA, 0, NULL, NULL);
    case 3:
        return syscall(SYS_mount, NULL, NULL, NULL, 0UL, NULL);
    case 4:
        return syscall(SYS_unshare, 0);
    case 5:
        return syscall(SYS_setns, -1, 0);
    case 6:
        return syscall(SYS_bpf, -1, NULL, 0);
    case 7:
        return syscall(SYS_keyctl, -1, 0, 0, 0, 0);
    case 8:
        return syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0UL);
    case 9:
        return syscall(SYS_process_vm_readv, 0, NULL, 0UL, NULL, 0UL, 0UL);
    case 10:
        return syscall(SYS_userfaultfd, -1);
    case 11:
        return syscall(SYS_io_uring_setup, 0, NULL);
    case 12:
        return syscall(SYS_open_by_handle_at, -1, NULL, 0);
    case 13:
        return syscall(SYS_finit_module, -1, NULL, 0);
    default:
        return syscall(SYS_capset, NULL, NULL);
    }
}

enum { DENIED = 15 };

static void child_denied(void)
{
    drop_all();
    for (int i = 0; i < DENIED; i++) {
        if (call_denied(i) != -1 || errno != ENOSYS) {
            (void)error_set(&report->err, ERR_INTERNAL, "call %d was not refused: errno %d", i, errno);
            return;
        }
        report->done++;
    }
}

START_TEST(test_system_calls_are_denied)
{
    run(child_denied, DENIED);
}
END_TEST

/* What the event loop lives on must still work; which call did not is told in the report. */
static int failed_call(const char *name)
{
    return error_sys(&report->err, ERR_SYSTEM, errno, "%s", name);
}

static int ordinary_calls(void)
{
    int pair[2];
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return failed_call("open(/dev/null)");
    }
    if (write(fd, "x", 1) != 1) {
        return failed_call("write");
    }
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) {
        return failed_call("mmap");
    }
    return pipe2(pair, O_CLOEXEC) == 0 ? 0 : failed_call("pipe2");
}

static void child_allowed(void)
{
    drop_all();
    report->done = ordinary_calls() == 0;
}

START_TEST(test_ordinary_calls_work)
{
    run(child_allowed, 1);
}
END_TEST

/* ---- the worker ---- */

/* CHOWN to FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP; NET_BIND_SERVICE, NET_ADMIN, NET_RAW, IPC_LOCK; SYS_CHROOT, SYS_PTRACE, SYS_ADMIN, SYS_RESOURCE, MKNOD */
static const uint64_t worker_capabilities = 0x92c75ff;

static uint64_t status_set(const char *name)
{
    const char *line = strstr(report->status, name);
    ck_assert_ptr_nonnull(line);
    return strtoull(line + strlen(name), NULL, 16);
}

static void child_bound(void)
{
    read_status();
    report->before = status_set("\nCapBnd:\t"); /* in a container it is less than all */
    if (bound_capabilities(&report->err) != 0) {
        _exit(1);
    }
    read_status();
    report->done = open("/etc/shadow", O_RDONLY | O_CLOEXEC) >= 0 && syscall(SYS_reboot, 0, 0, 0, NULL) < 0 && errno == EPERM;
}

START_TEST(test_the_worker_keeps_what_it_needs)
{
    run(child_bound, 1);
    ck_assert_uint_ne(report->before & ~worker_capabilities, 0);
    ck_assert_uint_eq(status_set("\nCapBnd:\t"), report->before & worker_capabilities);
    ck_assert_uint_eq(status_set("\nCapEff:\t"), report->before & worker_capabilities);
    ck_assert_uint_eq(status_set("\nCapInh:\t"), 0);
}
END_TEST

/* ---- the inspector ---- */

static void drop_as_inspector(void)
{
    struct error *err = &report->err;
    if (drop_privileges_of_inspector(getppid(), err) != 0 || inspector_process_close(4096, err) != 0) {
        _exit(1);
    }
}

static void child_inspector(void)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    drop_as_inspector();
    ssize_t len = read(fd, report->status, sizeof report->status - 1);
    report->status[len > 0 ? len : 0] = '\0';
    report->done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

START_TEST(test_nothing_is_left_to_the_inspector)
{
    char ids[64];
    run(child_inspector, 1);
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        expect_line(sets[i], "0000000000000000");
    }
    expect_line("NoNewPrivs", "1");
    expect_line("Seccomp", "2");
    expect_line("Groups", " ");
    (void)snprintf(ids, sizeof ids, "%u\t%u\t%u\t%u", INSPECTOR_UID, INSPECTOR_UID, INSPECTOR_UID, INSPECTOR_UID);
    expect_line("Uid", ids);
    expect_line("Gid", ids);
    ck_assert_ptr_null(getpwuid(INSPECTOR_UID));
}
END_TEST

/* Each of them ends the process. */
static void inspector_call(int i)
{
    switch (i) {
    case 0:
        (void)open("/dev/null", O_RDONLY | O_CLOEXEC);
        break;
    case 1:
        (void)syscall(SYS_socket, 2, 1, 0);
        break;
    case 2:
        (void)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0UL);
        break;
    case 3:
        (void)syscall(SYS_execve, "/bin/true", NULL, NULL);
        break;
    case 4:
        (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        break;
    case 5:
        (void)kill(getppid(), 0);
        break;
    case 6:
        (void)unlink("/nonexistent");
        break;
    default:
        (void)syscall(SYS_prlimit64, 0, RLIMIT_CPU, NULL, NULL);
        break;
    }
}

enum { INSPECTOR_CALLS = 8 };

START_TEST(test_what_the_inspector_may_not_call_ends_it)
{
    int status = 0;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        drop_as_inspector();
        inspector_call(_i);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "call %d: %x %s", _i, (unsigned)status, report->err.message);
}
END_TEST

/* Where there is Landlock: that alone, without the filter. */
static void child_landlock(void)
{
    if (drop_privileges_of_inspector(getppid(), &report->err) != 0) {
        _exit(1);
    }
    bool closed = landlock_close();
    report->done = closed ? open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES : open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

START_TEST(test_landlock)
{
    run(child_landlock, 1);
}
END_TEST

static void child_refused(void)
{
    struct error *err = &report->err;
    report->done += drop_privileges("root", getppid(), err) < 0 && err->code == ERR_INVALID_CONFIG;
    report->done += drop_privileges("no-such-user-here", getppid(), err) < 0 && err->code == ERR_INVALID_CONFIG;
    report->done += getuid() == 0;
    report->done += drop_privileges("nobody", 1 << 22, err) < 0 && err->code == ERR_UNAVAILABLE;
}

START_TEST(test_refused)
{
    run(child_refused, 4);
}
END_TEST

int main(void)
{
    if (getuid() != 0) {
        (void)fprintf(stderr, "this test needs root\n");
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("drop");
    TCase *tc = tcase_create("drop");
    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_add_test(tc, test_nothing_is_left);
    tcase_add_test(tc, test_system_calls_are_denied);
    tcase_add_test(tc, test_ordinary_calls_work);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_the_worker_keeps_what_it_needs);
    tcase_add_test(tc, test_nothing_is_left_to_the_inspector);
    tcase_add_loop_test(tc, test_what_the_inspector_may_not_call_ends_it, 0, INSPECTOR_CALLS);
    tcase_add_test(tc, test_landlock);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
