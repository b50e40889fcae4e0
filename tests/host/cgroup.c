/* The cgroup of a VM, in the host's own hierarchy under a mark of this test's own. */
#include "host/process/cgroup.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/process.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char mark[32];
static struct cgroup_support support;

static void setup(void)
{
    (void)snprintf(mark, sizeof mark, "smartvm-test-%d", (int)getpid());
    ck_assert_int_eq(cgroup_probe(&support, NULL), 0);
    ck_assert_msg(support.mounted, "this test needs a writable cgroup v2 mount");
}

static void remove_id(const char *id, pid_t pid, void *ctx)
{
    (void)pid;
    (void)ctx;
    (void)cgroup_remove(mark, id, NULL);
}

static void teardown(void)
{
    (void)cgroup_list(mark, remove_id, NULL, NULL);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", support.mount, mark);
    (void)rmdir(path);
}

static int ensure(const char *id)
{
    int fd = -1;
    struct error err = {0};
    ck_assert_msg(cgroup_ensure(mark, id, &fd, &err) == 0, "%s", err.message);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static struct process spawn(const char *path, const char *const *argv, int cgroup_fd)
{
    struct process_spec spec = {
        .path = path, .argv = argv, .cwd = "/", .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .cgroup_fd = cgroup_fd, .extra_fd = -1};
    struct process process;
    struct error err = {0};
    ck_assert_msg(process_spawn(&spec, &process, &err) == 0, "%s", err.message);
    return process;
}

static struct process spawn_sleep(int cgroup_fd)
{
    static const char *const argv[] = {"sleep", "600", NULL};
    return spawn("/bin/sleep", argv, cgroup_fd);
}

static bool is_in(const char *id, pid_t pid)
{
    pid_t pids[16];
    size_t count = 99;
    bool exists = false;
    ck_assert_int_eq(cgroup_pids(mark, id, pids, ARRAY_LEN(pids), &count, &exists, NULL), 0);
    ck_assert(exists);
    for (size_t i = 0; i < count; i++) {
        if (pids[i] == pid) {
            return true;
        }
    }
    return false;
}

START_TEST(the_mount_is_found)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/cgroup.procs", support.mount);
    ck_assert_int_eq(access(path, R_OK), 0);
    char text[512] = "";
    (void)snprintf(path, sizeof path, "%s/cgroup.controllers", support.mount);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(read(fd, text, sizeof text - 1), 0);
    ck_assert(support.memory == (strstr(text, "memory") != NULL));
    ck_assert(support.pids == (strstr(text, "pids") != NULL));
}
END_TEST

START_TEST(making_one_is_idempotent)
{
    int first = ensure("vm-1");
    int second = ensure("vm-1");
    struct stat a;
    struct stat b;
    ck_assert(fstat(first, &a) == 0 && fstat(second, &b) == 0 && a.st_ino == b.st_ino);
    ck_assert((fcntl(first, F_GETFD) & FD_CLOEXEC) != 0);
    (void)close(first);
    (void)close(second);
}
END_TEST

/* Where there are no controllers nothing is in force, and that is no failure; tests/box shows the limits at work. */
START_TEST(limits_are_set_and_taken_back)
{
    const struct cgroup_limits wanted = {.memory_max = 64 << 20, .pids_max = 12, .cpu_max = 50000, .cpu_weight = 20};
    struct cgroup_limits found = {.memory_max = 7, .pids_max = 7};
    char words[CGROUP_DIFFERENCE_MAX];
    struct error err = {0};
    for (int again = 0; again < 2; again++) {
        ck_assert_msg(cgroup_limit(mark, "vm-1", &wanted, &err) == 0, "%s", err.message);
        ck_assert_int_eq(cgroup_limits_read(mark, "vm-1", 0, &found, NULL), 0);
        ck_assert_uint_eq(found.memory_max, support.memory ? wanted.memory_max : 0);
        ck_assert_uint_eq(found.pids_max, support.pids ? wanted.pids_max : 0);
        ck_assert_uint_eq(found.cpu_max, support.cpu ? wanted.cpu_max : 0);
        ck_assert_uint_eq(found.cpu_weight, support.cpu ? wanted.cpu_weight : 0);
        cgroup_limits_compare(&support, &wanted, &found, words);
        ck_assert_str_eq(words, "");
    }
    const struct cgroup_limits none = {.memory_max = 0};
    ck_assert_int_eq(cgroup_limit(mark, "vm-1", &none, NULL), 0);
    ck_assert_int_eq(cgroup_limits_read(mark, "vm-1", 0, &found, NULL), 0);
    ck_assert(found.memory_max == 0 && found.pids_max == 0 && found.cpu_max == 0 && found.cpu_weight == (support.cpu ? 100 : 0));
    found.memory_max = 7;
    ck_assert_int_eq(cgroup_limits_read(mark, "vm-2", 0, &found, NULL), 0);
    ck_assert_uint_eq(found.memory_max, 0);
    ck_assert(!cgroup_was_out_of_memory(mark, "vm-1") && !cgroup_was_out_of_memory(mark, "vm-2"));
}
END_TEST

