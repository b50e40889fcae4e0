#include "server/directories.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int find_user(const struct config *config, uid_t *ret_uid, gid_t *ret_gid, struct error *err)
{
    const struct passwd *user = getpwnam(config->user);
    if (user == NULL) {
        return error_set(err, ERR_INVALID_CONFIG, "the user '%s' of the API process does not exist: make it (useradd --system %s) or set `user`", config->user,
                         config->user);
    }
    *ret_uid = user->pw_uid;
    *ret_gid = user->pw_gid;
    return 0;
}

/* Makes a directory of root's and its parents; the last one gets this mode and group. */
static int make_directory(const char *path, mode_t mode, gid_t group, struct error *err)
{
    char partial[300];
    size_t len = strlen(path);
    for (size_t i = 1; i <= len && i < sizeof partial; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST) {
            return error_sys(err, ERR_SYSTEM, errno, "%s could not be made", partial);
        }
    }
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchown(fd, 0, group) != 0 || fchmod(fd, mode) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be set up", path);
    }
    return 0;
}

int directories_make(const struct config *config, struct error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (find_user(config, &uid, &gid, err) != 0 || make_directory(config->state_dir, 0710, gid, err) != 0) {
        return -1;
    }
    return make_directory(config->run_dir, 0711, 0, err);
}

/* A link, a FIFO or a file with another name elsewhere stays whose it is: the keeper moves it aside. */
static int hand_over_file(int dir, const char *name, uid_t uid, gid_t gid, struct error *err)
{
    struct stat st;
    AUTO_CLOSE int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        return 0;
    }
    if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the database could not be handed over to the user of the API process");
    }
    return 0;
}

int directories_hand_over(const struct config *config, struct error *err)
{
    static const char *const names[] = {"smartvm.db", "smartvm.db-wal", "smartvm.db-shm"};
    struct stat st;
    uid_t uid = 0;
    gid_t gid = 0;
    AUTO_CLOSE int state = open(config->state_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (find_user(config, &uid, &gid, err) != 0) {
        return -1;
    }
    if (state < 0 || (mkdirat(state, "db", 0700) != 0 && errno != EEXIST)) {
        return error_sys(err, ERR_SYSTEM, errno, "%s/db could not be made", config->state_dir);
    }
    AUTO_CLOSE int dir = openat(state, "db", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 || fstat(dir, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s/db could not be opened", config->state_dir);
    }
    if (st.st_uid == uid) {
        return fchmod(dir, 0700) == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "%s/db could not be closed to others", config->state_dir);
    }
    if (fchown(dir, 0, 0) != 0 || fchmod(dir, 0700) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s/db could not be closed to others", config->state_dir);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (hand_over_file(dir, names[i], uid, gid, err) != 0) {
            return -1;
        }
    }
    if (fchown(dir, uid, gid) != 0 || fchmod(dir, 0700) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s/db could not be handed over to the user of the API process", config->state_dir);
    }
    return 0;
}
