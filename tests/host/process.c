/* Processes: how they start, what they inherit, how they are found again and how they end. */
#include "core/boot_id.h"
#include "host/process/process.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct process_spec plain = {
    .path = "/bin/true",
    .argv = (const char *const[]){"true", NULL},
    .cwd = "/",
    .stdin_fd = -1,
    .stdout_fd = -1,
    .stderr_fd = -1,
    .cgroup_fd = -1,
    .extra_fd = -1,
};

static struct process spawn(const struct process_spec *spec)
{
    struct process process;
    struct error err = {0};
    ck_assert_msg(process_spawn(spec, &process, &err) == 0, "%s", err.message);
    return process;
}

/* The kernel lets the parent go on a moment before the new program's arguments can be read. */
static void await_arguments(pid_t pid)
{
    for (size_t len = 0; len == 0; (void)usleep(100)) {
        AUTO_FREE char *line = NULL;
        ck_assert_int_eq(process_cmdline(pid, &line, &len, NULL), 0);
    }
}

/* `cat` on a pipe that nobody writes to: it runs until it is told to end. */
static struct process spawn_cat(struct process_spec spec, int *ret_write_end)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    spec.path = "/bin/cat";
    spec.argv = (const char *const[]){"cat", NULL};
    spec.stdin_fd = fds[0];
    struct process process = spawn(&spec);
    await_arguments(process.pid);
    (void)close(fds[0]);
    *ret_write_end = fds[1];
    return process;
}

static int reap(struct process *process)
{
    int status = -2;
    struct error err = {0};
    ck_assert_msg(process_wait(process->pidfd, 5000, &status, &err) == 0, "%s", err.message);
    (void)close(process->pidfd);
    return status;
}

static void kill_and_reap(struct process *process)
{
    ck_assert_int_eq(process_signal(process->pidfd, SIGKILL, NULL), 0);
    ck_assert_int_eq(reap(process), SIGKILL);
}

static size_t read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ssize_t n = read(fd, buf, size - 1);
    ck_assert_int_ge(n, 0);
    buf[n] = '\0';
    return (size_t)n;
}

START_TEST(exit_status_comes_back)
{
    struct process_spec spec = plain;
    struct process process = spawn(&spec);
    ck_assert_int_eq(reap(&process), 0);
    spec.path = "/bin/false";
    process = spawn(&spec);
    int status = reap(&process);
    char text[PROCESS_STATUS_TEXT_MAX];
    ck_assert_str_eq(process_status_text(status, text), "exit code 1");
    ck_assert_str_eq(process_status_text(SIGKILL, text), "signal 9 (Killed)");
    ck_assert_str_eq(process_status_text(SIGSEGV | WCOREFLAG, text), "signal 11 (Segmentation fault)");
    ck_assert_str_eq(process_status_text(-1, text), "unknown");
}
END_TEST

static void refuse(struct process_spec spec, enum error_code code, int errnum)
{
    struct process process = {.pid = -7};
    struct error err = {0};
    ck_assert_int_eq(process_spawn(&spec, &process, &err), -1);
    ck_assert_msg(err.code == code && err.sys_errno == errnum, "%s (%d)", err.message, err.sys_errno);
    ck_assert_ptr_nonnull(strstr(err.message, spec.path));
    ck_assert_int_eq(process.pid, -7);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left to reap */
    ck_assert_int_eq(errno, ECHILD);
}

START_TEST(failures_before_the_program_runs_are_reported)
{
    struct process_spec spec = plain;
    spec.path = "/nonexistent/firecracker";
    refuse(spec, ERR_VMM_UNAVAILABLE, ENOENT);
    spec.path = "/etc/passwd";
    refuse(spec, ERR_VMM_UNAVAILABLE, EACCES);
    spec.path = "/";
    refuse(spec, ERR_VMM_UNAVAILABLE, EACCES);
    spec = plain;
    spec.cwd = "/nonexistent";
    refuse(spec, ERR_SYSTEM, ENOENT);
    spec = plain;
    spec.stdout_fd = 900;
    refuse(spec, ERR_SYSTEM, EBADF);
    spec = plain;
    spec.extra_fd = 900;
    refuse(spec, ERR_SYSTEM, EBADF);
}
END_TEST

