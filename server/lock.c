#include "server/lock.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000, RETRY_MS = 20 };

static const struct {
    const char *key, *file;
} kinds[] = {
    [LOCK_STATE_DIR] = {"state_dir", "lock"},
    [LOCK_RUN_DIR] = {"run_dir", "smartvmd.lock"},
};

static int refuse(int fd, enum lock_kind kind, const char *dir, struct error *err)
{
    char text[32] = "";
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    long pid = len > 0 ? strtol(text, NULL, 10) : 0;
    if (pid <= 0) {
        return error_set(err, ERR_CONFLICT, "%s: %s is that of another smartvmd", kinds[kind].key, dir);
    }
    return error_set(err, ERR_CONFLICT, "%s: %s is that of the smartvmd with pid %ld", kinds[kind].key, dir, pid);
}

static int write_pid(int fd, const char *path, struct error *err)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot write %s", path);
    }
    return 0;
}

/* 0 or the errno. */
static int set_lock(int fd)
{
    const struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if ((errno != EAGAIN && errno != EACCES) || clock_monotonic_ms() >= end_ms) {
            return errno;
        }
        (void)usleep(RETRY_MS * 1000);
    }
    return 0;
}

int lock_acquire(enum lock_kind kind, const char *dir, int *ret_fd, struct error *err)
{
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, kinds[kind].file) < 0) {
        path = NULL;
        return error_oom(err);
    }
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", path);
    }
    int errnum = set_lock(fd);
    if (errnum != 0) {
        return errnum == EAGAIN || errnum == EACCES ? refuse(fd, kind, dir, err) : error_sys(err, ERR_SYSTEM, errnum, "cannot lock %s", path);
    }
    if (write_pid(fd, path, err) < 0) {
        return -1;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}
