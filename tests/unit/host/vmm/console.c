/* The console's files: FIFOs that never block anybody, and a log whose positions stay while its size is
 * bounded. */
#include "host/vmm/console.h"

#include "core/cleanup.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((uint64_t)4096)

enum { PATH_ROOM = 128 };

static char dir[64];

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/dev/shm/console-test-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        (void)snprintf(dir, sizeof dir, "/tmp/console-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(dir));
    }
}

static const char *in_dir(const char *name)
{
    static char path[PATH_ROOM];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void teardown(void)
{
    static const char *const names[] = {"console.in", "console.out", "vmm.out", "console.log", "vmm.log"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlink(in_dir(names[i]));
    }
    (void)rmdir(dir);
}

static int open_log(void)
{
    int fd = -1;
    struct error err = {0};
    ck_assert_msg(console_log_open(dir, "console.log", &fd, &err) == 0, "%s", err.message);
    return fd;
}

START_TEST(fifos_are_made_once)
{
    ck_assert_int_eq(console_make_fifos(dir, NULL), 0);
    struct stat first;
    struct stat second;
    ck_assert_int_eq(stat(in_dir("console.out"), &first), 0);
    ck_assert_int_eq(console_make_fifos(dir, NULL), 0);
    ck_assert_int_eq(stat(in_dir("console.out"), &second), 0);
    ck_assert_uint_eq(first.st_ino, second.st_ino);
    ck_assert_uint_eq(first.st_mode & 07777, 0600);
    ck_assert_int_eq(stat(in_dir("console.in"), &first), 0);
    ck_assert_int_eq(stat(in_dir("vmm.out"), &first), 0);
}
END_TEST

START_TEST(what_is_no_fifo_is_refused)
{
    (void)close(open(in_dir("console.out"), O_CREAT | O_CLOEXEC | O_WRONLY, 0600));
    struct error err = {0};
    ck_assert_int_eq(console_make_fifos(dir, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "console.out"));
    int out = -7;
    int vmm = -7;
    ck_assert_int_eq(console_open_readers(dir, &out, &vmm, &err), -1);
    ck_assert(out == -7 && vmm == -7);
    (void)unlink(in_dir("console.out"));
    ck_assert_int_eq(symlink("/dev/null", in_dir("console.out")), 0);
    ck_assert_int_eq(console_make_fifos(dir, &err), -1);
    ck_assert_int_eq(console_make_fifos("/nonexistent", &err), -1);
    ck_assert_int_eq(err.sys_errno, ENOENT);
}
END_TEST

START_TEST(nobody_waits_for_a_fifo)
{
    ck_assert_int_eq(console_make_fifos(dir, NULL), 0);
    int fd = -7;
    struct error err = {0};
    ck_assert_int_eq(console_open_input(dir, &fd, &err), -1);
    ck_assert_int_eq(err.sys_errno, ENXIO); /* no VMM holds it */
    ck_assert_int_eq(fd, -7);

    int out = -1;
    int vmm = -1;
    ck_assert_int_eq(console_open_readers(dir, &out, &vmm, NULL), 0); /* before any VMM is there */
    int vmm_in = -1;
    int vmm_out = -1;
    int vmm_err = -1;
    ck_assert_int_eq(console_open_vmm_ends(dir, &vmm_in, &vmm_out, &vmm_err, NULL), 0);
    char bytes[1000] = {0};
    ssize_t n;
    size_t total = 0;
    while ((n = write(vmm_out, bytes, sizeof bytes)) > 0) { /* a flood that nobody reads */
        total += (size_t)n;
    }
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_gt(total, 0);
    ck_assert_int_eq(console_open_input(dir, &fd, NULL), 0);
    while (write(fd, bytes, sizeof bytes) > 0) { /* a guest that does not read */
    }
    ck_assert_int_eq(errno, EAGAIN);
    (void)close(fd);
    (void)close(vmm_in);
    (void)close(vmm_out);
    (void)close(vmm_err);
    (void)close(out);
    (void)close(vmm);
}
END_TEST

START_TEST(no_side_sees_an_end_of_file)
{
    ck_assert_int_eq(console_make_fifos(dir, NULL), 0);
    int vmm_in = -1;
    int vmm_out = -1;
    int vmm_err = -1;
    ck_assert_int_eq(console_open_vmm_ends(dir, &vmm_in, &vmm_out, &vmm_err, NULL), 0);
    ck_assert_int_eq(write(vmm_out, "hello", 5), 5); /* with no daemon there */
    int out = -1;
    int vmm = -1;
    ck_assert_int_eq(console_open_readers(dir, &out, &vmm, NULL), 0);
    char bytes[16];
    ck_assert_int_eq(read(out, bytes, sizeof bytes), 5);
    ck_assert(read(out, bytes, sizeof bytes) == -1 && errno == EAGAIN);
    int input = -1;
    ck_assert_int_eq(console_open_input(dir, &input, NULL), 0);
    ck_assert_int_eq(write(input, "x", 1), 1);
    (void)close(input); /* a writer that comes and goes */
    ck_assert_int_eq(fcntl(vmm_in, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(read(vmm_in, bytes, sizeof bytes), 1);
    ck_assert(read(vmm_in, bytes, sizeof bytes) == -1 && errno == EAGAIN);
    const int all[] = {vmm_in, vmm_out, vmm_err, out, vmm};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        ck_assert((fcntl(all[i], F_GETFD) & FD_CLOEXEC) != 0);
        (void)close(all[i]);
    }
}
END_TEST

START_TEST(a_log_can_be_watched_but_not_written_by_its_readers)
{
    (void)umask(077);
    AUTO_CLOSE int fd = open_log();
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0644);
    uint64_t end = 0;
    ck_assert_int_eq(console_log_append(fd, "abc", 3, 100, &end, NULL), 0);
    ck_assert_uint_eq(end, 3);
    AUTO_CLOSE int again = open_log(); /* after a restart of the daemon */
    ck_assert_int_eq(console_log_append(again, "def", 3, 100, &end, NULL), 0);
    ck_assert_uint_eq(end, 6);
    int reader = -1;
    ck_assert_int_eq(console_log_open_read(dir, "console.log", &reader, NULL), 0);
    char bytes[8] = {0};
    ck_assert_int_eq(pread(reader, bytes, sizeof bytes, 0), 6);
    ck_assert_str_eq(bytes, "abcdef");
    ck_assert_int_eq(write(reader, "x", 1), -1);
    (void)close(reader);
    ck_assert_int_eq(console_log_open_read(dir, "vmm.log", &reader, NULL), -1); /* is not made by a reader */
    ck_assert_int_eq(symlink("/etc/passwd", in_dir("vmm.log")), 0);
    ck_assert_int_eq(console_log_open(dir, "vmm.log", &reader, NULL), -1);
}
END_TEST

static void expect_range(int fd, uint64_t max_bytes, uint64_t begin, uint64_t end)
{
    uint64_t is_begin = 99;
    uint64_t is_end = 99;
    ck_assert_int_eq(console_log_begin(fd, max_bytes, &is_begin, &is_end, NULL), 0);
    ck_assert_uint_eq(is_begin, begin);
    ck_assert_uint_eq(is_end, end);
}

START_TEST(the_kept_part_is_whole_pages)
{
    AUTO_CLOSE int fd = open_log();
    char page[PAGE];
    memset(page, 'p', sizeof page);
    uint64_t end = 0;
    expect_range(fd, PAGE, 0, 0);
    ck_assert_int_eq(console_log_append(fd, page, PAGE, PAGE, &end, NULL), 0);
    expect_range(fd, PAGE, 0, PAGE); /* just the bound */
    ck_assert_int_eq(console_log_append(fd, page, 1, PAGE, &end, NULL), 0);
    expect_range(fd, PAGE, 0, PAGE + 1);
    ck_assert_int_eq(console_log_append(fd, page, PAGE - 1, PAGE, &end, NULL), 0);
    expect_range(fd, PAGE, PAGE, 2 * PAGE);
    ck_assert_int_eq(pread(fd, page, 1, 0), 1);
    ck_assert_int_eq(page[0], 0); /* given back */
    ck_assert_int_eq(pread(fd, page, 1, PAGE), 1);
    ck_assert_int_eq(page[0], 'p');
    expect_range(fd, 10 * PAGE, PAGE, 2 * PAGE); /* a larger bound brings nothing back */
    ck_assert_int_eq(console_log_append(fd, page, PAGE, 10 * PAGE, &end, NULL), 0);
    expect_range(fd, 10 * PAGE, PAGE, 3 * PAGE);
}
END_TEST

enum { FLOOD_BYTES = 50 * 1000 * 1000, FLOOD_BOUND = 256 * 1024 };

/* The byte that belongs at a position: four-byte numbers, so that every shift would be seen. */
static void fill_pattern(unsigned char *bytes, size_t len, uint64_t position)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t at = position + i;
        bytes[i] = (unsigned char)((at / 4 * 2654435761U) >> (8 * (at % 4)));
    }
}

