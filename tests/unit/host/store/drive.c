/* Staging drives: what is copied, what stays a hole, and that a failure leaves nothing behind. */
#include "host/store/drive.h"

#include "core/cleanup.h"
#include "host/store/room.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((off_t)1024 * 1024)

static char dir[64];
static char base[128];
static char target[128];
static char partial[160];

static void name_files(void)
{
    (void)snprintf(base, sizeof base, "%s/base", dir);
    (void)snprintf(target, sizeof target, "%s/target", dir);
    (void)snprintf(partial, sizeof partial, "%s/target.partial", dir);
}

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/var/tmp/drive-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    name_files();
}

static void teardown(void)
{
    (void)unlink(base);
    (void)unlink(target);
    (void)unlink(partial);
    (void)rmdir(dir);
}

/* 8 MiB: a hole, data at 1 MiB, a hole, data up to an odd end. */
static void make_base(void)
{
    AUTO_CLOSE int fd = open(base, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
    ck_assert_int_ge(fd, 0);
    static char bytes[100000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 31 % 251 + 1);
    }
    ck_assert_int_eq(pwrite(fd, bytes, sizeof bytes, MIB), (ssize_t)sizeof bytes);
    ck_assert_int_eq(pwrite(fd, bytes, 7777, 8 * MIB - 7000), 7777);
    ck_assert_int_eq(fsync(fd), 0); /* so that st_blocks is what it will be */
}

static void expect_same(const char *a, const char *b)
{
    AUTO_CLOSE int fa = open(a, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int fb = open(b, O_RDONLY | O_CLOEXEC);
    static char x[65536];
    static char y[65536];
    ssize_t n;
    do {
        n = read(fa, x, sizeof x);
        ck_assert_int_ge(n, 0);
        ck_assert_int_eq(read(fb, y, sizeof y), n);
        ck_assert_int_eq(memcmp(x, y, (size_t)n), 0);
    } while (n > 0);
}

static struct stat look(const char *path)
{
    struct stat st;
    ck_assert_msg(stat(path, &st) == 0, "%s: %s", path, strerror(errno)); /* NOLINT(concurrency-mt-unsafe) */
    return st;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static enum drive_method stage(void)
{
    enum drive_method method = DRIVE_EXISTED;
    struct error err = {0};
    ck_assert_msg(drive_stage(base, target, &method, &err) == 0, "%s", err.message);
    return method;
}

static void refuse_stage(enum error_code code)
{
    enum drive_method method = DRIVE_EXISTED;
    struct error err = {0};
    ck_assert_int_eq(drive_stage(base, target, &method, &err), -1);
    ck_assert_msg(err.code == code, "%s: %s", error_code_name(err.code), err.message);
    ck_assert_int_eq(method, DRIVE_EXISTED);
    ck_assert(!is_there(partial));
}

static void expect_copy_with_holes(void)
{
    expect_same(base, target);
    struct stat from = look(base);
    struct stat to = look(target);
    ck_assert_int_eq(to.st_size, from.st_size);
    ck_assert_msg(to.st_blocks <= 1024, "%ld blocks", (long)to.st_blocks);
    ck_assert_uint_eq(to.st_mode & 07777, 0600);
    ck_assert_uint_ne(to.st_ino, from.st_ino);
    ck_assert(!is_there(partial));
}

START_TEST(a_copy_has_the_bytes_and_the_holes)
{
    make_base();
    (void)umask(0);
    enum drive_method method = stage();
    ck_assert(method == DRIVE_REFLINK || method == DRIVE_SPARSE_COPY); /* as this file system can */
    expect_copy_with_holes();
    AUTO_CLOSE int fd = open(target, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "changed", 7, MIB), 7);
    AUTO_CLOSE int old = open(base, O_RDONLY | O_CLOEXEC);
    char bytes[7];
    ck_assert_int_eq(pread(old, bytes, 7, MIB), 7);
    ck_assert_int_ne(memcmp(bytes, "changed", 7), 0);
}
END_TEST

START_TEST(across_file_systems_too)
{
    make_base();
    char other[] = "/dev/shm/drive-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(other));
    (void)snprintf(target, sizeof target, "%s/target", other);
    (void)snprintf(partial, sizeof partial, "%s/target.partial", other);
    ck_assert_int_eq(stage(), DRIVE_SPARSE_COPY);
    expect_copy_with_holes();
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_int_eq(rmdir(other), 0);
}
END_TEST

START_TEST(empty_and_hollow_files_are_files_too)
{
    (void)close(open(base, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    (void)stage();
    ck_assert_int_eq(look(target).st_size, 0);
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_int_eq(truncate(base, 3 * MIB + 1), 0);
    (void)stage();
    ck_assert_int_eq(look(target).st_size, 3 * MIB + 1);
    ck_assert_int_eq(look(target).st_blocks, 0);
}
END_TEST

START_TEST(a_target_that_exists_is_left_as_it_is)
{
    make_base();
    AUTO_CLOSE int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "mine", 4), 4);
    ck_assert_int_eq(stage(), DRIVE_EXISTED);
    ck_assert_int_eq(look(target).st_size, 4);
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_int_eq(symlink("/etc/passwd", target), 0);
    refuse_stage(ERR_ROOTFS_CLONE_FAILED);
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_int_eq(mkdir(target, 0700), 0);
    refuse_stage(ERR_ROOTFS_CLONE_FAILED);
    ck_assert_int_eq(rmdir(target), 0);
}
END_TEST

START_TEST(what_a_crash_left_behind_is_replaced)
{
    make_base();
    AUTO_CLOSE int fd = open(partial, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    ck_assert_int_eq(ftruncate(fd, 20 * MIB), 0);
    (void)stage();
    expect_copy_with_holes();
    ck_assert_int_eq(symlink("/etc/passwd", partial), 0);
    ck_assert_int_eq(unlink(target), 0);
    (void)stage();
    expect_copy_with_holes();
}
END_TEST

START_TEST(bases_that_are_no_files_are_refused)
{
    refuse_stage(ERR_ROOTFS_CLONE_FAILED); /* none */
    ck_assert_int_eq(mkfifo(base, 0600), 0);
    refuse_stage(ERR_ROOTFS_CLONE_FAILED); /* and nobody waits for its writer */
    ck_assert_int_eq(unlink(base), 0);
    ck_assert_int_eq(symlink("/dev/zero", base), 0);
    refuse_stage(ERR_ROOTFS_CLONE_FAILED);
    ck_assert_int_eq(unlink(base), 0);
    make_base();
    (void)snprintf(target, sizeof target, "%s/none/target", dir);
    refuse_stage(ERR_ROOTFS_CLONE_FAILED);
    (void)snprintf(target, sizeof target, "relative");
    refuse_stage(ERR_ROOTFS_CLONE_FAILED);
}
END_TEST

/* Makes `dir` a tmpfs of 1 MiB that only this process sees; false without root. */
static bool enter_small_tmpfs(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev/shm", "tmpfs", 0, "size=1m") != 0) {
        (void)printf("skipped: only root can mount a small file system\n");
        return false;
    }
    (void)snprintf(target, sizeof target, "/dev/shm/target");
    (void)snprintf(partial, sizeof partial, "/dev/shm/target.partial");
    return true;
}

START_TEST(what_does_not_fit_is_refused_before_it_is_written)
{
    make_base();
    if (!enter_small_tmpfs()) {
        return;
    }
    (void)stage(); /* 8 MiB in size, but not in data */
    ck_assert_int_eq(unlink(target), 0);
    AUTO_CLOSE int fd = open(base, O_WRONLY | O_CLOEXEC | O_APPEND);
    static const char bytes[65536] = "x";
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(write(fd, bytes, sizeof bytes), (ssize_t)sizeof bytes);
    }
    ck_assert_int_eq(fsync(fd), 0);
    refuse_stage(ERR_INSUFFICIENT_STORAGE);
    ck_assert(!is_there(target));
}
END_TEST

