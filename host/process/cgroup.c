/* What the host offers, and the directory of a VM. Its limits stand in cgroup_limits.c; who is in it, and its end, in cgroup_members.c. */
#include "host/process/cgroup.h"

#include "core/cleanup.h"
#include "host/process/cgroup_dir.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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
    char controllers[CGROUP_CONTROL_MAX] = "";
    AUTO_CLOSE int mount_fd = -1;
    if (cgroup_mount_open(support.mount, sizeof support.mount, &mount_fd, err) != 0) {
        return -1;
    }
    support.mounted = mount_fd >= 0;
    if (support.mounted) {
        (void)cgroup_control_read(mount_fd, "cgroup.controllers", controllers, sizeof controllers);
    }
    support.memory = has_word(controllers, "memory");
    support.cpu = has_word(controllers, "cpu");
    support.pids = has_word(controllers, "pids");
    support.io = has_word(controllers, "io");
    *ret = support;
    return 0;
}

/* One by one, so that a controller that cannot be had does not keep the others back. */
static void hand_down_controllers(int dir)
{
    static const char *const wanted[] = {"+memory", "+cpu", "+pids", "+io"};
    char there[CGROUP_CONTROL_MAX] = "";
    char enabled[CGROUP_CONTROL_MAX] = "";
    (void)cgroup_control_read(dir, "cgroup.controllers", there, sizeof there);
    (void)cgroup_control_read(dir, "cgroup.subtree_control", enabled, sizeof enabled);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (has_word(there, wanted[i] + 1) && !has_word(enabled, wanted[i] + 1)) {
            (void)cgroup_control_write(dir, "cgroup.subtree_control", wanted[i]);
        }
    }
}

/* The directory, made when missing; -1 with errno otherwise. */
static int make_dir(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) {
        return -1;
    }
    return cgroup_dir_open(parent, name);
}

static int make_vm_dir(int mount_fd, const char *mark, const char *id)
{
    hand_down_controllers(mount_fd);
    AUTO_CLOSE int mark_fd = make_dir(mount_fd, mark);
    if (mark_fd < 0) {
        return -1;
    }
    hand_down_controllers(mark_fd);
    return make_dir(mark_fd, id);
}

static int ensure(const char *mark, const char *name, int *ret_fd, struct error *err)
{
    char mount[PATH_MAX];
    AUTO_CLOSE int mount_fd = -1;
    if (cgroup_name_check(mark, err) != 0 || cgroup_mount_open(mount, sizeof mount, &mount_fd, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int fd = mount_fd < 0 ? -1 : make_vm_dir(mount_fd, mark, name);
    if (mount_fd < 0 || (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM))) {
        *ret_fd = -1; /* the second: what a container sees of its host's cgroups */
        return 0;
    }
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make the cgroup %s/%s/%s", mount, mark, name);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int cgroup_ensure(const char *mark, const char *id, int *ret_fd, struct error *err)
{
    return cgroup_name_check(id, err) != 0 ? -1 : ensure(mark, id, ret_fd, err);
}

int cgroup_ensure_shims(const char *mark, int *ret_fd, struct error *err)
{
    return ensure(mark, CGROUP_SHIMS, ret_fd, err);
}
