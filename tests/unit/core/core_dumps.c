#include "core/core_dumps.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned filter_of(pid_t pid)
{
    char path[64];
    unsigned filter = 0xffff;
    (void)snprintf(path, sizeof path, "/proc/%d/coredump_filter", (int)pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%x", &filter), 1); // NOLINT(cert-err34-c)
    (void)fclose(file);
    return filter;
}

static void make_filter(unsigned filter)
{
    FILE *file = fopen("/proc/self/coredump_filter", "we");
    ck_assert_ptr_nonnull(file);
    (void)fprintf(file, "0x%x", filter);
    ck_assert_int_eq(fclose(file), 0);
}

static void allow_dumps(void)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &limit), 0);
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    make_filter(0x33);
}

static void assert_none(pid_t pid)
{
    struct rlimit limit = {.rlim_cur = 1, .rlim_max = 1};
    ck_assert_int_eq(prlimit(pid, RLIMIT_CORE, NULL, &limit), 0);
    ck_assert_uint_eq(limit.rlim_cur, 0);
    ck_assert_uint_eq(limit.rlim_max, 0);
    ck_assert_uint_eq(filter_of(pid), 0);
}

START_TEST(test_this_process)
{
    allow_dumps();
    core_dumps_off();
    assert_none(getpid());
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
}
END_TEST

/* And what it executes; that is dumpable again, without anything to dump. */
START_TEST(test_what_it_starts)
{
    int status = -1;
    allow_dumps();
    core_dumps_off();
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl("/bin/sh", "sh", "-c", "[ \"$(ulimit -Hc)\" = 0 ] && [ \"$(cat /proc/self/coredump_filter)\" = 00000000 ]", (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(test_another_process)
{
    allow_dumps();
    pid_t pid = fork();
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    core_dumps_off_of(pid);
    assert_none(pid);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    core_dumps_off_of(pid); /* one that is gone */
    ck_assert_uint_eq(filter_of(getpid()), 0x33);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core dumps");
    TCase *tc = tcase_create("core_dumps");
    tcase_add_test(tc, test_this_process);
    tcase_add_test(tc, test_what_it_starts);
    tcase_add_test(tc, test_another_process);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
