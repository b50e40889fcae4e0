/* Files in memory that are handed over: what is no such file, or may still change, is refused without waiting. */
#include "core/memory_file.h"

#include "core/cleanup.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

static struct error err;

static enum error_code refused(int fd, size_t max)
{
    uint8_t *data = NULL;
    size_t len = 0;
    ck_assert_int_ne(memory_file_read(fd, max, &data, &len, &err), 0);
    ck_assert_ptr_null(data);
    return err.code;
}

START_TEST(comes_back_as_it_was)
{
    static const size_t sizes[] = {0, 1, 4096, 300000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        AUTO_FREE uint8_t *data = malloc(sizes[i] + 1);
        AUTO_FREE uint8_t *read = NULL;
        AUTO_CLOSE int fd = -1;
        size_t len = 0;
        for (size_t k = 0; k < sizes[i]; k++) {
            data[k] = (uint8_t)(k * 7);
        }
        ck_assert_int_eq(memory_file_make("test", data, sizes[i], &fd, &err), 0);
        for (int again = 0; again < 2; again++) {
            free(read);
            ck_assert_int_eq(memory_file_read(fd, sizes[i], &read, &len, &err), 0);
            ck_assert_uint_eq(len, sizes[i]);
            ck_assert_int_eq(memcmp(read, data, len), 0);
        }
    }
}
END_TEST

START_TEST(nobody_changes_it)
{
    AUTO_CLOSE int fd = -1;
    ck_assert_int_eq(memory_file_make("test", (const uint8_t *)"abc", 3, &fd, &err), 0);
    ck_assert_int_lt(pwrite(fd, "x", 1, 0), 0);
    ck_assert_int_ne(ftruncate(fd, 1), 0);
    ck_assert_int_ne(ftruncate(fd, 10), 0);
    ck_assert_ptr_eq(mmap(NULL, 3, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
}
END_TEST

START_TEST(beyond_the_limit)
{
    AUTO_CLOSE int fd = -1;
    ck_assert_int_eq(memory_file_make("test", (const uint8_t *)"abc", 3, &fd, &err), 0);
    ck_assert_int_eq(refused(fd, 2), ERR_PAYLOAD_TOO_LARGE);
}
END_TEST

/* Each of them could keep a reader waiting, or become something else under his eyes. */
START_TEST(what_is_no_sealed_file)
{
    int pipe_fds[2];
    int sockets[2];
    char path[] = "/tmp/memory-file-XXXXXX";
    AUTO_CLOSE int unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    AUTO_CLOSE int half = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    AUTO_CLOSE int plain = mkstemp(path);
    AUTO_CLOSE int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSE int device = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    ck_assert_int_eq(fcntl(half, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), 0);
    const int foreign[] = {-1, unsealed, half, plain, directory, device, pipe_fds[0], sockets[0]};
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        ck_assert_int_eq(refused(foreign[i], 100), ERR_BAD_REQUEST);
    }
    for (int i = 0; i < 2; i++) {
        (void)close(pipe_fds[i]);
        (void)close(sockets[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory_file");
    TCase *tcase = tcase_create("memory_file");
    tcase_add_test(tcase, comes_back_as_it_was);
    tcase_add_test(tcase, nobody_changes_it);
    tcase_add_test(tcase, beyond_the_limit);
    tcase_add_test(tcase, what_is_no_sealed_file);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
