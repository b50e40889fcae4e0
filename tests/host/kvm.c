/* The KVM probe, on whatever KVM this machine has: none, a good one, or one that is far too slow. */
#include "host/vmm/kvm.h"

#include "core/clock.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

enum { TIMEOUT_MS = 300 };

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

static bool kvm_makes_a_vm(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    bool result = vm >= 0;
    (void)close(vm);
    (void)close(kvm);
    return result;
}

static struct kvm_probe probe_in_time(int timeout_ms)
{
    struct kvm_probe probe;
    memset(&probe, 0x55, sizeof probe);
    int64_t begin = clock_monotonic_ms();
    kvm_probe(timeout_ms, &probe);
    int64_t took = clock_monotonic_ms() - begin;
    ck_assert_msg(took < timeout_ms + 1000, "%d ms", (int)took);
    ck_assert_uint_gt(strlen(probe.reason), 10);
    return probe;
}

START_TEST(the_answer_fits_the_machine)
{
    struct kvm_probe probe = probe_in_time(TIMEOUT_MS);
    (void)printf("kvm_probe: %s\n", probe.reason);
    ck_assert(probe.present == kvm_makes_a_vm());
    ck_assert(!probe.usable || probe.present);
    ck_assert(probe.usable == (probe.loop_us >= 0));
    ck_assert(probe.loop_us <= (int64_t)(TIMEOUT_MS + 1000) * 1000);
}
END_TEST

START_TEST(nothing_is_left_behind)
{
    unsigned before = open_descriptors();
    sigset_t mask_before;
    sigset_t mask_after;
    struct sigaction action_before;
    struct sigaction action_after;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    (void)sigaction(SIGRTMIN + 1, NULL, &action_before);
    for (int i = 0; i < 5; i++) {
        (void)probe_in_time(20); /* a signal that stayed pending would end us here */
    }
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    (void)sigaction(SIGRTMIN + 1, NULL, &action_after);
    ck_assert_int_eq(sigismember(&mask_after, SIGRTMIN + 1), sigismember(&mask_before, SIGRTMIN + 1));
    ck_assert(action_after.sa_handler == action_before.sa_handler);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(no_time_is_little_time)
{
    (void)probe_in_time(0);
    (void)probe_in_time(-1);
}
END_TEST

static volatile sig_atomic_t stray_signals;

static void count_stray(int number)
{
    (void)number;
    stray_signals = stray_signals + 1;
}

static void *probe_thread(void *arg)
{
    *(struct kvm_probe *)arg = probe_in_time(50);
    return NULL;
}

START_TEST(other_threads_do_not_notice)
{
    const struct sigaction action = {.sa_handler = count_stray};
    ck_assert_int_eq(sigaction(SIGRTMIN + 1, &action, NULL), 0);
    struct kvm_probe probe;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, probe_thread, &probe), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(stray_signals, 0);
    struct kvm_probe here = probe_in_time(50);
    ck_assert(here.usable == probe.usable && here.present == probe.present);
    ck_assert_int_eq(stray_signals, 0);
}
END_TEST

/* In a mount namespace of its own, /dev/kvm is what the test wants it to be. */
static struct kvm_probe probe_with(const char *device)
{
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    if (access("/dev/kvm", F_OK) != 0) { /* none here: the answer is the same */
        return probe_in_time(TIMEOUT_MS);
    }
    ck_assert_int_eq(mount(device, "/dev/kvm", NULL, MS_BIND, NULL), 0);
    return probe_in_time(TIMEOUT_MS);
}

START_TEST(what_is_not_kvm_is_absent)
{
    struct kvm_probe probe = probe_with("/dev/null");
    ck_assert(!probe.present && !probe.usable);
    ck_assert_ptr_nonnull(strstr(probe.reason, "/dev/kvm"));
    ck_assert(probe.loop_us == -1);
}
END_TEST

START_TEST(a_host_without_the_device_says_so)
{
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("none", "/dev", "tmpfs", 0, NULL), 0);
    struct kvm_probe probe = probe_in_time(TIMEOUT_MS);
    ck_assert(!probe.present && !probe.usable);
    ck_assert_str_eq(probe.reason, "/dev/kvm cannot be opened: No such file or directory");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("kvm");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, the_answer_fits_the_machine);
    tcase_add_test(tc, nothing_is_left_behind);
    tcase_add_test(tc, no_time_is_little_time);
    tcase_add_test(tc, other_threads_do_not_notice);
    tcase_add_test(tc, what_is_not_kvm_is_absent);
    tcase_add_test(tc, a_host_without_the_device_says_so);
    Suite *suite = suite_create("kvm");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
