#include "host/vmm/console.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const char *const fifo_names[] = {"console.in", "console.out", "vmm.out"};

static int open_dir(const char *dir, int *ret, struct error *err)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", dir);
    }
    *ret = fd;
    return 0;
}

int console_make_fifos(const char *dir, struct error *err)
{
    AUTO_CLOSE int dir_fd = -1;
    if (open_dir(dir, &dir_fd, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(fifo_names); i++) {
        struct stat st;
        if (mkfifoat(dir_fd, fifo_names[i], 0600) == 0) {
            continue;
        }
        if (errno != EEXIST) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot make the FIFO %s/%s", dir, fifo_names[i]);
        }
        if (fstatat(dir_fd, fifo_names[i], &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISFIFO(st.st_mode)) {
            return error_set(err, ERR_SYSTEM, "%s/%s is there and not a FIFO", dir, fifo_names[i]);
        }
    }
    return 0;
}

/* Opens a file of the wanted type (S_IFIFO, S_IFREG) in `dir`. Nothing here ever blocks in open(2). */
static int open_typed(const char *dir, const char *name, int flags, mode_t type, int *ret, struct error *err)
{
    AUTO_CLOSE int dir_fd = -1;
    if (open_dir(dir, &dir_fd, err) != 0) {
        return -1;
    }
    struct stat st;
    AUTO_CLOSE int fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0644);
    if (fd < 0 || fstat(fd, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s/%s", dir, name);
    }
    if ((st.st_mode & S_IFMT) != type) {
        return error_set(err, ERR_SYSTEM, "%s/%s is not a %s", dir, name, type == S_IFIFO ? "FIFO" : "file");
    }
    *ret = TAKE_FD(fd);
    return 0;
}

int console_open_vmm_ends(const char *dir, int *ret_in, int *ret_out, int *ret_vmm, struct error *err)
{
    AUTO_CLOSE int in = -1;
    AUTO_CLOSE int out = -1;
    AUTO_CLOSE int vmm = -1;
    if (open_typed(dir, "console.in", O_RDWR, S_IFIFO, &in, err) != 0 || open_typed(dir, "console.out", O_RDWR | O_NONBLOCK, S_IFIFO, &out, err) != 0 ||
        open_typed(dir, "vmm.out", O_RDWR | O_NONBLOCK, S_IFIFO, &vmm, err) != 0) {
        return -1;
    }
    *ret_in = TAKE_FD(in);
    *ret_out = TAKE_FD(out);
    *ret_vmm = TAKE_FD(vmm);
    return 0;
}

int console_open_readers(const char *dir, int *ret_out, int *ret_vmm, struct error *err)
{
    AUTO_CLOSE int out = -1;
    if (open_typed(dir, "console.out", O_RDONLY | O_NONBLOCK, S_IFIFO, &out, err) != 0 ||
        open_typed(dir, "vmm.out", O_RDONLY | O_NONBLOCK, S_IFIFO, ret_vmm, err) != 0) {
        return -1;
    }
    *ret_out = TAKE_FD(out);
    return 0;
}

int console_open_input(const char *dir, int *ret, struct error *err)
{
    return open_typed(dir, "console.in", O_WRONLY | O_NONBLOCK, S_IFIFO, ret, err);
}

int console_log_open(const char *dir, const char *name, int *ret, struct error *err)
{
    AUTO_CLOSE int fd = -1;
    if (open_typed(dir, name, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK, S_IFREG, &fd, err) != 0) {
        return -1;
    }
    if (fchmod(fd, 0644) != 0) { /* whatever the umask is */
        return error_sys(err, ERR_SYSTEM, errno, "cannot set the mode of %s/%s", dir, name);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

int console_log_open_read(const char *dir, const char *name, int *ret, struct error *err)
{
    return open_typed(dir, name, O_RDONLY | O_NONBLOCK, S_IFREG, ret, err);
}

static int append(int fd, const char *bytes, size_t len, struct error *err)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot write the console log");
        }
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int log_size(int fd, uint64_t *ret, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot look at the console log");
    }
    *ret = (uint64_t)st.st_size;
    return 0;
}

/* The kept part begins with a whole page, since only whole pages are given back. */
static uint64_t kept_from(uint64_t end, uint64_t max_bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return end <= max_bytes ? 0 : (end - max_bytes) / page * page;
}

static int start_again(int fd, const char *bytes, size_t len, uint64_t max_bytes, uint64_t *ret_end, struct error *err)
{
    size_t kept = len <= max_bytes ? len : (size_t)max_bytes;
    if (ftruncate(fd, 0) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot empty the console log");
    }
    if (append(fd, bytes + (len - kept), kept, err) != 0) {
        return -1;
    }
    *ret_end = kept;
    return 0;
}

int console_log_append(int fd, const void *bytes, size_t len, uint64_t max_bytes, uint64_t *ret_end, struct error *err)
{
    uint64_t end = 0;
    struct error problem;
    if (append(fd, bytes, len, &problem) != 0) {
        if (problem.sys_errno == EFBIG) { /* positions have an end, too: 16 TiB on ext4 */
            return start_again(fd, bytes, len, max_bytes, ret_end, err);
        }
        return error_sys(err, problem.code, problem.sys_errno, "cannot write the console log");
    }
    if (log_size(fd, &end, err) != 0) {
        return -1;
    }
    uint64_t from = kept_from(end, max_bytes);
    uint64_t from_before = kept_from(end - (len < end ? len : end), max_bytes);
    if (from > from_before && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)from) != 0) {
        if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EPERM) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot give back the old part of the console log");
        }
        return start_again(fd, bytes, len, max_bytes, ret_end, err);
    }
    *ret_end = end;
    return 0;
}

int console_log_begin(int fd, uint64_t max_bytes, uint64_t *ret_begin, uint64_t *ret_end, struct error *err)
{
    uint64_t end = 0;
    if (log_size(fd, &end, err) != 0) {
        return -1;
    }
    off_t data = lseek(fd, 0, SEEK_DATA);
    if (data < 0 && errno != ENXIO && errno != EINVAL) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot look for the kept part of the console log");
    }
    uint64_t begin = kept_from(end, max_bytes);
    if (data < 0 && errno == ENXIO) {
        begin = end; /* nothing at all is there */
    } else if (data > 0 && (uint64_t)data > begin) {
        begin = (uint64_t)data;
    }
    *ret_begin = begin < end ? begin : end;
    *ret_end = end;
    return 0;
}
