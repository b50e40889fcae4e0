#include "host/store/room.h"

#include "core/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

static int memory_available(uint64_t *ret, struct error *err)
{
    AUTO_FCLOSE FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        uint64_t kib = 0;
        if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) { /* NOLINT(cert-err34-c) */
            *ret = kib * 1024;
            return 0;
        }
    }
    return error_set(err, ERR_SYSTEM, "/proc/meminfo does not tell the available memory");
}

static int room_left(int fd, uint64_t *ret, struct error *err)
{
    struct statfs fs;
    struct statvfs vfs;
    if (fstatfs(fd, &fs) != 0 || fstatvfs(fd, &vfs) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot find out how much room a file system has");
    }
    uint64_t left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC) {
        uint64_t memory = 0;
        if (memory_available(&memory, err) != 0) {
            return -1;
        }
        bool is_unbounded = vfs.f_blocks == 0;
        left = is_unbounded || memory < left ? memory : left;
    }
    *ret = left;
    return 0;
}

int room_check(int fd, uint64_t bytes, const char *what, struct error *err)
{
    uint64_t left = 0;
    if (room_left(fd, &left, err) != 0) {
        return -1;
    }
    if (bytes > left) {
        return error_set(err, ERR_INSUFFICIENT_STORAGE, "%s needs %" PRIu64 " bytes, and there is room for %" PRIu64, what, bytes, left);
    }
    return 0;
}

enum error_code room_error_code(int errnum, enum error_code otherwise)
{
    return errnum == ENOSPC || errnum == EDQUOT ? ERR_INSUFFICIENT_STORAGE : otherwise;
}