START_TEST(names_that_lead_elsewhere_are_refused)
{
    static const char *const names[] = {"", ".", "..", "a/b", "../x", "/etc"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int fd = -7;
        bool exists;
        size_t count;
        pid_t pid;
        ck_assert_int_eq(cgroup_ensure(mark, names[i], &fd, NULL), -1);
        ck_assert_int_eq(cgroup_ensure(names[i], "vm", &fd, NULL), -1);
        ck_assert_int_eq(fd, -7);
        ck_assert_int_eq(cgroup_remove(mark, names[i], NULL), -1);
        ck_assert_int_eq(cgroup_pids(mark, names[i], &pid, 1, &count, &exists, NULL), -1);
    }
    (void)close(ensure("vm-1"));
    int fd = -7;
    ck_assert_int_eq(cgroup_ensure(mark, "cgroup.procs", &fd, NULL), -1); /* a control file of the kernel's */
    ck_assert_int_eq(cgroup_remove(mark, "cgroup.procs", NULL), -1);
}
END_TEST

struct seen {
    int calls;
    int empty;
    int ones; /* processes of vm-1 */
    int twos;
};

static void note(const char *id, pid_t pid, void *ctx)
{
    struct seen *seen = ctx;
    seen->calls++;
    seen->empty += pid == 0;
    seen->ones += strcmp(id, "vm-1") == 0;
    seen->twos += strcmp(id, "vm-2") == 0;
}

START_TEST(processes_are_born_in_it_and_listed)
{
    int one = ensure("vm-1");
    int two = ensure("vm-2");
    (void)close(ensure("vm-3"));
    struct process a = spawn_sleep(one);
    struct process b = spawn_sleep(one);
    struct process c = spawn_sleep(two);
    ck_assert(is_in("vm-1", a.pid) && is_in("vm-1", b.pid) && is_in("vm-2", c.pid));
    ck_assert(!is_in("vm-2", a.pid) && !is_in("vm-3", a.pid));
    struct seen seen = {0};
    ck_assert_int_eq(cgroup_list(mark, note, &seen, NULL), 0);
    ck_assert_int_eq(seen.calls, 4);
    ck_assert_int_eq(seen.ones, 2);
    ck_assert_int_eq(seen.twos, 1);
    ck_assert_int_eq(seen.empty, 1);

    pid_t pid = 0;
    size_t count = 0;
    bool exists = false;
    ck_assert_int_eq(cgroup_pids(mark, "vm-1", &pid, 1, &count, &exists, NULL), 0); /* less room than pids */
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(cgroup_pids(mark, "vm-4", &pid, 1, &count, &exists, NULL), 0);
    ck_assert(!exists && count == 0);
    ck_assert_int_eq(cgroup_list("no-such-mark", note, &seen, NULL), 0);
    ck_assert_int_eq(cgroup_pids("no-such-mark", "vm-1", &pid, 1, &count, &exists, NULL), 0);
    ck_assert(!exists);
    ck_assert_int_eq(seen.calls, 4);
}
END_TEST

