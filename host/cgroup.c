#include "host/cgroup.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/cgroup_mount.h"
#include "host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

enum {
    REMOVE_TIMEOUT_MS = 5000, /* a process may need that long to die while the kernel frees its memory */
    KILL_AT_ONCE = 64,        /* pids looked at in one round of killing */
    CONTROL_TEXT_MAX = 512,   /* cgroup.controllers: a line of a dozen names */
};

static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL && strlen(name) <= NAME_MAX;
}

static int check_names(const char *mark, const char *id, struct error *err)
{
    if (!is_plain_name(mark) || !is_plain_name(id)) {
        return error_set(err, ERR_SYSTEM, "\"%s/%s\" is no name for a cgroup", mark, id);
    }
    return 0;
}

static int open_dir_at(int dir, const char *name)
{
    return openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* The directory <mount>/<mark>; *ret_fd -1 where there is none. */
static int open_mark(const char *mark, int *ret_fd, struct error *err)
{
    char mount[PATH_MAX];
    *ret_fd = -1;
    if (cgroup_mount_find(mount, sizeof mount, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int mount_fd = mount[0] == '\0' ? -1 : open_dir_at(AT_FDCWD, mount);
    if (mount_fd < 0) {
        return 0;
    }
    *ret_fd = open_dir_at(mount_fd, mark);
    if (*ret_fd < 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open the cgroup %s/%s", mount, mark);
    }
    return 0;
}

static int read_control(int dir, const char *name, char *buf, size_t size)
{
    AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    buf[n < 0 ? 0 : n] = '\0';
    return n < 0 ? -1 : 0;
}

static int write_control(int dir, const char *name, const char *text)
{
    AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) >= 0 ? 0 : -1;
}

static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += len) {
        if ((at == text || at[-1] == ' ') && strchr(" \n", at[len]) != NULL) {
            return true;
        }
    }
    return false;
}

int cgroup_probe(struct cgroup_support *ret, struct error *err)
{
    struct cgroup_support support = {0};
    if (cgroup_mount_find(support.mount, sizeof support.mount, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int mount_fd = support.mount[0] == '\0' ? -1 : open_dir_at(AT_FDCWD, support.mount);
    char controllers[CONTROL_TEXT_MAX] = "";
    if (mount_fd >= 0) {
        support.mounted = true;
        (void)read_control(mount_fd, "cgroup.controllers", controllers, sizeof controllers);
    }
    support.memory = has_word(controllers, "memory");
    support.cpu = has_word(controllers, "cpu");
    support.pids = has_word(controllers, "pids");
    *ret = support;
    return 0;
}

/* One by one, so that a controller that cannot be had does not keep the others back. */
static void hand_down_controllers(int dir)
{
    static const char *const wanted[] = {"+memory", "+cpu", "+pids"};
    char there[CONTROL_TEXT_MAX] = "";
    char enabled[CONTROL_TEXT_MAX] = "";
    (void)read_control(dir, "cgroup.controllers", there, sizeof there);
    (void)read_control(dir, "cgroup.subtree_control", enabled, sizeof enabled);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (has_word(there, wanted[i] + 1) && !has_word(enabled, wanted[i] + 1)) {
            (void)write_control(dir, "cgroup.subtree_control", wanted[i]);
        }
    }
}

/* The descriptor of the directory, made when missing; -1 with errno otherwise. */
static int make_dir(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) {
        return -1;
    }
    return open_dir_at(parent, name);
}

static int set_memory_max(int dir, uint64_t memory_max, struct error *err)
{
    char text[32] = "max";
    if (memory_max > 0) {
        (void)snprintf(text, sizeof text, "%" PRIu64, memory_max);
    }
    if (write_control(dir, "memory.max", text) != 0 && errno != ENOENT && errno != EACCES) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot limit the memory of a cgroup to %s", text);
    }
    return 0;
}

int cgroup_ensure(const char *mark, const char *id, uint64_t memory_max, int *ret_fd, struct error *err)
{
    char mount[PATH_MAX];
    if (check_names(mark, id, err) != 0 || cgroup_mount_find(mount, sizeof mount, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int mount_fd = mount[0] == '\0' ? -1 : open_dir_at(AT_FDCWD, mount);
    if (mount_fd < 0) {
        *ret_fd = -1;
        return 0;
    }
    hand_down_controllers(mount_fd);
    AUTO_CLOSE int mark_fd = make_dir(mount_fd, mark);
    if (mark_fd >= 0) {
        hand_down_controllers(mark_fd);
    }
    AUTO_CLOSE int fd = mark_fd < 0 ? -1 : make_dir(mark_fd, id);
    if (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM)) {
        *ret_fd = -1; /* a container's view of its host's cgroups */
        return 0;
    }
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make the cgroup %s/%s/%s", mount, mark, id);
    }
    if (set_memory_max(fd, memory_max, err) != 0) {
        return -1;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Calls `found` for each pid in the cgroup `dir` and returns how many; -1 with errno when it cannot be read. */
static ssize_t each_pid(int dir, void (*found)(pid_t pid, void *ctx), void *ctx)
{
    int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    AUTO_FCLOSE FILE *procs = fd < 0 ? NULL : fdopen(fd, "r");
    if (procs == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    char line[32];
    ssize_t count = 0;
    while (fgets(line, sizeof line, procs) != NULL) {
        long pid = strtol(line, NULL, 10);
        if (pid > 0) { /* 0: of a PID namespace that we do not see */
            found((pid_t)pid, ctx);
            count++;
        }
    }
    return ferror(procs) != 0 ? -1 : count;
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

static bool is_gone(int errnum)
{
    return errnum == ENOENT || errnum == ENODEV || errnum == ENOTDIR;
}

static int list_one(int mark_fd, struct listing *listing, struct error *err)
{
    AUTO_CLOSE int dir = open_dir_at(mark_fd, listing->id);
    ssize_t count = dir < 0 ? -1 : each_pid(dir, list_pid, listing);
    if (count < 0 && !is_gone(errno)) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read the cgroup of %s", listing->id);
    }
    if (count == 0) {
        listing->found(listing->id, 0, listing->ctx);
    }
    return 0;
}

int cgroup_list(const char *mark, void (*found)(const char *id, pid_t pid, void *ctx), void *ctx,
                struct error *err)
{
    AUTO_CLOSE int mark_fd = -1;
    if (open_mark(mark, &mark_fd, err) != 0 || mark_fd < 0) {
        return mark_fd < 0 ? 0 : -1;
    }
    int dup_fd = fcntl(mark_fd, F_DUPFD_CLOEXEC, 0);
    AUTO_CLOSEDIR DIR *dir = dup_fd < 0 ? NULL : fdopendir(dup_fd);
    if (dir == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot list the cgroup %s", mark);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot list the cgroup %s", mark);
        }
        struct listing listing = {entry->d_name, found, ctx};
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && list_one(mark_fd, &listing, err) != 0) {
            return -1;
        }
    }
}
