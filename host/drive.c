#include "host/drive.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

enum { TMPFS_MAGIC_NUMBER = 0x01021994, COPY_BYTES = 1 << 20, PATH_BYTES = 4096 };

/* Kept free when a copy is made in memory: the host has other things to do. */
static const uint64_t memory_reserve = 64ULL << 20;

static uint64_t memory_available(void)
{
    AUTO_FCLOSE FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    uint64_t kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) {
            return kib << 10;
        }
    }
    return UINT64_MAX;
}

/* Before anything is touched: `bytes` are what the base really occupies, holes left out. */
static int check_room(int fd, const char *target, uint64_t bytes, struct error *err)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0) {
        return error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "%s", target);
    }
    uint64_t room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    if (fs.f_type == TMPFS_MAGIC_NUMBER) {
        uint64_t memory = memory_available();
        memory = memory > memory_reserve ? memory - memory_reserve : 0;
        room = memory < room ? memory : room;
    }
    if (bytes > room) {
        return error_set(err, ERR_INSUFFICIENT_STORAGE, "%s needs %" PRIu64 " bytes, %" PRIu64 " are free", target,
                         bytes, room);
    }
    return 0;
}

static int copy_range(int from, int to, off_t begin, off_t end, struct error *err)
{
    AUTO_FREE char *buffer = NULL;
    off_t at = begin;
    while (at < end) {
        loff_t in = at;
        loff_t out = at;
        size_t want = (size_t)(end - at < COPY_BYTES ? end - at : COPY_BYTES);
        ssize_t n = buffer == NULL ? copy_file_range(from, &in, to, &out, want, 0) : -1;
        if (n <= 0) {
            /* Not between these two file systems: by hand from here on. */
            buffer = buffer != NULL ? buffer : malloc(COPY_BYTES);
            if (buffer == NULL) {
                return error_oom(err);
            }
            n = pread(from, buffer, want, at);
            if (n > 0) {
                n = pwrite(to, buffer, (size_t)n, at);
            }
        }
        if (n <= 0) {
            bool full = n < 0 && (errno == ENOSPC || errno == EDQUOT);
            return error_sys(err, full ? ERR_INSUFFICIENT_STORAGE : ERR_ROOTFS_CLONE_FAILED, n < 0 ? errno : EIO,
                             "the base could not be copied");
        }
        at += n;
    }
    return 0;
}

static int copy_sparse(int from, int to, off_t size, struct error *err)
{
    if (ftruncate(to, size) != 0) {
        return error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "the copy could not be given its size");
    }
    off_t at = 0;
    while (at < size) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) {
            return errno == ENXIO ? 0 : error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "the base could not be read");
        }
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0) {
            return error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "the base could not be read");
        }
        if (copy_range(from, to, data, hole, err) != 0) {
            return -1;
        }
        at = hole;
    }
    return 0;
}

static int copy(int from, int to, const char *target, enum drive_method *ret_method, struct error *err)
{
    struct stat st;
    if (fstat(from, &st) != 0 || !S_ISREG(st.st_mode)) {
        return error_set(err, ERR_ROOTFS_CLONE_FAILED, "the base of %s is not a regular file", target);
    }
    if (ioctl(to, FICLONE, from) == 0) {
        *ret_method = DRIVE_REFLINK;
        return 0;
    }
    *ret_method = DRIVE_SPARSE_COPY;
    if (check_room(to, target, (uint64_t)st.st_blocks * 512, err) != 0) {
        return -1;
    }
    return copy_sparse(from, to, st.st_size, err);
}

/* A file of that name that does not exist yet, mode 0600. */
static int open_temporary(const char *target, char *path, size_t size, enum error_code code, struct error *err)
{
    int len = snprintf(path, size, "%s.new", target);
    if (len < 0 || (size_t)len >= size) {
        return error_set(err, code, "the path of the drive is too long");
    }
    (void)unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)error_sys(err, code, errno, "%s could not be made", path);
    }
    return fd;
}

int drive_stage(const char *base, const char *target, enum drive_method *ret_method, struct error *err)
{
    char temporary[PATH_BYTES];
    struct stat st;
    if (lstat(target, &st) == 0) {
        *ret_method = DRIVE_SPARSE_COPY;
        return 0;
    }
    AUTO_CLOSE int from = open(base, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (from < 0) {
        return error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "%s could not be opened", base);
    }
    AUTO_CLOSE int to = open_temporary(target, temporary, sizeof temporary, ERR_ROOTFS_CLONE_FAILED, err);
    if (to < 0) {
        return -1;
    }
    int result = copy(from, to, target, ret_method, err);
    if (result == 0 && rename(temporary, target) != 0) {
        result = error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "%s could not be put in place", target);
    }
    if (result != 0) {
        (void)unlink(temporary);
    }
    return result;
}

static int run_mke2fs(char *path, struct error *err)
{
    char program[] = "mke2fs";
    char quiet[] = "-q";
    char force[] = "-F";
    char type_flag[] = "-t";
    char type[] = "ext4";
    char *const argv[] = {program, quiet, force, type_flag, type, path, NULL};
    char search[] = "PATH=/usr/sbin:/sbin:/usr/bin:/bin";
    char *const env[] = {search, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int status = 0;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawn(&pid, "/usr/sbin/mke2fs", &actions, NULL, argv, env);
    if (rc == ENOENT) {
        rc = posix_spawn(&pid, "/sbin/mke2fs", &actions, NULL, argv, env);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        return error_sys(err, ERR_ROOTFS_CREATE_FAILED, rc, "mke2fs could not be started");
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0 ? 0 : error_set(err, ERR_ROOTFS_CREATE_FAILED, "mke2fs failed with status %d", status);
}

int drive_make_ext4(const char *target, uint64_t size_bytes, struct error *err)
{
    char temporary[PATH_BYTES];
    AUTO_CLOSE int fd = open_temporary(target, temporary, sizeof temporary, ERR_ROOTFS_CREATE_FAILED, err);
    if (fd < 0) {
        return -1;
    }
    int result = 0;
    if (ftruncate(fd, (off_t)size_bytes) != 0) {
        result = error_sys(err, ERR_ROOTFS_CREATE_FAILED, errno, "%s could not be given its size", target);
    } else {
        result = run_mke2fs(temporary, err);
    }
    if (result == 0 && rename(temporary, target) != 0) {
        result = error_sys(err, ERR_ROOTFS_CREATE_FAILED, errno, "%s could not be put in place", target);
    }
    if (result != 0) {
        (void)unlink(temporary);
    }
    return result;
}

int drive_remove(const char *target, struct error *err)
{
    if (unlink(target) != 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be removed", target);
    }
    return 0;
}
