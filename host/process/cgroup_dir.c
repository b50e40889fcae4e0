#include "host/process/cgroup_dir.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

/* A line of mountinfo, proc(5): six fixed fields, optional ones up to "-", then type, source and super
 * options. */
enum { FIELD_MOUNT_POINT = 4 };

/* A mount point has space, tab, newline and backslash as three octal digits behind a backslash. */
static bool unescape(const char *text, char *buf, size_t size)
{
    size_t len = 0;
    for (const char *at = text; *at != '\0'; len++) {
        if (len + 1 >= size) {
            return false;
        }
        if (at[0] == '\\' && strspn(at + 1, "01234567") >= 3) {
            buf[len] = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 4;
        } else {
            buf[len] = *at++;
        }
    }
    buf[len] = '\0';
    return true;
}

/* Takes the line apart; the mount point is left escaped. */
static bool is_cgroup2(char *line, const char **ret_mount_point)
{
    static const char type[] = " - cgroup2 ";
    const char *after_options = strstr(line, " - ");
    if (after_options == NULL || strncmp(after_options, type, strlen(type)) != 0) {
        return false;
    }
    char *rest = line;
    for (int i = 0; i <= FIELD_MOUNT_POINT; i++) {
        *ret_mount_point = strsep(&rest, " ");
    }
    return *ret_mount_point != NULL;
}

static int open_if_usable(const char *mount_point)
{
    struct statfs fs;
    struct statvfs vfs;
    AUTO_CLOSE int fd = cgroup_dir_open(AT_FDCWD, mount_point);
    if (fd < 0 || fstatfs(fd, &fs) != 0 || fs.f_type != CGROUP2_SUPER_MAGIC || fstatvfs(fd, &vfs) != 0 || (vfs.f_flag & ST_RDONLY) != 0) {
        return -1;
    }
    return TAKE_FD(fd);
}

/* Where it was last: a host of many VMs has many mounts, and is asked about each VM. It is looked at anew each time, not believed. */
static struct {
    pthread_mutex_t lock;
    char path[PATH_MAX];
} last_mount = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int open_last(char *buf, size_t size)
{
    (void)pthread_mutex_lock(&last_mount.lock);
    int len = snprintf(buf, size, "%s", last_mount.path);
    (void)pthread_mutex_unlock(&last_mount.lock);
    return len > 0 && (size_t)len < size ? open_if_usable(buf) : -1;
}

static void remember(const char *path)
{
    (void)pthread_mutex_lock(&last_mount.lock);
    (void)snprintf(last_mount.path, sizeof last_mount.path, "%s", path);
    (void)pthread_mutex_unlock(&last_mount.lock);
}

int cgroup_mount_open(char *buf, size_t size, int *ret_fd, struct error *err)
{
    *ret_fd = open_last(buf, size);
    if (*ret_fd >= 0) {
        return 0;
    }
    AUTO_FCLOSE FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (mounts == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read /proc/self/mountinfo");
    }
    AUTO_FREE char *line = NULL;
    size_t line_size = 0;
    int fd = -1;
    while (fd < 0 && getline(&line, &line_size, mounts) > 0) {
        const char *mount_point = NULL;
        if (is_cgroup2(line, &mount_point) && unescape(mount_point, buf, size)) {
            fd = open_if_usable(buf);
        }
    }
    if (fd < 0) {
        buf[0] = '\0';
    }
    remember(buf);
    *ret_fd = fd;
    return 0;
}

int cgroup_mark_open(const char *mark, int *ret_fd, struct error *err)
{
    char mount[PATH_MAX];
    AUTO_CLOSE int mount_fd = -1;
    if (cgroup_name_check(mark, err) != 0 || cgroup_mount_open(mount, sizeof mount, &mount_fd, err) != 0) {
        return -1;
    }
    int fd = mount_fd < 0 ? -1 : cgroup_dir_open(mount_fd, mark);
    if (mount_fd >= 0 && fd < 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open the cgroup %s/%s", mount, mark);
    }
    *ret_fd = fd;
    return 0;
}

int cgroup_dir_open(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

int cgroup_name_check(const char *name, struct error *err)
{
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL || strlen(name) > NAME_MAX) {
        return error_set(err, ERR_SYSTEM, "\"%s\" is no name for a cgroup", name);
    }
    return 0;
}

int cgroup_control_read(int dir, const char *name, char *buf, size_t size)
{
    AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    buf[n < 0 ? 0 : n] = '\0';
    return n < 0 ? -1 : 0;
}

int cgroup_control_write(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = write(fd, text, strlen(text)) < 0 ? -1 : 0;
    int errnum = errno;
    (void)close(fd);
    errno = errnum;
    return result;
}

ssize_t cgroup_each_pid(int dir, void (*found)(pid_t pid, void *ctx), void *ctx)
{
    AUTO_CLOSE int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    AUTO_FCLOSE FILE *procs = fd < 0 ? NULL : fdopen(fd, "r");
    if (procs == NULL) {
        return -1;
    }
    (void)TAKE_FD(fd); /* the stream owns it now */
    char line[32];
    ssize_t count = 0;
    while (fgets(line, sizeof line, procs) != NULL) {
        long pid = strtol(line, NULL, 10);
        if (pid > 0) { /* 0: a process of a PID namespace that is not ours to see */
            found((pid_t)pid, ctx);
            count++;
        }
    }
    return ferror(procs) != 0 ? -1 : count;
}
