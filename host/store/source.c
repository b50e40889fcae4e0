#include "host/store/source.h"

#include "core/cleanup.h"
#include "host/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static bool has_dot_dot(const char *path)
{
    for (const char *at = path; (at = strstr(at, "..")) != NULL; at += 2) {
        if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool is_below(const char *path, const char *root)
{
    size_t len = strlen(root);
    while (len > 0 && root[len - 1] == '/') {
        len--;
    }
    return root[0] == '/' && strncmp(path, root, len) == 0 && path[len] == '/' && path[len + 1] != '\0';
}

/* The path of an opened file as this process sees it; "" when it has none. */
static void path_of(int fd, char *buf, size_t size)
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, buf, size);
    buf[n <= 0 || (size_t)n >= size ? 0 : n] = '\0';
}

/* Below one of the roots, as the roots are written or as they really lie (a root may be a symbolic link). */
static bool is_allowed(const char *const *roots, size_t root_count, const char *path, bool as_written)
{
    for (size_t i = 0; i < root_count; i++) {
        char real[PATH_MAX];
        AUTO_CLOSE int fd = open(roots[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        path_of(fd, real, sizeof real);
        if (is_below(path, real) || (as_written && is_below(path, roots[i]))) {
            return true;
        }
    }
    return false;
}

static int not_allowed(const char *path, const char *why, struct error *err)
{
    return error_set(err, ERR_PATH_NOT_ALLOWED, "%s %s", path, why);
}

static int open_path(const char *path, int *ret, struct error *err)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    if (fd >= 0) {
        *ret = (int)fd;
        return 0;
    }
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return error_sys(err, ERR_INVALID_MANIFEST, errno, "cannot open %s", path);
    case ELOOP:
    case EACCES:
    case ENAMETOOLONG:
        return error_sys(err, ERR_PATH_NOT_ALLOWED, errno, "cannot open %s", path);
    default:
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", path);
    }
}

/* The very file that the descriptor holds. O_NONBLOCK: not even a lease that somebody holds on it makes us
 * wait. */
static int open_for_reading(int held, const char *path, int *ret, struct error *err)
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", held);
    int fd = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read %s", path);
    }
    *ret = fd;
    return 0;
}

int store_source_open(const char *const *roots, size_t root_count, const char *path, int *ret, struct stat *ret_stat, struct error *err)
{
    if (path[0] != '/' || has_dot_dot(path)) {
        return not_allowed(path, "is not an absolute path without \"..\"", err);
    }
    if (!is_allowed(roots, root_count, path, true)) {
        return not_allowed(path, "is not below one of the configured roots", err);
    }
    AUTO_CLOSE int held = -1;
    struct stat st;
    char real[PATH_MAX];
    if (open_path(path, &held, err) != 0) {
        return -1;
    }
    path_of(held, real, sizeof real);
    if (!is_allowed(roots, root_count, real, false)) {
        return not_allowed(path, "leads out of the configured roots", err);
    }
    if (fstat(held, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot look at %s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return not_allowed(path, "is not a regular file", err);
    }
    if (open_for_reading(held, path, ret, err) != 0) {
        return -1;
    }
    *ret_stat = st;
    return 0;
}

static int too_large(const char *path, size_t max_bytes, struct error *err)
{
    return error_set(err, ERR_PAYLOAD_TOO_LARGE, "%s has more than %zu bytes", path, max_bytes);
}

/* The file may grow or shrink while it is read: what counts is what was read. */
static int read_bounded(int fd, const char *path, size_t max_bytes, char *buf, size_t *ret_len, struct error *err)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, buf + len, max_bytes + 1 - len);
        if (n < 0 && errno != EINTR) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot read %s", path);
        }
        if (n == 0) {
            *ret_len = len;
            return 0;
        }
        len += n > 0 ? (size_t)n : 0;
        if (len > max_bytes) {
            return too_large(path, max_bytes, err);
        }
    }
}

int store_read_allowed(const char *const *allowed_roots, size_t allowed_root_count, const char *path, size_t max_bytes, char **ret, size_t *ret_len,
                       struct error *err)
{
    AUTO_CLOSE int fd = -1;
    struct stat st = {0};
    if (store_source_open(allowed_roots, allowed_root_count, path, &fd, &st, err) != 0) {
        return -1;
    }
    if ((uint64_t)st.st_size > max_bytes) {
        return too_large(path, max_bytes, err);
    }
    char *buf = malloc(max_bytes + 1);
    size_t len = 0;
    if (buf == NULL) {
        return error_oom(err);
    }
    if (read_bounded(fd, path, max_bytes, buf, &len, err) != 0) {
        free(buf);
        return -1;
    }
    buf[len] = '\0';
    *ret = buf;
    *ret_len = len;
    return 0;
}