/* As in a container whose system call filter does not know clone3. */
static void forbid_clone3(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(code), code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(processes_walk_there_where_clone3_is_missing)
{
    int one = ensure("vm-1");
    forbid_clone3();
    struct process process = spawn_sleep(one);
    ck_assert(is_in("vm-1", process.pid));
    ck_assert_int_eq(process_signal(process.pidfd, SIGKILL, NULL), 0);
    ck_assert_int_eq(process_wait(process.pidfd, 5000, NULL, NULL), 0);

    AUTO_CLOSE int other = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* no cgroup at all */
    static const char *const argv[] = {"true", NULL};
    struct process_spec spec = {
        .path = "/bin/true", .argv = argv, .cwd = "/", .cgroup_fd = other, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .extra_fd = -1};
    struct error err = {0};
    ck_assert_int_eq(process_spawn(&spec, &process, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "cgroup"));
    (void)close(one);
}
END_TEST

START_TEST(removing_kills_whatever_is_in_it)
{
    int one = ensure("vm-1");
    static const char *const argv[] = {"sh", "-c", "sleep 600 & (trap '' TERM HUP INT; sleep 600) & wait", NULL};
    struct process process = spawn("/bin/sh", argv, one);
    struct process bystander = spawn_sleep(-1);
    (void)close(one);
    pid_t pids[16];
    size_t count = 0;
    bool exists = false;
    while (count < 3) {
        ck_assert_int_eq(cgroup_pids(mark, "vm-1", pids, ARRAY_LEN(pids), &count, &exists, NULL), 0);
    }
    struct error err = {0};
    int64_t begin = clock_monotonic_ms();
    ck_assert_msg(cgroup_remove(mark, "vm-1", &err) == 0, "%s", err.message);
    ck_assert_int_lt(clock_monotonic_ms() - begin, 2000);
    int status = 0;
    ck_assert_int_eq(process_wait(process.pidfd, 1000, &status, NULL), 0);
    ck_assert_int_eq(status, SIGKILL);
    ck_assert_int_eq(cgroup_pids(mark, "vm-1", pids, ARRAY_LEN(pids), &count, &exists, NULL), 0);
    ck_assert(!exists);
    ck_assert_int_eq(cgroup_remove(mark, "vm-1", NULL), 0); /* none is no failure */
    ck_assert_int_eq(cgroup_remove("no-such-mark", "vm-1", NULL), 0);
    ck_assert(process_is_alive(bystander.pidfd));
    ck_assert_int_eq(process_signal(bystander.pidfd, SIGKILL, NULL), 0);
}
END_TEST

static void own_mounts(void)
{
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

/* Before Linux 5.14 there is no cgroup.kill; here it only cannot be written. */
START_TEST(removing_kills_one_by_one_where_it_must)
{
    own_mounts();
    int one = ensure("vm-1");
    struct process a = spawn_sleep(one);
    struct process b = spawn_sleep(one);
    (void)close(one);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s/vm-1/cgroup.kill", support.mount, mark);
    ck_assert_int_eq(mount(path, path, NULL, MS_BIND, NULL), 0);
    ck_assert_int_eq(mount("none", path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    struct error err = {0};
    ck_assert_msg(cgroup_remove(mark, "vm-1", &err) == 0, "%s", err.message);
    ck_assert(!process_is_alive(a.pidfd) && !process_is_alive(b.pidfd));
}
END_TEST

static void expect_nothing(void)
{
    struct cgroup_support none;
    ck_assert_int_eq(cgroup_probe(&none, NULL), 0);
    ck_assert(!none.mounted && none.mount[0] == '\0' && !none.memory && !none.cpu && !none.pids);
    int fd = 7;
    ck_assert_int_eq(cgroup_ensure(mark, "vm-1", &fd, NULL), 0);
    ck_assert_int_eq(fd, -1);
    bool exists = true;
    size_t count = 9;
    pid_t pid;
    struct seen seen = {0};
    ck_assert_int_eq(cgroup_pids(mark, "vm-1", &pid, 1, &count, &exists, NULL), 0);
    ck_assert(!exists && count == 0);
    ck_assert_int_eq(cgroup_list(mark, note, &seen, NULL), 0);
    ck_assert_int_eq(seen.calls, 0);
    ck_assert_int_eq(cgroup_remove(mark, "vm-1", NULL), 0);
}

START_TEST(a_host_without_cgroup_v2_is_no_failure)
{
    own_mounts();
    ck_assert_int_eq(mount("none", support.mount, "tmpfs", 0, NULL), 0); /* hidden */
    expect_nothing();
    ck_assert_int_eq(umount2(support.mount, MNT_DETACH), 0);
    ck_assert_int_eq(mount("none", support.mount, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    expect_nothing();
    ck_assert_int_eq(mount("none", support.mount, NULL, MS_REMOUNT | MS_BIND, NULL), 0);
    ck_assert_int_eq(umount2(support.mount, MNT_DETACH), 0); /* gone */
    expect_nothing();
}
END_TEST

START_TEST(a_mount_point_may_have_any_name)
{
    own_mounts();
    ck_assert_int_eq(umount2(support.mount, MNT_DETACH), 0);
    char dir[] = "/tmp/c g\\roup-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(mount("none", dir, "cgroup2", 0, NULL), 0);
    struct cgroup_support found;
    ck_assert_int_eq(cgroup_probe(&found, NULL), 0);
    ck_assert_str_eq(found.mount, dir);
    (void)close(ensure("vm-1"));
    ck_assert_int_eq(cgroup_remove(mark, "vm-1", NULL), 0);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, mark);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(umount2(dir, 0), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("cgroup");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, the_mount_is_found);
    tcase_add_test(tc, making_one_is_idempotent);
    tcase_add_test(tc, limits_are_set_and_taken_back);
    tcase_add_test(tc, names_that_lead_elsewhere_are_refused);
    tcase_add_test(tc, processes_are_born_in_it_and_listed);
    tcase_add_test(tc, processes_walk_there_where_clone3_is_missing);
    tcase_add_test(tc, removing_kills_whatever_is_in_it);
    tcase_add_test(tc, removing_kills_one_by_one_where_it_must);
    tcase_add_test(tc, a_host_without_cgroup_v2_is_no_failure);
    tcase_add_test(tc, a_mount_point_may_have_any_name);
    Suite *suite = suite_create("cgroup");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