static void expect_status(pid_t pid, const char *line)
{
    char status[8192];
    (void)read_proc(pid, "status", status, sizeof status);
    ck_assert_msg(strstr(status, line) != NULL, "no %s in %s", line, status);
}

START_TEST(a_child_inherits_nothing_by_accident)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)umask(022);
    sigset_t blocked;
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &blocked, NULL);
    ck_assert_int_ge(dup2(1, 77), 0); /* without CLOEXEC */
    (void)setenv("SECRET", "1", 1);
    struct process_spec spec = plain;
    spec.cwd = "/usr";
    int write_end;
    struct process process = spawn_cat(spec, &write_end);

    expect_status(process.pid, "\nSigBlk:\t0000000000000000\n");
    expect_status(process.pid, "\nSigIgn:\t0000000000000000\n");
    expect_status(process.pid, "\nSigCgt:\t0000000000000000\n");
    expect_status(process.pid, "\nNoNewPrivs:\t1\n");
    expect_status(process.pid, "\nUmask:\t0077\n");
    ck_assert_int_eq(getsid(process.pid), process.pid);
    char text[4096];
    size_t n = read_proc(process.pid, "environ", text, sizeof text);
    ck_assert_int_eq(strncmp(text, "PATH=", 5), 0);
    ck_assert_uint_eq(n, strlen(text) + 1); /* and nothing else */
    (void)read_proc(process.pid, "oom_score_adj", text, sizeof text);
    ck_assert_str_eq(text, "0\n");
    (void)snprintf(text, sizeof text, "/proc/%d/cwd", (int)process.pid);
    char cwd[64] = {0};
    ck_assert_int_gt(readlink(text, cwd, sizeof cwd - 1), 0);
    ck_assert_str_eq(cwd, "/usr");

    sigset_t now; /* the caller's own signals are as they were */
    (void)sigprocmask(SIG_SETMASK, NULL, &now);
    ck_assert(sigismember(&now, SIGTERM) == 1 && sigismember(&now, SIGINT) == 0);
    kill_and_reap(&process);
    (void)close(write_end);
}
END_TEST

/* The open descriptors of a process, a bit each. */
static unsigned open_descriptors(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    AUTO_CLOSEDIR DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    unsigned set = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            unsigned long fd = strtoul(entry->d_name, NULL, 10);
            ck_assert_uint_lt(fd, 32);
            set |= 1U << fd;
        }
    }
    return set;
}

/* The dynamic loader has a descriptor of its own now and then, but one that leaked never goes away. */
static void expect_descriptors(pid_t pid, unsigned wanted)
{
    int64_t deadline = clock_monotonic_ms() + 5000;
    unsigned seen;
    while ((seen = open_descriptors(pid)) != wanted && clock_monotonic_ms() < deadline) {
        (void)usleep(1000);
    }
    ck_assert_uint_eq(seen, wanted);
}

static bool same_file(pid_t pid, int number, int fd)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, number);
    struct stat there;
    struct stat here;
    return stat(path, &there) == 0 && fstat(fd, &here) == 0 && there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

START_TEST(descriptors_are_named_one_by_one)
{
    int write_end;
    struct process process = spawn_cat(plain, &write_end);
    expect_descriptors(process.pid, 07);
    AUTO_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert(same_file(process.pid, 1, null) && same_file(process.pid, 2, null));
    ck_assert(!same_file(process.pid, 0, null));
    kill_and_reap(&process);
    (void)close(write_end);
}
END_TEST

/* The worst case: what is handed over has just the numbers of its neighbours. */
START_TEST(descriptors_may_be_numbered_like_each_other)
{
    int fds[4];
    for (int i = 0; i < 4; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "crossed-%d", i);
        fds[i] = memfd_create(name, MFD_CLOEXEC);
        ck_assert_int_ge(fds[i], 0);
    }
    int saved_err = fcntl(2, F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(dup3(fds[i], i, O_CLOEXEC), i);
    }
    const char *const argv[] = {"sleep", "60", NULL};
    struct process_spec spec = {.path = "/bin/sleep", .argv = argv, .cwd = "/", .cgroup_fd = -1, .stdin_fd = 3, .stdout_fd = 2, .stderr_fd = 1, .extra_fd = 0};
    struct process process;
    struct error err = {0};
    int result = process_spawn(&spec, &process, &err);
    (void)dup2(saved_err, 2);
    (void)dup2(saved_err, 1);
    ck_assert_msg(result == 0, "%s", err.message);
    expect_descriptors(process.pid, 017);
    for (int i = 0; i < 4; i++) {
        ck_assert_msg(same_file(process.pid, i, fds[3 - i]), "descriptor %d", i);
    }
    kill_and_reap(&process);
}
END_TEST

