#include "host/store/drive_partial.h"

#include "core/cleanup.h"
#include "host/store/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int drive_partial_path(const char *target, char *buf, size_t size, enum error_code code, struct error *err)
{
    int len = snprintf(buf, size, "%s.partial", target);
    if (len < 0 || (size_t)len >= size || target[0] != '/') {
        return error_set(err, code, "%s is not a path for a drive", target);
    }
    return 0;
}

int drive_partial_make(const char *target, struct drive_partial *ret, enum error_code code, struct error *err)
{
    struct drive_partial partial;
    if (drive_partial_path(target, partial.path, sizeof partial.path, code, err) != 0) {
        return -1;
    }
    (void)unlink(partial.path);
    partial.fd = open(partial.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (partial.fd < 0) {
        return error_sys(err, room_error_code(errno, code), errno, "cannot make %s", partial.path);
    }
    *ret = partial;
    return 0;
}

int drive_partial_finish(struct drive_partial *partial, const char *target, enum error_code code, struct error *err)
{
    if (rename(partial->path, target) != 0) {
        return error_sys(err, code, errno, "cannot rename %s", partial->path);
    }
    partial->path[0] = '\0';
    return 0;
}

void drive_partial_drop(struct drive_partial *partial)
{
    cleanup_close(&partial->fd);
    partial->fd = -1;
    if (partial->path[0] != '\0') {
        (void)unlink(partial->path);
    }
}

int drive_exists(const char *target, bool *ret, enum error_code code, struct error *err)
{
    struct stat st;
    if (lstat(target, &st) == 0) {
        *ret = true;
        return S_ISREG(st.st_mode) ? 0 : error_set(err, code, "%s is there and not a file", target);
    }
    if (errno != ENOENT) {
        return error_sys(err, code, errno, "cannot look at %s", target);
    }
    *ret = false;
    return 0;
}
