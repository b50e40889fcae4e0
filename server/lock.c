#include "server/lock.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(int fd, const char *state_dir, struct error *err)
{
    char text[32] = "";
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    long pid = len > 0 ? strtol(text, NULL, 10) : 0;
    if (pid <= 0) {
        return error_set(err, ERR_CONFLICT, "another smartvmd uses %s", state_dir);
    }
    return error_set(err, ERR_CONFLICT, "another smartvmd (pid %ld) uses %s", pid, state_dir);
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

int lock_acquire(const char *state_dir, int *ret_fd, struct error *err)
{
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "%s/lock", state_dir) < 0) {
        path = NULL;
        return error_oom(err);
    }
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", path);
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno == EAGAIN || errno == EACCES) {
            return refuse(fd, state_dir, err);
        }
        return error_sys(err, ERR_SYSTEM, errno, "cannot lock %s", path);
    }
    if (write_pid(fd, path, err) < 0) {
        return -1;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}
