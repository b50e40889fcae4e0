#include "host/process/jail.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <sys/mount.h> and <linux/mount.h> of Debian 12 can't be used together, so these have no wrappers here. */
static int fs_open(const char *type)
{
    return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}

static int fs_config(int context, unsigned command, const char *key, const char *value)
{
    return (int)syscall(SYS_fsconfig, context, command, key, value, 0);
}

static int make_tmpfs(uint64_t bytes, unsigned inodes)
{
    char size[32];
    char count[32];
    (void)snprintf(size, sizeof size, "%llu", (unsigned long long)bytes);
    (void)snprintf(count, sizeof count, "%u", inodes);
    AUTO_CLOSE int context = fs_open("tmpfs");
    if (context < 0 || fs_config(context, FSCONFIG_SET_STRING, "size", size) != 0 || fs_config(context, FSCONFIG_SET_STRING, "nr_inodes", count) != 0 ||
        fs_config(context, FSCONFIG_SET_STRING, "mode", "0755") != 0 || fs_config(context, FSCONFIG_CMD_CREATE, NULL, NULL) != 0) {
        return -1;
    }
    /* Not nodev: /dev/kvm is in there. */
    return (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID);
}

int jail_open(uint64_t bytes, unsigned inodes, struct jail *ret, struct error *err)
{
    *ret = JAIL_NONE;
    ret->root = make_tmpfs(bytes, inodes);
    return ret->root >= 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot make the file system of a jail");
}

void jail_close(struct jail *jail)
{
    for (size_t i = 0; i < jail->count; i++) {
        (void)close(jail->binds[i].mount);
    }
    if (jail->root >= 0) {
        (void)close(jail->root);
    }
    *jail = JAIL_NONE;
}

static int refuse(const char *path, struct error *err)
{
    return error_sys(err, ERR_SYSTEM, errno, "cannot make %s in a jail", path);
}

static int make_directories(int root, const char *path, size_t len, struct error *err)
{
    char part[JAIL_PATH_MAX];
    for (size_t at = 1; at <= len; at++) {
        if (at < len && path[at] != '/') {
            continue;
        }
        (void)snprintf(part, sizeof part, "%.*s", (int)at, path);
        /* Whatever the umask is. */
        if (mkdirat(root, part, 0755) == 0 ? fchmodat(root, part, 0755, 0) != 0 : errno != EEXIST) {
            return refuse(part, err);
        }
    }
    return 0;
}

static int make_parent(int root, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (strlen(path) >= JAIL_PATH_MAX) {
        errno = ENAMETOOLONG;
        return refuse(path, err);
    }
    return slash == NULL ? 0 : make_directories(root, path, (size_t)(slash - path), err);
}

int jail_add_directory(struct jail *jail, const char *path, struct error *err)
{
    return make_parent(jail->root, path, err) == 0 ? make_directories(jail->root, path, strlen(path), err) : -1;
}

int jail_add_link(struct jail *jail, const char *path, const char *target, struct error *err)
{
    if (make_parent(jail->root, path, err) != 0) {
        return -1;
    }
    return symlinkat(target, jail->root, path) == 0 ? 0 : refuse(path, err);
}

int jail_add_device(struct jail *jail, const char *path, dev_t device, mode_t mode, uid_t owner, struct error *err)
{
    if (make_parent(jail->root, path, err) != 0) {
        return -1;
    }
    if (mknodat(jail->root, path, S_IFCHR | mode, device) != 0 || fchmodat(jail->root, path, mode, 0) != 0 ||
        fchownat(jail->root, path, owner, owner, 0) != 0) {
        return refuse(path, err);
    }
    return 0;
}

int jail_give(struct jail *jail, const char *path, uid_t owner, struct error *err)
{
    return fchownat(jail->root, path, owner, owner, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : refuse(path, err);
}

static int make_mount_point(struct jail *jail, const char *path, bool is_directory, struct error *err)
{
    if (is_directory) {
        return jail_add_directory(jail, path, err);
    }
    if (make_parent(jail->root, path, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int fd = openat(jail->root, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    return fd >= 0 ? 0 : refuse(path, err);
}

static int clone_mount(int of, enum jail_access access)
{
    /* Private: what is mounted below it on the host later does not come in. */
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, .propagation = 1UL << 18 /* MS_PRIVATE of <sys/mount.h>, see above */};
    attributes.attr_set |= access == JAIL_WRITE ? 0 : MOUNT_ATTR_RDONLY;
    attributes.attr_set |= access == JAIL_EXECUTE ? 0 : MOUNT_ATTR_NOEXEC;
    AUTO_CLOSE int mount = (int)syscall(SYS_open_tree, of, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (mount < 0 || syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
        return -1;
    }
    return TAKE_FD(mount);
}

int jail_add_bind(struct jail *jail, const char *path, const char *of, enum jail_access access, struct error *err)
{
    struct stat st;
    if (jail->count == JAIL_BINDS_MAX) {
        return error_set(err, ERR_SYSTEM, "more than %d files for one jail", JAIL_BINDS_MAX);
    }
    AUTO_CLOSE int fd = open(of, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s for a jail", of);
    }
    if (make_mount_point(jail, path, S_ISDIR(st.st_mode), err) != 0) {
        return -1;
    }
    struct jail_bind *bind = &jail->binds[jail->count];
    bind->mount = clone_mount(fd, access);
    if (bind->mount < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot bind %s into a jail", of);
    }
    (void)snprintf(bind->path, sizeof bind->path, "%s", path);
    jail->count++;
    return 0;
}

int jail_probe(struct error *err)
{
    AUTO_JAIL jail = JAIL_NONE;
    if (jail_open(1 << 20, 16, &jail, err) != 0) {
        return -1;
    }
    return jail_add_device(&jail, "null", (dev_t)0x103, 0600, 0, err) == 0 ? jail_add_bind(&jail, "root", "/", JAIL_READ, err) : -1;
}
