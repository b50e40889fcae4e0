/* Who is in a VM's cgroup, and its end. */
#include "host/process/cgroup.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/cgroup_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <time.h>

enum {
    REMOVE_TIMEOUT_MS = 5000, /* the kernel first frees the memory of a killed VM */
    REMOVE_PAUSE_MAX_MS = 50,
    SHIMS_TRIES = 50,  /* 2 ms apart */
    KILL_AT_ONCE = 64, /* pids in one round where cgroup.kill is missing */
};

struct members {
    pid_t *pids;
    size_t max;
    size_t count;
};

static void add_member(pid_t pid, void *ctx)
{
    struct members *members = ctx;
    if (members->count < members->max) {
        members->pids[members->count++] = pid;
    }
}

/* A cgroup may go away between two looks at it, and a VM may have a name that is none of ours. */
static bool is_gone(int errnum)
{
    return errnum == ENOENT || errnum == ENODEV || errnum == ENOTDIR;
}

int cgroup_pids(const char *mark, const char *id, pid_t *ret, size_t max, size_t *ret_count, bool *ret_exists, struct error *err)
{
    AUTO_CLOSE int mark_fd = -1;
    if (cgroup_name_check(id, err) != 0 || cgroup_mark_open(mark, &mark_fd, err) != 0) {
        return -1;
    }
    struct members members = {.pids = ret, .max = max};
    AUTO_CLOSE int dir = mark_fd < 0 ? -1 : cgroup_dir_open(mark_fd, id);
    bool exists = dir >= 0 && cgroup_each_pid(dir, add_member, &members) >= 0;
    if (mark_fd >= 0 && !exists && !is_gone(errno)) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read the cgroup of %s", id);
    }
    *ret_count = exists ? members.count : 0;
    *ret_exists = exists;
    return 0;
}

struct listing {
    const char *id;
    void (*found)(const char *id, pid_t pid, void *ctx);
    void *ctx;
};

static void list_pid(pid_t pid, void *ctx)
{
    const struct listing *listing = ctx;
    listing->found(listing->id, pid, listing->ctx);
}

static int list_one(int mark_fd, struct listing *listing, struct error *err)
{
    AUTO_CLOSE int dir = cgroup_dir_open(mark_fd, listing->id);
    ssize_t count = dir < 0 ? -1 : cgroup_each_pid(dir, list_pid, listing);
    if (count < 0 && !is_gone(errno)) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read the cgroup of %s", listing->id);
    }
    if (count == 0) {
        listing->found(listing->id, 0, listing->ctx);
    }
    return 0;
}

int cgroup_list(const char *mark, void (*found)(const char *id, pid_t pid, void *ctx), void *ctx, struct error *err)
{
    AUTO_CLOSE int mark_fd = -1;
    if (cgroup_mark_open(mark, &mark_fd, err) != 0) {
        return -1;
    }
    if (mark_fd < 0) {
        return 0;
    }
    AUTO_CLOSEDIR DIR *dir = fdopendir(mark_fd);
    if (dir == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot list the cgroup %s", mark);
    }
    (void)TAKE_FD(mark_fd); /* the stream owns it now */
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot list the cgroup %s", mark);
        }
        struct listing listing = {entry->d_name, found, ctx};
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && list_one(dirfd(dir), &listing, err) != 0) {
            return -1;
        }
    }
}

static bool contains(const struct members *members, pid_t pid)
{
    for (size_t i = 0; i < members->count; i++) {
        if (members->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

/* Who is still listed after its pidfd was opened is the one that the pidfd holds: only that one is killed. */
static void kill_one_by_one(int dir)
{
    pid_t before[KILL_AT_ONCE];
    pid_t after[KILL_AT_ONCE];
    int pidfds[KILL_AT_ONCE];
    struct members first = {.pids = before, .max = KILL_AT_ONCE};
    struct members second = {.pids = after, .max = KILL_AT_ONCE};
    (void)cgroup_each_pid(dir, add_member, &first);
    for (size_t i = 0; i < first.count; i++) {
        pidfds[i] = pidfd_open(first.pids[i], 0);
    }
    (void)cgroup_each_pid(dir, add_member, &second);
    for (size_t i = 0; i < first.count; i++) {
        if (pidfds[i] >= 0 && contains(&second, first.pids[i])) {
            (void)pidfd_send_signal(pidfds[i], SIGKILL, NULL, 0);
        }
        cleanup_close(&pidfds[i]);
    }
}

static void kill_all(int mark_fd, const char *id)
{
    AUTO_CLOSE int dir = cgroup_dir_open(mark_fd, id);
    if (dir >= 0 && cgroup_control_write(dir, "cgroup.kill", "1") != 0) { /* since Linux 5.14 */
        kill_one_by_one(dir);
    }
}

static bool has_vms(int mark_fd)
{
    int fd = openat(mark_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (const struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL; entry = readdir(dir)) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            return true;
        }
    }
    return false;
}

/* With the last VM goes the cgroup of the shims, as soon as its own has ended. A start that comes in between makes it anew. */
static void remove_shims(int mark_fd)
{
    const struct timespec pause = {.tv_nsec = 2000000L};
    for (int i = 0; i < SHIMS_TRIES && unlinkat(mark_fd, CGROUP_SHIMS, AT_REMOVEDIR) != 0 && errno == EBUSY && !has_vms(mark_fd); i++) {
        (void)nanosleep(&pause, NULL);
    }
}

int cgroup_remove(const char *mark, const char *id, struct error *err)
{
    AUTO_CLOSE int mark_fd = -1;
    if (cgroup_name_check(id, err) != 0 || cgroup_mark_open(mark, &mark_fd, err) != 0) {
        return -1;
    }
    int64_t deadline = clock_monotonic_ms() + REMOVE_TIMEOUT_MS;
    for (long pause_ms = 1; mark_fd >= 0; pause_ms = pause_ms >= REMOVE_PAUSE_MAX_MS ? pause_ms : pause_ms * 2) {
        if (unlinkat(mark_fd, id, AT_REMOVEDIR) == 0 || errno == ENOENT) {
            remove_shims(mark_fd);
            return 0;
        }
        if (errno != EBUSY || clock_monotonic_ms() > deadline) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot remove the cgroup of %s", id);
        }
        kill_all(mark_fd, id);
        const struct timespec pause = {.tv_nsec = pause_ms * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

int cgroup_remove_mark(const char *mark, struct error *err)
{
    char mount[256];
    AUTO_CLOSE int fd = -1;
    if (cgroup_name_check(mark, err) != 0 || cgroup_mount_open(mount, sizeof mount, &fd, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int mark_fd = fd >= 0 ? cgroup_dir_open(fd, mark) : -1;
    if (mark_fd >= 0) {
        remove_shims(mark_fd);
    }
    if (fd < 0 || unlinkat(fd, mark, AT_REMOVEDIR) == 0 || errno == ENOENT || errno == EBUSY || errno == ENOTEMPTY) {
        return 0;
    }
    return error_sys(err, ERR_SYSTEM, errno, "cannot remove the cgroup %s/%s", mount, mark);
}
