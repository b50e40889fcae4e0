/* Staging a copy of a base file. */
#include "host/store/drive.h"

#include "core/cleanup.h"
#include "host/store/drive_partial.h"
#include "host/store/room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum { COPY_BYTES = 1024 * 1024 };

static int copy_failed(int errnum, struct error *err)
{
    return error_sys(err, room_error_code(errnum, ERR_ROOTFS_CLONE_FAILED), errnum, "cannot copy");
}

static int write_whole(int fd, const char *bytes, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, at);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            bytes += n;
            at += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int copy_by_hand(int from, int to, off_t at, off_t end, struct error *err)
{
    AUTO_FREE char *buffer = malloc(COPY_BYTES);
    if (buffer == NULL) {
        return error_oom(err);
    }
    while (at < end) {
        size_t wanted = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        ssize_t n = pread(from, buffer, wanted, at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0 || write_whole(to, buffer, (size_t)n, at) != 0) {
            return copy_failed(n == 0 ? EIO : errno, err); /* 0: shorter than it was a moment ago */
        }
        at += n;
    }
    return 0;
}

static int copy_range(int from, int to, off_t at, off_t end, struct error *err)
{
    while (at < end) {
        off_t in = at;
        off_t out = at;
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
            return copy_failed(errno, err);
        }
        if (n <= 0 && errno != EINTR) { /* another file system, or a kernel that cannot: without its help, then */
            return copy_by_hand(from, to, at, end, err);
        }
        at += n > 0 ? n : 0;
    }
    return 0;
}

/* Copies what is data, leaves holes as holes. A file system without SEEK_DATA says that all is data. */
static int copy_sparse(int from, int to, off_t size, struct error *err)
{
    if (ftruncate(to, size) != 0) {
        return copy_failed(errno, err);
    }
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) {
            return 0; /* a hole up to the end */
        }
        off_t end = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
        if (end < 0) {
            return copy_failed(errno, err);
        }
        end = end < size ? end : size;
        if (copy_range(from, to, data, end, err) != 0) {
            return -1;
        }
        at = end;
    }
    return 0;
}

static int open_base(const char *base, int *ret, struct stat *st, struct error *err)
{
    AUTO_CLOSE int fd = open(base, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, st) != 0) {
        return error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "cannot open %s", base);
    }
    if (!S_ISREG(st->st_mode)) {
        return error_set(err, ERR_ROOTFS_CLONE_FAILED, "%s is not a file", base);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

static int copy_or_reflink(int from, const struct stat *st, struct drive_partial *partial, enum drive_method *ret_method, struct error *err)
{
    if (ioctl(partial->fd, FICLONE, from) == 0) {
        *ret_method = DRIVE_REFLINK;
        return 0;
    }
    uint64_t data = (uint64_t)st->st_blocks * 512; /* stat(2): always in units of 512 */
    data = data < (uint64_t)st->st_size ? data : (uint64_t)st->st_size;
    if (room_check(partial->fd, data, "the copy", err) != 0 || copy_sparse(from, partial->fd, st->st_size, err) != 0) {
        return -1;
    }
    *ret_method = DRIVE_SPARSE_COPY;
    return 0;
}

int drive_stage(const char *base, const char *target, enum drive_method *ret_method, struct error *err)
{
    bool exists = false;
    if (drive_exists(target, &exists, ERR_ROOTFS_CLONE_FAILED, err) != 0) {
        return -1;
    }
    if (exists) {
        *ret_method = DRIVE_EXISTED;
        return 0;
    }
    struct stat st = {0};
    enum drive_method method = DRIVE_EXISTED;
    AUTO_CLOSE int from = -1;
    AUTO_PARTIAL partial = DRIVE_PARTIAL_INIT;
    if (open_base(base, &from, &st, err) != 0 || drive_partial_make(target, &partial, ERR_ROOTFS_CLONE_FAILED, err) != 0) {
        return -1;
    }
    if (copy_or_reflink(from, &st, &partial, &method, err) != 0) {
        return error_prefix(err, "%s to %s", base, target);
    }
    if (drive_partial_finish(&partial, target, ERR_ROOTFS_CLONE_FAILED, err) != 0) {
        return -1;
    }
    *ret_method = method;
    return 0;
}