static void flood(int fd)
{
    static unsigned char bytes[65536];
    uint64_t position = 0;
    for (size_t len = 1; position < FLOOD_BYTES; len = len * 7 % sizeof bytes + 1) {
        uint64_t end = 0;
        fill_pattern(bytes, len, position);
        ck_assert_int_eq(console_log_append(fd, bytes, len, FLOOD_BOUND, &end, NULL), 0);
        position += len;
        ck_assert_uint_eq(end, position);
        struct stat st;
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_msg((uint64_t)st.st_blocks * 512 <= FLOOD_BOUND + 4 * PAGE, "%ld blocks", (long)st.st_blocks);
    }
}

START_TEST(a_flood_stays_within_the_bound_and_keeps_positions)
{
    AUTO_CLOSE int fd = open_log();
    flood(fd);
    uint64_t begin = 0;
    uint64_t end = 0;
    ck_assert_int_eq(console_log_begin(fd, FLOOD_BOUND, &begin, &end, NULL), 0);
    ck_assert_uint_ge(end, FLOOD_BYTES);
    ck_assert(end - begin >= FLOOD_BOUND && end - begin < FLOOD_BOUND + PAGE);
    static unsigned char kept[FLOOD_BOUND + PAGE];
    static unsigned char wanted[FLOOD_BOUND + PAGE];
    ck_assert_int_eq(pread(fd, kept, sizeof kept, (off_t)begin), (ssize_t)(end - begin));
    fill_pattern(wanted, (size_t)(end - begin), begin);
    ck_assert(memcmp(kept, wanted, (size_t)(end - begin)) == 0);
}
END_TEST