static void answer_system_call(long number, unsigned second_argument, unsigned action)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, second_argument, 0, second_argument == 0 ? 0 : 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(code), code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* A kernel filter plays the file system that can share blocks. */
START_TEST(reflink_comes_first)
{
    make_base();
    answer_system_call(SYS_ioctl, FICLONE, SECCOMP_RET_ERRNO | 0);
    ck_assert_int_eq(stage(), DRIVE_REFLINK);
    ck_assert_int_eq(look(target).st_size, 0); /* nothing was copied by hand */
}
END_TEST

START_TEST(without_help_of_the_kernel_the_copy_is_the_same)
{
    make_base();
    answer_system_call(SYS_ioctl, FICLONE, SECCOMP_RET_ERRNO | EOPNOTSUPP);
    answer_system_call(SYS_copy_file_range, 0, SECCOMP_RET_ERRNO | EXDEV);
    ck_assert_int_eq(stage(), DRIVE_SPARSE_COPY);
    expect_copy_with_holes();
}
END_TEST

START_TEST(a_full_disk_in_the_middle_of_a_copy_leaves_nothing)
{
    make_base();
    answer_system_call(SYS_ioctl, FICLONE, SECCOMP_RET_ERRNO | EOPNOTSUPP);
    answer_system_call(SYS_copy_file_range, 0, SECCOMP_RET_ERRNO | ENOSPC);
    refuse_stage(ERR_INSUFFICIENT_STORAGE);
    ck_assert(!is_there(target));
}
END_TEST

START_TEST(room_is_counted)
{
    AUTO_CLOSE int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSE int disk = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct error err = {0};
    ck_assert_int_eq(room_check(shm, 4096, "a page", NULL), 0);
    ck_assert_int_eq(room_check(disk, 4096, "a page", NULL), 0);
    ck_assert_int_eq(room_check(shm, (uint64_t)1 << 60, "all", &err), -1);
    ck_assert_int_eq(err.code, ERR_INSUFFICIENT_STORAGE);
    ck_assert_int_eq(room_check(disk, (uint64_t)1 << 60, "all", &err), -1);
    ck_assert_int_eq(err.code, ERR_INSUFFICIENT_STORAGE);
    ck_assert_int_eq(room_check(-1, 1, "none", &err), -1);
    ck_assert_int_eq(err.code, ERR_SYSTEM);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("drive");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_copy_has_the_bytes_and_the_holes);
    tcase_add_test(tc, across_file_systems_too);
    tcase_add_test(tc, empty_and_hollow_files_are_files_too);
    tcase_add_test(tc, a_target_that_exists_is_left_as_it_is);
    tcase_add_test(tc, what_a_crash_left_behind_is_replaced);
    tcase_add_test(tc, bases_that_are_no_files_are_refused);
    tcase_add_test(tc, what_does_not_fit_is_refused_before_it_is_written);
    tcase_add_test(tc, reflink_comes_first);
    tcase_add_test(tc, without_help_of_the_kernel_the_copy_is_the_same);
    tcase_add_test(tc, a_full_disk_in_the_middle_of_a_copy_leaves_nothing);
    tcase_add_test(tc, room_is_counted);
    Suite *suite = suite_create("drive");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
