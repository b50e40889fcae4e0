/* Directories: of what a daemon makes in them, each has its name here. Whatever else lies there is left, and told. */
#include "core/cleanup.h"
#include "worker/purge/steps.h"
#include "worker/vm/boot.h"
#include "worker/vm/stage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 700 };

static int remove_file(struct purge_work *work, const char *path, struct error *err)
{
    if (unlink(path) == 0) {
        work->count++;
        return 0;
    }
    return errno == ENOENT || errno == ENOTDIR ? 0 : error_sys(err, ERR_SYSTEM, errno, "%s could not be removed", path);
}

/* When nothing is in it any more. */
static int remove_empty(const char *path, struct error *err)
{
    if (rmdir(path) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno == ENOTEMPTY || errno == EEXIST || errno == EBUSY) {
        purge_tell("%s is kept: something is in it that is not the daemon's, or it is a mount", path);
        return 0;
    }
    return error_sys(err, ERR_SYSTEM, errno, "%s could not be removed", path);
}

/* With the plain files in it. */
static int remove_flat(struct purge_work *work, const char *path, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        return 0;
    }
    work->count++;
    return vm_remove_dir(path, err);
}

/* Each directory in it, but for hidden ones; `path` itself stays. */
static int remove_each(struct purge_work *work, const char *path, struct error *err)
{
    AUTO_CLOSEDIR DIR *dir = opendir(path);
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL; entry = readdir(dir)) {
        char inner[PATH_BYTES];
        struct stat st;
        (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && lstat(inner, &st) == 0 && S_ISDIR(st.st_mode) && remove_flat(work, inner, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int purge_staged(struct purge_work *work, struct error *err)
{
    char root[STAGE_ROOT_MAX];
    if (stage_root_choose(work->config, work->mark, false, root, err) != 0) {
        return 0; /* it is another daemon's */
    }
    if (!work->has_state && !stage_root_is_owned(root, work->config)) {
        return 0; /* nobody's */
    }
    return remove_each(work, root, err) == 0 ? remove_empty(root, err) : -1;
}

/* Those that nobody listens at: whoever does would not be ours. */
static int remove_sockets(struct purge_work *work, struct error *err)
{
    for (size_t i = 0; i < work->config->listen_count; i++) {
        const char *path = work->config->listen[i].path;
        struct stat st;
        if (path != NULL && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == 0 && remove_file(work, path, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int purge_run_dir(struct purge_work *work, struct error *err)
{
    static const char *const files[] = {"fault", "smartvmd.lock"};
    char path[PATH_BYTES];
    if (!work->has_run) {
        return 0;
    }
    (void)snprintf(path, sizeof path, "%s/vm", work->config->run_dir);
    if (remove_each(work, path, err) != 0 || remove_empty(path, err) != 0 || remove_sockets(work, err) != 0) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/jail", work->config->run_dir);
    if (remove_empty(path, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", work->config->run_dir, files[i]);
        if (remove_file(work, path, err) != 0) {
            return -1;
        }
    }
    return remove_empty(work->config->run_dir, err);
}

int purge_state_dir(struct purge_work *work, struct error *err)
{
    static const char *const flat[] = {"images/sha256", "images/tmp", "worker", "db"};
    static const char *const secrets[] = {"seal.key", "seal.key.new"}; /* first: others can put something into db that can't be removed */
    static const char *const files[] = {"lock"};
    static const char *const empty[] = {"images", "db", "worker"};
    char path[PATH_BYTES];
    if (!work->has_state) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", work->config->state_dir, secrets[i]);
        if (remove_file(work, path, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(flat); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", work->config->state_dir, flat[i]);
        if (remove_flat(work, path, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", work->config->state_dir, files[i]);
        if (remove_file(work, path, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", work->config->state_dir, empty[i]);
        if (remove_empty(path, err) != 0) {
            return -1;
        }
    }
    return remove_empty(work->config->state_dir, err);
}