START_TEST(only_the_very_process_is_found_again)
{
    int write_end;
    struct process process = spawn_cat(plain, &write_end);
    int pidfd = -1;
    ck_assert_int_eq(process_open(process.pid, process.start_time, &pidfd, NULL), 0);
    ck_assert_int_ge(pidfd, 0);
    ck_assert(process_is_alive(pidfd));
    ck_assert((fcntl(pidfd, F_GETFD) & FD_CLOEXEC) != 0);
    (void)close(pidfd);

    ck_assert_int_eq(process_open(process.pid, process.start_time + 1, &pidfd, NULL), 0);
    ck_assert_int_eq(pidfd, -1); /* the same number, another life */
    ck_assert_int_eq(process_open(0, 0, &pidfd, NULL), 0);
    ck_assert_int_eq(pidfd, -1);
    ck_assert_int_eq(process_open(-1, 0, &pidfd, NULL), 0);
    ck_assert_int_eq(pidfd, -1);

    ck_assert_int_eq(process_signal(process.pidfd, SIGKILL, NULL), 0);
    while (process_is_alive(process.pidfd)) {
        (void)usleep(1000);
    }
    uint64_t start_time;
    ck_assert_int_eq(process_start_time(process.pid, &start_time, NULL), 0); /* a zombie still has a line in /proc */
    ck_assert_uint_eq(start_time, process.start_time);
    pidfd = 5;
    ck_assert_int_eq(process_open(process.pid, process.start_time, &pidfd, NULL), 0);
    ck_assert_int_eq(pidfd, -1);
    int status;
    ck_assert_int_eq(process_wait(process.pidfd, 0, &status, NULL), 0);
    ck_assert_int_eq(status, SIGKILL);

    ck_assert_int_eq(process_open(process.pid, process.start_time, &pidfd, NULL), 0);
    ck_assert_int_eq(pidfd, -1);
    ck_assert_int_eq(process_signal(process.pidfd, SIGKILL, NULL), 0); /* gone is no failure */
    ck_assert_int_eq(process_wait(process.pidfd, 0, &status, NULL), 0);
    ck_assert_int_eq(status, -1); /* reaped already */
    (void)close(process.pidfd);
    (void)close(write_end);
}
END_TEST

static void *sleep_for_ever(void *ret_tid)
{
    *(_Atomic pid_t *)ret_tid = gettid();
    for (;;) {
        (void)pause();
    }
    return NULL;
}

START_TEST(a_thread_is_no_process)
{
    pthread_t thread;
    _Atomic pid_t tid = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, sleep_for_ever, &tid), 0);
    while (tid == 0) {
        (void)usleep(100);
    }
    uint64_t start_time = 0;
    ck_assert_int_eq(process_start_time(tid, &start_time, NULL), 0);
    int pidfd = 5;
    struct error err = {0};
    ck_assert_msg(process_open(tid, start_time, &pidfd, &err) == 0, "%s", err.message);
    ck_assert_int_eq(pidfd, -1);
}
END_TEST

struct reader {
    int fds[2];
    _Atomic pid_t tid;
};

static void *read_a_byte(void *arg)
{
    struct reader *reader = arg;
    char byte;
    reader->tid = gettid();
    ck_assert_int_eq(read(reader->fds[0], &byte, 1), 1);
    return NULL;
}