START_TEST(a_file_that_can_grow_no_more_begins_again)
{
    AUTO_CLOSE int fd = open_log();
    const struct rlimit limit = {8 * PAGE, 8 * PAGE};
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char page[PAGE];
    memset(page, 'p', sizeof page);
    uint64_t end = 0;
    for (int i = 1; i <= 8; i++) {
        ck_assert_int_eq(console_log_append(fd, page, sizeof page, 2 * PAGE, &end, NULL), 0);
        ck_assert_uint_eq(end, (uint64_t)i * PAGE);
    }
    ck_assert_int_eq(console_log_append(fd, "more", 4, 2 * PAGE, &end, NULL), 0);
    ck_assert_uint_eq(end, 4);
    expect_range(fd, 2 * PAGE, 0, 4);
    static const char large[4 * PAGE] = {0};
    end = 0;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(console_log_append(fd, large, sizeof large, 2 * PAGE, &end, NULL), 0);
    }
    ck_assert_uint_eq(end, 2 * PAGE); /* the newest part of what came last */
}
END_TEST

START_TEST(failures_are_told)
{
    AUTO_CLOSE int fd = open_log();
    int reader = -1;
    ck_assert_int_eq(console_log_open_read(dir, "console.log", &reader, NULL), 0);
    uint64_t end = 77;
    struct error err = {0};
    ck_assert_int_eq(console_log_append(reader, "x", 1, PAGE, &end, &err), -1);
    ck_assert_int_eq(err.code, ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, EBADF);
    ck_assert_uint_eq(end, 77);
    (void)close(reader);
    ck_assert_int_eq(console_log_begin(-1, PAGE, &end, &end, &err), -1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("console");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, fifos_are_made_once);
    tcase_add_test(tc, what_is_no_fifo_is_refused);
    tcase_add_test(tc, nobody_waits_for_a_fifo);
    tcase_add_test(tc, no_side_sees_an_end_of_file);
    tcase_add_test(tc, a_log_can_be_watched_but_not_written_by_its_readers);
    tcase_add_test(tc, the_kept_part_is_whole_pages);
    tcase_add_test(tc, a_flood_stays_within_the_bound_and_keeps_positions);
    tcase_add_test(tc, a_file_that_can_grow_no_more_begins_again);
    tcase_add_test(tc, failures_are_told);
    Suite *suite = suite_create("console");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
