/* The parent of a VMM: what it tells, keeps and leaves. Programs of /bin stand for the VMM. */
#include "host/process/shim.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/vmm/console.h"
#include "shim/protocol.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { TIMEOUT_MS = 10000 };

static char dir[40];
static struct process process;
static struct shim shim;
static struct error err;

static const char *in_dir(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void setup(void)
{
    (void)strcpy(dir, "/tmp/shim-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(console_make_fifos(dir, &err), 0);
    process = (struct process){.pidfd = -1};
    shim = SHIM_NONE;
}

static void teardown(void)
{
    static const char *const names[] = {"console.in", "console.out",      "vmm.out", SHIM_SOCKET,   SHIM_EXIT,
                                        SHIM_CONSOLE, SHIM_CONSOLE_OLDER, SHIM_VMM,  SHIM_VMM_OLDER};
    if (process.pidfd >= 0) {
        (void)process_signal(process.pidfd, SIGKILL, NULL);
        (void)process_wait(process.pidfd, TIMEOUT_MS, NULL, NULL);
        (void)close(process.pidfd);
    }
    shim_close(&shim, true);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlink(in_dir(names[i]));
    }
    ck_assert_msg(rmdir(dir) == 0, "something was left in %s", dir);
}

/* `program` as /bin/sh -c does it. */
static int start_path(const char *path, const char *program)
{
    const char *const argv[] = {"sh", "-c", program, NULL};
    AUTO_CLOSE int in = -1;
    AUTO_CLOSE int out = -1;
    AUTO_CLOSE int vmm = -1;
    ck_assert_int_eq(console_open_vmm_ends(dir, &in, &out, &vmm, &err), 0);
    const struct process_spec spec = {
        .path = path, .argv = argv, .cwd = dir, .stdin_fd = in, .stdout_fd = out, .stderr_fd = vmm, .cgroup_fd = -1, .extra_fd = -1};
    const struct shim_spec parent = {.dir = dir, .id = "test", .boot = 7, .cgroup_fd = -1};
    return shim_spawn(&spec, &parent, &process, &shim, &err);
}

static void start(const char *program)
{
    ck_assert_msg(start_path("/bin/sh", program) == 0, "%s", err.message);
    ck_assert_int_ge(shim.link, 0);
    ck_assert_int_ge(shim.pidfd, 0);
}

static bool eventually(bool (*probe)(void))
{
    int64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_MS;
    while (!probe()) {
        if (clock_monotonic_ms() > deadline_ms) {
            return false;
        }
        (void)poll(NULL, 0, 2);
    }
    return true;
}

static struct shim_exit heard(void)
{
    struct shim_exit told = {.status = -1};
    ck_assert(shim_hear_exit(&shim, TIMEOUT_MS, &told));
    ck_assert_int_eq(told.boot, 7);
    ck_assert_int_lt(llabs(clock_wall_ms() - told.wall_ms), TIMEOUT_MS);
    ck_assert_int_lt(llabs(clock_boottime_ms() - told.uptime_ms), TIMEOUT_MS);
    return told;
}

static bool has_exit(void)
{
    struct shim_exit told;
    return shim_read_exit(dir, 7, &told);
}

static size_t size_of(const char *name)
{
    struct stat st;
    return stat(in_dir(name), &st) == 0 ? (size_t)st.st_size : 0;
}

static void read_text(const char *name, char *buf, size_t size)
{
    AUTO_CLOSE int fd = open(in_dir(name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : 0;
    buf[n > 0 ? n : 0] = '\0';
}

START_TEST(every_way_to_end_is_told)
{
    static const struct {
        const char *program;
        int status;
    } cases[] = {{"exit 0", 0}, {"exit 3", 3 << 8}, {"exit 255", 255 << 8}, {"kill -KILL $$", SIGKILL}, {"kill -TERM $$", SIGTERM}};
    struct shim_exit read;
    start(cases[_i].program);
    struct shim_exit told = heard();
    ck_assert_int_eq(told.status, cases[_i].status);
    ck_assert(shim_read_exit(dir, 7, &read));
    ck_assert_int_eq(read.status, told.status);
    ck_assert_int_eq(read.wall_ms, told.wall_ms);
    ck_assert(!shim_read_exit(dir, 8, &read)); /* of another boot */
    /* Its number is not free before we let go of it. */
    uint64_t start_time = 0;
    ck_assert_int_eq(process_start_time(process.pid, &start_time, NULL), 0);
    ck_assert_uint_eq(start_time, process.start_time);
    pid_t pid = process.pid;
    shim_close(&shim, true);
    ck_assert_int_eq(process_start_time(pid, &start_time, NULL), -1);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}
END_TEST

START_TEST(a_program_that_is_missing_leaves_nothing)
{
    ck_assert_int_eq(start_path("/nonesuch", ""), -1);
    ck_assert_int_eq(err.code, ERR_VMM_UNAVAILABLE);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(shim.link, -1);
}
END_TEST

START_TEST(a_program_that_ends_at_once_is_held)
{
    for (int i = 0; i < 50; i++) {
        start("exit 1");
        ck_assert_int_eq(heard().status, 1 << 8);
        (void)close(process.pidfd);
        process.pidfd = -1;
        shim_close(&shim, true);
    }
}
END_TEST

START_TEST(signals_end_the_program_and_not_its_parent)
{
    start("sleep 60");
    for (int number = 1; number < 32; number++) {
        if (number != SIGKILL && number != SIGSTOP) {
            ck_assert_int_eq(process_signal(shim.pidfd, number, &err), 0);
        }
    }
    (void)poll(NULL, 0, 50);
    ck_assert(process_is_alive(shim.pidfd));
    ck_assert_int_eq(process_signal(process.pidfd, SIGTERM, &err), 0); /* whose own signals are not blocked */
    ck_assert_int_eq(heard().status, SIGTERM);
}
END_TEST

START_TEST(while_we_read_it_keeps_nothing)
{
    start("echo out; echo words >&2; sleep 60");
    AUTO_CLOSE int out = -1;
    AUTO_CLOSE int vmm = -1;
    ck_assert_int_eq(console_open_readers(dir, &out, &vmm, &err), 0);
    struct pollfd wait = {.fd = vmm, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, TIMEOUT_MS), 1);
    (void)poll(NULL, 0, 50);
    char text[16] = "";
    ck_assert_int_eq((int)read(out, text, sizeof text), 4);
    ck_assert_uint_eq(size_of(SHIM_CONSOLE), 0);
    ck_assert_uint_eq(size_of(SHIM_VMM), 0);
}
END_TEST

static bool has_kept(void)
{
    return size_of(SHIM_CONSOLE) >= 4 && size_of(SHIM_VMM) >= 6;
}

START_TEST(without_us_it_keeps_and_writes_down)
{
    char text[64];
    start("read line; echo out; echo words >&2; exit 4");
    AUTO_CLOSE int in = -1;
    ck_assert_int_eq(console_open_input(dir, &in, &err), 0);
    (void)close(shim.link);
    shim.link = -1;
    ck_assert_int_eq((int)write(in, "\n", 1), 1);
    ck_assert(eventually(has_exit));
    ck_assert_int_eq(process_wait(shim.pidfd, TIMEOUT_MS, NULL, &err), 0);
    struct shim_exit read = {.status = -1};
    ck_assert(shim_read_exit(dir, 7, &read));
    ck_assert_int_eq(read.status, 4 << 8);
    read_text(SHIM_CONSOLE, text, sizeof text);
    ck_assert_str_eq(text, "out\n");
    read_text(SHIM_VMM, text, sizeof text);
    ck_assert_str_eq(text, "words\n");
    struct shim none;
    ck_assert_int_eq(shim_attach(dir, 100, &none, &err), -1);
    ck_assert_int_eq(err.sys_errno, ECONNREFUSED);
}
END_TEST

START_TEST(who_comes_back_takes_over)
{
    char text[64];
    start("echo one; echo words >&2; read line; echo two; sleep 60");
    AUTO_CLOSE int in = -1;
    ck_assert_int_eq(console_open_input(dir, &in, &err), 0);
    (void)close(shim.link);
    shim.link = -1;
    ck_assert(eventually(has_kept));
    struct shim again;
    ck_assert_msg(shim_attach(dir, TIMEOUT_MS, &again, &err) == 0, "%s", err.message);
    ck_assert_int_eq((int)write(in, "\n", 1), 1);
    (void)poll(NULL, 0, 100);
    read_text(SHIM_CONSOLE, text, sizeof text);
    ck_assert_str_eq(text, "one\n"); /* and what follows is in the FIFO, for us */
    ck_assert_int_eq(process_signal(process.pidfd, SIGKILL, &err), 0);
    struct shim_exit told = {.status = -1};
    ck_assert(shim_hear_exit(&again, TIMEOUT_MS, &told));
    ck_assert_int_eq(told.status, SIGKILL);
    /* One that asks between the end and the farewell is told, too. */
    struct shim third;
    ck_assert_int_eq(shim_attach(dir, TIMEOUT_MS, &third, &err), 0);
    ck_assert(shim_hear_exit(&third, TIMEOUT_MS, &told));
    ck_assert(!shim_hear_exit(&again, 100, &told)); /* whose connection is over */
    shim_close(&again, false);
    shim_close(&third, false);
}
END_TEST

static bool has_two_parts(void)
{
    return size_of(SHIM_CONSOLE_OLDER) > 0 && size_of(SHIM_CONSOLE) > SHIM_KEPT_MAX / 2;
}

START_TEST(a_flood_is_bounded_and_its_end_survives)
{
    start("while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done & sleep 3; kill $!; wait; sleep 0.3; echo the end; "
          "sleep 60");
    (void)close(shim.link);
    shim.link = -1;
    ck_assert(eventually(has_two_parts));
    int64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_MS;
    char tail[32] = "";
    do {
        (void)poll(NULL, 0, 50);
        AUTO_CLOSE int fd = open(in_dir(SHIM_CONSOLE), O_RDONLY | O_CLOEXEC);
        off_t end = lseek(fd, 0, SEEK_END);
        ssize_t n = pread(fd, tail, sizeof tail - 1, end > 31 ? end - 31 : 0);
        tail[n > 0 ? n : 0] = '\0';
    } while (strstr(tail, "the end\n") == NULL && clock_monotonic_ms() < deadline_ms);
    ck_assert_ptr_nonnull(strstr(tail, "the end\n"));
    ck_assert_uint_le(size_of(SHIM_CONSOLE), SHIM_KEPT_MAX);
    ck_assert_uint_le(size_of(SHIM_CONSOLE_OLDER), SHIM_KEPT_MAX);
}
END_TEST

START_TEST(words_of_an_exit)
{
    static const struct {
        const char *text;
        int status; /* -1: refused */
    } cases[] = {
        {"3 exited 0 1700000000000 5", 0},
        {"3 exited 255 1 5", 255 << 8},
        {"3 killed 9 1 5", SIGKILL},
        {"3 dumped 6 1 5", SIGABRT | 0x80},
        {"", -1},
        {"ready", -1},
        {"3 exited 0 1", -1},
        {"3 exited 256 1 5", -1},
        {"3 killed 0 1 5", -1},
        {"3 stopped 1 1 5", -1},
        {"x exited 0 1 5", -1},
        {"3 exited -1 1 5", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct shim_exit told = {.status = -1};
        ck_assert_int_eq(shim_parse_exit(cases[i].text, &told), cases[i].status >= 0);
        ck_assert_int_eq(told.status, cases[i].status);
    }
}
END_TEST

START_TEST(it_costs_little)
{
    int64_t best_us = INT64_MAX;
    for (int i = 0; i < 50; i++) {
        int64_t begin_us = clock_monotonic_us();
        start("exit 0");
        int64_t us = clock_monotonic_us() - begin_us;
        best_us = us < best_us ? us : best_us;
        (void)close(process.pidfd);
        process.pidfd = -1;
        shim_close(&shim, true);
    }
    (void)printf("shim_spawn: best of 50: %lld us\n", (long long)best_us);
    ck_assert_int_lt(best_us, 5000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shim");
    TCase *tcase = tcase_create("shim");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, every_way_to_end_is_told, 0, 5);
    tcase_add_test(tcase, a_program_that_is_missing_leaves_nothing);
    tcase_add_test(tcase, a_program_that_ends_at_once_is_held);
    tcase_add_test(tcase, signals_end_the_program_and_not_its_parent);
    tcase_add_test(tcase, while_we_read_it_keeps_nothing);
    tcase_add_test(tcase, without_us_it_keeps_and_writes_down);
    tcase_add_test(tcase, who_comes_back_takes_over);
    tcase_add_test(tcase, a_flood_is_bounded_and_its_end_survives);
    tcase_add_test(tcase, words_of_an_exit);
    tcase_add_test(tcase, it_costs_little);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
