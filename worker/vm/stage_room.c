/* What the staged drives may still grow by. */
#include "core/cleanup.h"
#include "worker/vm/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

enum { OTHERS_SHARE = 16 }; /* one part of so many is left to others */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t reserved; /* for drives that are being made */

/* An unfinished one has another name, and is among the reserved. */
static uint64_t promise_of(int root, const char *id)
{
    char path[300];
    struct stat st;
    (void)snprintf(path, sizeof path, "%.250s/rootfs", id);
    if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) {
        return 0;
    }
    const uint64_t held = (uint64_t)st.st_blocks * 512; /* stat(2): always in units of 512 */
    return (uint64_t)st.st_size > held ? (uint64_t)st.st_size - held : 0;
}

static int sum_promises(const char *root, uint64_t *ret, struct error *err)
{
    AUTO_CLOSEDIR DIR *dir = opendir(root);
    uint64_t sum = 0;
    if (dir == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be read", root);
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        sum += entry->d_name[0] != '.' ? promise_of(dirfd(dir), entry->d_name) : 0;
    }
    *ret = sum;
    return 0;
}

/* With the lock held. */
static int check(const char *root, uint64_t bytes, struct error *err)
{
    struct statfs fs;
    struct statvfs vfs;
    uint64_t promised = 0;
    if (statfs(root, &fs) != 0 || statvfs(root, &vfs) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot find out how much room %s has", root);
    }
    if (fs.f_type != TMPFS_MAGIC || vfs.f_blocks == 0) {
        return 0;
    }
    if (sum_promises(root, &promised, err) != 0) {
        return -1;
    }
    const uint64_t others = (uint64_t)vfs.f_blocks * vfs.f_frsize / OTHERS_SHARE;
    const uint64_t left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    if (promised + reserved + others + bytes > left) {
        return error_set(err, ERR_INSUFFICIENT_STORAGE,
                         "the drive may grow to %" PRIu64 " bytes; %s has %" PRIu64 " free, of which the other drives may take %" PRIu64 ", and %" PRIu64
                         " are left to others",
                         bytes, root, left, promised + reserved, others);
    }
    return 0;
}

int stage_reserve(const char *root, uint64_t bytes, struct error *err)
{
    (void)pthread_mutex_lock(&lock);
    int result = check(root, bytes, err);
    reserved += result == 0 ? bytes : 0;
    (void)pthread_mutex_unlock(&lock);
    return result;
}

void stage_release(uint64_t bytes)
{
    (void)pthread_mutex_lock(&lock);
    reserved -= bytes;
    (void)pthread_mutex_unlock(&lock);
}
