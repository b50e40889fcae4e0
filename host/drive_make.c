/* Blank file systems, made by mke2fs. */
#include "host/drive.h"

#include "core/cleanup.h"
#include "host/drive_partial.h"
#include "host/process.h"
#include "host/room.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum {
    MKE2FS_TIMEOUT_MS = 120 * 1000,
    METADATA_SHARE = 64, /* of the size: bitmaps, group descriptors; inode tables stay holes */
    METADATA_MAX = 64 * 1024 * 1024,
    WORDS_MAX = 400, /* of mke2fs in an error message */
};

static const char *find_mke2fs(void)
{
    static const char *const paths[] = {"/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (access(paths[i], X_OK) == 0) {
            return paths[i];
        }
    }
    return NULL;
}

static int refused(int words_fd, int status, struct error *err)
{
    char words[WORDS_MAX];
    char how[PROCESS_STATUS_TEXT_MAX];
    ssize_t n = pread(words_fd, words, sizeof words - 1, 0);
    words[n < 0 ? 0 : n] = '\0';
    for (char *c = words; *c != '\0'; c++) {
        *c = *c == '\n' ? ' ' : *c;
    }
    enum error_code code =
        strstr(words, "No space left") != NULL ? ERR_INSUFFICIENT_STORAGE : ERR_ROOTFS_CREATE_FAILED;
    return error_set(err, code, "mke2fs ended with %s: %s", process_status_text(status, how), words);
}

static int run_mke2fs(const char *path, struct error *err)
{
    const char *program = find_mke2fs();
    if (program == NULL) {
        return error_set(err, ERR_ROOTFS_CREATE_FAILED, "mke2fs is not installed (package e2fsprogs)");
    }
    AUTO_CLOSE int words_fd = memfd_create("mke2fs", MFD_CLOEXEC);
    if (words_fd < 0) {
        return error_sys(err, ERR_ROOTFS_CREATE_FAILED, errno, "cannot make a memory file");
    }
    const char *const argv[] = {program, "-q",   "-F",
                                "-t",    "ext4", "-m",
                                "0",     "-E",   "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
                                path,    NULL};
    const struct process_spec spec = {.path = program,
                                      .argv = argv,
                                      .cwd = "/",
                                      .stdin_fd = -1,
                                      .stdout_fd = -1,
                                      .stderr_fd = words_fd,
                                      .cgroup_fd = -1,
                                      .extra_fd = -1};
    struct process process;
    if (process_spawn(&spec, &process, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int pidfd = process.pidfd;
    int status = -1;
    if (process_wait(pidfd, MKE2FS_TIMEOUT_MS, &status, err) != 0) {
        (void)process_signal(pidfd, SIGKILL, NULL);
        (void)process_wait(pidfd, -1, NULL, NULL);
        return error_prefix(err, "mke2fs");
    }
    return status == 0 ? 0 : refused(words_fd, status, err);
}

int drive_make_ext4(const char *target, uint64_t size_bytes, struct error *err)
{
    bool exists = false;
    AUTO_PARTIAL partial = DRIVE_PARTIAL_INIT;
    if (drive_exists(target, &exists, ERR_ROOTFS_CREATE_FAILED, err) != 0) {
        return -1;
    }
    if (exists) {
        return 0;
    }
    if (size_bytes > INT64_MAX) {
        return error_set(err, ERR_ROOTFS_CREATE_FAILED, "no file can be that large");
    }
    uint64_t metadata =
        size_bytes / METADATA_SHARE < METADATA_MAX ? size_bytes / METADATA_SHARE : METADATA_MAX;
    if (drive_partial_make(target, &partial, ERR_ROOTFS_CREATE_FAILED, err) != 0 ||
        room_check(partial.fd, metadata, target, err) != 0) {
        return -1;
    }
    if (ftruncate(partial.fd, (off_t)size_bytes) != 0) {
        return error_sys(err, ERR_ROOTFS_CREATE_FAILED, errno, "cannot make %s that large", target);
    }
    if (run_mke2fs(partial.path, err) != 0) {
        return error_prefix(err, "cannot make %s", target);
    }
    return drive_partial_finish(&partial, target, ERR_ROOTFS_CREATE_FAILED, err);
}
