/* The directories of the store and what is in them. Adding a file stands in store_add.c. */
#include "host/store/store.h"

#include "core/array.h"
#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int ensure_dir(int parent, const char *name, int extra_flags, int *ret, struct error *err)
{
    struct stat st;
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make the directory %s of the store", name);
    }
    AUTO_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | extra_flags);
    if (fd < 0 || fstat(fd, &st) != 0 || ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) != 0)) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open the directory %s of the store", name);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

/* What lies in tmp belongs to an addition that a crash ended. Takes the descriptor. */
static int empty_tmp(int fd, struct error *err)
{
    AUTO_CLOSEDIR DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int errnum = errno;
        (void)close(fd);
        return error_sys(err, ERR_SYSTEM, errnum, "cannot list the store's tmp");
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot list the store's tmp");
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT &&
            errno != EISDIR) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot remove %s of the store's tmp", entry->d_name);
        }
    }
}

int store_open(const char *root, struct error *err)
{
    AUTO_CLOSE int root_fd = -1;
    AUTO_CLOSE int files = -1;
    AUTO_CLOSE int tmp = -1;
    if (ensure_dir(AT_FDCWD, root, 0, &root_fd, err) != 0 || ensure_dir(root_fd, "sha256", O_NOFOLLOW, &files, err) != 0 ||
        ensure_dir(root_fd, "tmp", O_NOFOLLOW, &tmp, err) != 0) {
        return -1;
    }
    if (fsync(root_fd) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot flush %s", root);
    }
    return empty_tmp(TAKE_FD(tmp), err);
}

bool store_path(const char *root, const char *sha256, char *buf, size_t size)
{
    if (!sha256_hex_is_valid(sha256)) {
        return false;
    }
    int len = snprintf(buf, size, "%s/sha256/%s", root, sha256);
    return len > 0 && (size_t)len < size;
}

int store_remove(const char *root, const char *sha256, struct error *err)
{
    char path[PATH_MAX];
    if (!store_path(root, sha256, path, sizeof path)) {
        return error_set(err, ERR_SYSTEM, "%s is not a SHA-256 digest", sha256);
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot remove %s", path);
    }
    return 0;
}

struct listing {
    char (*digests)[SHA256_HEX_MAX];
    size_t count;
};

static int add_to_listing(struct listing *listing, const char *name, struct error *err)
{
    char(*larger)[SHA256_HEX_MAX] = array_grow(listing->digests, listing->count, sizeof *larger);
    if (larger == NULL) {
        return error_oom(err);
    }
    listing->digests = larger;
    memcpy(listing->digests[listing->count++], name, SHA256_HEX_MAX);
    return 0;
}

static int read_listing(DIR *dir, struct listing *listing, struct error *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot list the store");
        }
        if (sha256_hex_is_valid(entry->d_name) && add_to_listing(listing, entry->d_name, err) != 0) {
            return -1;
        }
    }
}

int store_list(const char *root, char (**ret)[SHA256_HEX_MAX], size_t *ret_count, struct error *err)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/sha256", root);
    AUTO_CLOSEDIR DIR *dir = len > 0 && (size_t)len < sizeof path ? opendir(path) : NULL;
    if (dir == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot list %s", path);
    }
    struct listing listing = {0};
    if (read_listing(dir, &listing, err) != 0) {
        free(listing.digests);
        return -1;
    }
    *ret = listing.digests;
    *ret_count = listing.count;
    return 0;
}