START_TEST(the_end_of_a_thread_is_told)
{
    struct reader reader = {.tid = 0};
    pthread_t thread;
    ck_assert_int_eq(pipe(reader.fds), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_a_byte, &reader), 0);
    while (reader.tid == 0) {
        (void)usleep(100);
    }
    int fd = process_watch_thread(getpid(), reader.tid);
    struct pollfd told = {.fd = fd, .events = POLLIN};
    if (fd >= 0) { /* Linux 6.9 */
        ck_assert_int_eq(poll(&told, 1, 50), 0);
    }
    ck_assert_int_eq(process_watch_thread(1, reader.tid), -1);
    ck_assert_int_eq(write(reader.fds[1], "x", 1), 1);
    if (fd >= 0) {
        ck_assert_int_eq(poll(&told, 1, 5000), 1);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(waiting_has_a_deadline)
{
    int write_end;
    struct process process = spawn_cat(plain, &write_end);
    struct error err = {0};
    int status = -2;
    int64_t begin = clock_monotonic_ms();
    ck_assert_int_eq(process_wait(process.pidfd, 50, &status, &err), -1);
    int64_t took = clock_monotonic_ms() - begin;
    ck_assert_int_eq(err.code, ERR_TIMEOUT);
    ck_assert_int_eq(status, -2);
    ck_assert_msg(took >= 50 && took < 2000, "%d ms", (int)took);
    ck_assert_int_eq(process_wait(-1, 0, &status, &err), -1);
    (void)close(write_end); /* cat ends by itself */
    ck_assert_int_eq(reap(&process), 0);
}
END_TEST

START_TEST(a_name_cannot_confuse_the_start_time)
{
    uint64_t before = 0;
    uint64_t after = 0;
    ck_assert_int_eq(process_start_time(getpid(), &before, NULL), 0);
    ck_assert_int_eq(prctl(PR_SET_NAME, "a) R 1 (b c) 2"), 0);
    ck_assert_int_eq(process_start_time(getpid(), &after, NULL), 0);
    ck_assert_uint_gt(before, 0);
    ck_assert_uint_eq(before, after);
    struct error err = {0};
    ck_assert_int_eq(process_start_time(0x7ffffff0, &after, &err), -1);
    ck_assert_int_eq(err.sys_errno, ENOENT);
}
END_TEST

START_TEST(the_boot_id_is_a_uuid)
{
    char id[BOOT_ID_MAX];
    ck_assert_int_eq(boot_id_read(id, NULL), 0);
    ck_assert_uint_eq(strlen(id), 36);
    ck_assert_uint_eq(strspn(id, "0123456789abcdef-"), 36);
}
END_TEST

START_TEST(command_lines_are_read_whole)
{
    static char big[100000];
    memset(big, 'x', sizeof big - 1);
    const char *const argv[] = {"sh", "-c", "read line", big, "", "last", NULL};
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    struct process_spec spec = plain;
    spec.path = "/bin/sh";
    spec.argv = argv;
    spec.stdin_fd = fds[0];
    struct process process = spawn(&spec);
    await_arguments(process.pid);
    AUTO_FREE char *line = NULL;
    size_t len = 0;
    ck_assert_int_eq(process_cmdline(process.pid, &line, &len, NULL), 0);
    ck_assert_uint_eq(len, sizeof "sh" + sizeof "-c" + sizeof "read line" + sizeof big + 1 + sizeof "last");
    ck_assert_str_eq(line, "sh");
    ck_assert_str_eq(line + len - sizeof "last", "last");

    ck_assert_int_eq(process_signal(process.pidfd, SIGKILL, NULL), 0);
    while (process_is_alive(process.pidfd)) {
        (void)usleep(1000);
    }
    AUTO_FREE char *of_zombie = NULL;
    ck_assert_int_eq(process_cmdline(process.pid, &of_zombie, &len, NULL), 0);
    ck_assert_uint_eq(len, 0);
    ck_assert_int_eq(reap(&process), SIGKILL);
    struct error err = {0};
    AUTO_FREE char *of_none = NULL;
    ck_assert_int_eq(process_cmdline(process.pid, &of_none, &len, &err), -1);
    ck_assert_msg(err.sys_errno == ENOENT || err.sys_errno == ESRCH, "%s", err.message);
}
END_TEST

struct sighting {
    pid_t pid;
    int count;
    char argument[64];
};

static void note(pid_t pid, const char *argument, void *ctx)
{
    struct sighting *sighting = ctx;
    sighting->pid = pid;
    sighting->count++;
    (void)snprintf(sighting->argument, sizeof sighting->argument, "%s", argument);
}

START_TEST(processes_are_found_by_an_argument)
{
    char argument[64];
    (void)snprintf(argument, sizeof argument, "/run/no-such-%d/vm/a/api.sock", (int)getpid());
    const char *const argv[] = {"sh", "-c", "read line", "--api-sock", argument, argument, NULL};
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    struct process_spec spec = plain;
    spec.path = "/bin/sh";
    spec.argv = argv;
    spec.stdin_fd = fds[0];
    struct process process = spawn(&spec);
    await_arguments(process.pid);
    char prefix[64];
    (void)snprintf(prefix, sizeof prefix, "/run/no-such-%d/vm/", (int)getpid());
    struct sighting seen = {0};
    ck_assert_int_eq(process_find((const char *const[]){"/no-such", prefix, NULL}, note, &seen, NULL), 0);
    ck_assert_int_eq(seen.count, 1); /* once a process, not once an argument */
    ck_assert_int_eq(seen.pid, process.pid);
    ck_assert_str_eq(seen.argument, argument);
    struct sighting unseen = {0};
    ck_assert_int_eq(process_find((const char *const[]){prefix + 1, NULL}, note, &unseen, NULL), 0); /* only from the beginning */
    ck_assert_int_eq(unseen.count, 0);
    kill_and_reap(&process);
    ck_assert_int_eq(process_find((const char *const[]){prefix, NULL}, note, &unseen, NULL), 0);
    ck_assert_int_eq(unseen.count, 0);
}
END_TEST

enum { THREADS = 8, SPAWNS = 50 };

static void *spawn_many(void *arg)
{
    (void)arg;
    for (intptr_t i = 0; i < SPAWNS; i++) {
        struct process_spec spec = plain;
        bool missing = i % 5 == 4;
        if (missing) {
            spec.path = "/nonexistent";
        }
        struct process process;
        struct error err = {0};
        int result = process_spawn(&spec, &process, &err);
        int status = -1;
        if (result != (missing ? -1 : 0) || (missing && err.code != ERR_VMM_UNAVAILABLE)) {
            return err.message[0] != '\0' ? strdup(err.message) : strdup("started what is missing");
        }
        if (!missing && (process_wait(process.pidfd, 10000, &status, NULL) != 0 || status != 0)) {
            return strdup("did not end well");
        }
        if (!missing) {
            (void)close(process.pidfd);
        }
    }
    return NULL;
}

START_TEST(many_threads_spawn_at_once)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, spawn_many, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *problem = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &problem), 0);
        ck_assert_msg(problem == NULL, "%s", (const char *)problem);
    }
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(spawning_is_quick)
{
    enum { ROUNDS = 100 };
    int64_t best = INT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        struct process_spec spec = plain;
        int64_t begin = clock_monotonic_us();
        struct process process = spawn(&spec);
        int64_t took = clock_monotonic_us() - begin;
        best = took < best ? took : best;
        ck_assert_int_eq(reap(&process), 0);
    }
    (void)printf("process_spawn: best of %d: %d us\n", ROUNDS, (int)best);
    ck_assert_int_lt(best, 10000);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("process");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, exit_status_comes_back);
    tcase_add_test(tc, failures_before_the_program_runs_are_reported);
    tcase_add_test(tc, a_child_inherits_nothing_by_accident);
    tcase_add_test(tc, descriptors_are_named_one_by_one);
    tcase_add_test(tc, descriptors_may_be_numbered_like_each_other);
    tcase_add_test(tc, only_the_very_process_is_found_again);
    tcase_add_test(tc, a_thread_is_no_process);
    tcase_add_test(tc, the_end_of_a_thread_is_told);
    tcase_add_test(tc, waiting_has_a_deadline);
    tcase_add_test(tc, a_name_cannot_confuse_the_start_time);
    tcase_add_test(tc, the_boot_id_is_a_uuid);
    tcase_add_test(tc, command_lines_are_read_whole);
    tcase_add_test(tc, processes_are_found_by_an_argument);
    tcase_add_test(tc, many_threads_spawn_at_once);
    tcase_add_test(tc, spawning_is_quick);
    Suite *suite = suite_create("process");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
