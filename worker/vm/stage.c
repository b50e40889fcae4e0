#include "worker/vm/stage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

/* Of root alone: xattr(7). */
static const char attribute[] = "trusted.smartvm.state_dir";

enum { TMPFS_MAGIC_NUMBER = 0x01021994, OWNER_MAX = 300 };

/* "" when it does not say. */
static void read_owner(const char *root, char buf[OWNER_MAX])
{
    ssize_t len = getxattr(root, attribute, buf, OWNER_MAX - 1);
    buf[len > 0 ? len : 0] = '\0';
}

static bool is_of_another(const char *root, const struct config *config, char owner[OWNER_MAX])
{
    struct stat theirs;
    struct stat ours;
    read_owner(root, owner);
    if (owner[0] == '\0' || strcmp(owner, config->state_dir) == 0) {
        return false;
    }
    /* By another name of the same directory it is ours, and nobody's when that is gone. */
    return stat(owner, &theirs) == 0 && (stat(config->state_dir, &ours) != 0 || theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev);
}

/* Where the file system has no such attributes, or the daemon may not set them, nobody is told. */
static void write_owner(const char *root, const struct config *config)
{
    (void)setxattr(root, attribute, config->state_dir, strlen(config->state_dir), 0);
}

bool stage_root_is_owned(const char *root, const struct config *config)
{
    char owner[OWNER_MAX];
    read_owner(root, owner);
    return owner[0] != '\0' && !is_of_another(root, config, owner);
}

int stage_root_measure(const char *root, bool *ret_in_memory, int64_t *ret_size_mib)
{
    struct statfs fs;
    if (statfs(root, &fs) != 0) {
        return -1;
    }
    *ret_in_memory = fs.f_type == TMPFS_MAGIC_NUMBER;
    *ret_size_mib = (int64_t)((uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize >> 20);
    return 0;
}

int stage_make_directory(const char *path, struct error *err)
{
    struct stat st;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be made", path);
    }
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0) {
        return error_set(err, ERR_SYSTEM, "%s is not a directory that only root may write to", path);
    }
    return 0;
}

int stage_root_choose(const struct config *config, const char *mark, bool make, char buf[STAGE_ROOT_MAX], struct error *err)
{
    const char *configured = config->vmm.stage_dir;
    struct statfs fs;
    char owner[OWNER_MAX] = "";
    bool shm = statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC_NUMBER;
    /* Beside the console's directories in run_dir there is a `vm`; a mark never has that name. */
    (void)snprintf(buf, STAGE_ROOT_MAX, "%s/%s", configured[0] != '\0' ? configured : shm ? "/dev/shm" : config->run_dir, mark);
    if (is_of_another(buf, config, owner)) {
        if (configured[0] != '\0') {
            return error_set(err, ERR_IN_USE, "vmm.stage_dir: %s is that of the smartvmd with the state_dir %s", buf, owner);
        }
        (void)snprintf(buf, STAGE_ROOT_MAX, "%s/%s", config->run_dir, mark);
    }
    if (!make) {
        return 0;
    }
    int result = stage_make_directory(buf, err);
    if (result != 0 && configured[0] == '\0') {
        /* Anyone may have put something there, and must not keep the daemon from starting. */
        (void)snprintf(buf, STAGE_ROOT_MAX, "%s/%s", config->run_dir, mark);
        result = stage_make_directory(buf, err);
    }
    if (result != 0) {
        return -1;
    }
    write_owner(buf, config);
    return 0;
}
