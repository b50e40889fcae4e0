#include "worker/vm/uids.h"

#include "core/array.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "host/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 400, KILL_WAIT_MS = 5000 };

struct held {
    uid_t uid;
    char id[LIMIT_VM_ID_BYTES + 1];
};

struct uids {
    pthread_mutex_t lock;
    int dir;
    uid_t first;
    uint32_t count;
    uint32_t next; /* where the search goes on, so that the ones given back last come last */
    char state_dir[TEXT_MAX - LIMIT_VM_ID_BYTES - 3];
    struct held *held;
    size_t held_count;
};

static void name_of(uid_t uid, char buf[16])
{
    (void)snprintf(buf, 16, "%u", (unsigned)uid);
}

static int open_dir(const char *path, int *ret, struct error *err)
{
    struct stat st;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be made", path);
    }
    AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 || fstat(dir, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be opened", path);
    }
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        return error_set(err, ERR_SYSTEM, "%s is not a directory that only root may enter: remove it", path);
    }
    *ret = TAKE_FD(dir);
    return 0;
}

static int lock_dir(const struct uids *uids, struct error *err)
{
    while (flock(uids->dir, LOCK_EX) != 0) {
        if (errno != EINTR) {
            return error_sys(err, ERR_SYSTEM, errno, "the directory of uids could not be locked");
        }
    }
    return 0;
}

/* "" for one that rests, or can't be read. */
static void read_text(int dir, const char *name, char text[TEXT_MAX])
{
    AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, TEXT_MAX - 1) : -1;
    text[len > 0 ? len : 0] = '\0';
}

/* "<state_dir>\n<id>\n" */
static bool parse_text(char *text, const char **ret_state_dir, const char **ret_id)
{
    char *end = strchr(text, '\n');
    if (end == NULL || end[1] == '\0' || strlen(end + 1) > LIMIT_VM_ID_BYTES + 1) {
        return false;
    }
    *end = '\0';
    end[1 + strcspn(end + 1, "\n")] = '\0';
    *ret_state_dir = text;
    *ret_id = end + 1;
    return true;
}

static bool has_rested(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == 0 && time(NULL) - st.st_mtime >= UIDS_QUARANTINE_S;
}

static int note_held(struct uids *uids, uid_t uid, const char *id, struct error *err)
{
    struct held *grown = array_grow(uids->held, uids->held_count, sizeof *grown);
    if (grown == NULL) {
        return error_oom(err);
    }
    uids->held = grown;
    grown[uids->held_count] = (struct held){.uid = uid};
    (void)snprintf(grown[uids->held_count].id, sizeof grown->id, "%s", id);
    uids->held_count++;
    return 0;
}

/* What is there already: ours is noted, that of a daemon that is gone goes, as does what has rested. */
static int read_one(struct uids *uids, const char *name, struct error *err)
{
    char text[TEXT_MAX];
    const char *state_dir = NULL;
    const char *id = NULL;
    struct stat st;
    char *end = NULL;
    unsigned long uid = strtoul(name, &end, 10);
    if (*end != '\0' || uid == 0 || uid >= UINT32_MAX) {
        return 0;
    }
    read_text(uids->dir, name, text);
    if (!parse_text(text, &state_dir, &id)) {
        if (has_rested(uids->dir, name)) {
            (void)unlinkat(uids->dir, name, 0);
        }
        return 0;
    }
    if (strcmp(state_dir, uids->state_dir) == 0) {
        return note_held(uids, (uid_t)uid, id, err);
    }
    if (stat(state_dir, &st) != 0 && errno == ENOENT) {
        (void)unlinkat(uids->dir, name, 0);
    }
    return 0;
}

static int read_all(struct uids *uids, struct error *err)
{
    int fd = openat(uids->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSEDIR DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "the directory of uids could not be read");
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.' && read_one(uids, entry->d_name, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int uids_open(const char *dir, const struct config *config, struct uids **ret, struct error *err)
{
    struct uids *uids = calloc(1, sizeof *uids);
    if (uids == NULL) {
        return error_oom(err);
    }
    *uids = (struct uids){.dir = -1, .first = config->vmm.uid_first, .count = config->vmm.uid_count};
    (void)pthread_mutex_init(&uids->lock, NULL);
    int len = snprintf(uids->state_dir, sizeof uids->state_dir, "%s", config->state_dir);
    int result = len < (int)sizeof uids->state_dir ? 0 : error_set(err, ERR_SYSTEM, "state_dir is too long a path");
    if (result != 0 || open_dir(dir, &uids->dir, err) != 0 || lock_dir(uids, err) != 0 || read_all(uids, err) != 0) {
        uids_close(uids); /* which ends the lock, too */
        return -1;
    }
    (void)flock(uids->dir, LOCK_UN);
    *ret = uids;
    return 0;
}

void uids_close(struct uids *uids)
{
    if (uids == NULL) {
        return;
    }
    if (uids->dir >= 0) {
        (void)close(uids->dir);
    }
    (void)pthread_mutex_destroy(&uids->lock);
    free(uids->held);
    free(uids);
}

static struct held *find_held(const struct uids *uids, const char *id)
{
    for (size_t i = 0; i < uids->held_count; i++) {
        if (strcmp(uids->held[i].id, id) == 0) {
            return &uids->held[i];
        }
    }
    return NULL;
}

/* Returns 1 when it is ours now, 0 when it is somebody's. Whole or not there: a file that was cut off rests. */
static int make_file(const struct uids *uids, uid_t uid, const char *id, struct error *err)
{
    char name[16];
    char text[TEXT_MAX];
    name_of(uid, name);
    AUTO_CLOSE int fd = openat(uids->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno == EEXIST ? 0 : error_sys(err, ERR_SYSTEM, errno, "uid %u could not be taken", (unsigned)uid);
    }
    int len = snprintf(text, sizeof text, "%s\n%s\n", uids->state_dir, id);
    if (write(fd, text, (size_t)len) != len) {
        int errnum = errno;
        (void)unlinkat(uids->dir, name, 0);
        return error_sys(err, ERR_SYSTEM, errnum, "uid %u could not be taken", (unsigned)uid);
    }
    return 1;
}

static int try_one(const struct uids *uids, uid_t uid, const char *id, struct error *err)
{
    char name[16];
    name_of(uid, name);
    if (has_rested(uids->dir, name)) {
        (void)unlinkat(uids->dir, name, 0);
    }
    return process_uid_is_used(uid) ? 0 : make_file(uids, uid, id, err);
}

void uids_restore(struct uids *uids, const char *id, uid_t uid)
{
    (void)pthread_mutex_lock(&uids->lock);
    if (find_held(uids, id) == NULL && make_file(uids, uid, id, NULL) > 0) {
        (void)note_held(uids, uid, id, NULL);
    }
    (void)pthread_mutex_unlock(&uids->lock);
}

/* With the lock held, and that of the directory. */
static int take_another(struct uids *uids, const char *id, uid_t *ret, struct error *err)
{
    for (uint32_t tried = 0; tried < uids->count; tried++) {
        const uid_t uid = uids->first + uids->next;
        uids->next = (uids->next + 1) % uids->count;
        int result = try_one(uids, uid, id, err);
        if (result > 0) {
            *ret = uid;
            return note_held(uids, uid, id, err);
        }
        if (result < 0) {
            return -1;
        }
    }
    return error_set(err, ERR_SYSTEM, "all %u uids of vmm.uid_first and vmm.uid_count are taken, or rest", (unsigned)uids->count);
}

int uids_take(struct uids *uids, const char *id, uid_t *ret, struct error *err)
{
    (void)pthread_mutex_lock(&uids->lock);
    const struct held *held = find_held(uids, id);
    int result = 0;
    if (held != NULL) {
        *ret = held->uid;
    } else if (lock_dir(uids, err) != 0) { /* other daemons of the host look, remove what has rested, and take, too */
        result = -1;
    } else {
        result = take_another(uids, id, ret, err);
        (void)flock(uids->dir, LOCK_UN);
    }
    (void)pthread_mutex_unlock(&uids->lock);
    return result;
}

uid_t uids_of(struct uids *uids, const char *id)
{
    (void)pthread_mutex_lock(&uids->lock);
    const struct held *held = find_held(uids, id);
    uid_t uid = held != NULL ? held->uid : 0;
    (void)pthread_mutex_unlock(&uids->lock);
    return uid;
}

/* A zombie, which nobody reaps, is none: it does nothing any more. */
static void kill_one(pid_t pid, uid_t uid, void *ctx)
{
    uint64_t start_time = 0;
    struct process_ids ids;
    int pidfd = -1;
    if (process_start_time(pid, &start_time, NULL) != 0 || process_open(pid, start_time, &pidfd, NULL) != 0 || pidfd < 0) {
        return;
    }
    if (process_ids(pid, &ids, NULL) == 0 && ids.real == uid) {
        ++*(size_t *)ctx;
        (void)process_signal(pidfd, SIGKILL, NULL);
        (void)process_wait(pidfd, KILL_WAIT_MS, NULL, NULL);
    }
    (void)close(pidfd);
}

/* One that forks goes on while it is looked for: again, until there is none. */
static int end_processes(uid_t uid, struct error *err)
{
    enum { ROUNDS_MAX = 100 };
    size_t found = process_uid_is_used(uid);
    for (int i = 0; i < ROUNDS_MAX && found > 0; i++) {
        found = 0;
        if (process_find_uids(uid, 1, kill_one, &found, err) != 0) {
            return -1;
        }
    }
    return found == 0 ? 0 : error_set(err, ERR_SYSTEM, "processes of uid %u do not end", (unsigned)uid);
}

static int put_to_rest(const struct uids *uids, uid_t uid, struct error *err)
{
    char name[16];
    name_of(uid, name);
    AUTO_CLOSE int fd = openat(uids->dir, name, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "uid %u could not be given back", (unsigned)uid);
    }
    if (fd >= 0) {
        (void)futimens(fd, NULL);
    }
    return 0;
}

int uids_free(struct uids *uids, const char *id, struct error *err)
{
    const uid_t uid = uids_of(uids, id);
    if (uid == 0) {
        return 0;
    }
    if (end_processes(uid, err) != 0) {
        return -1;
    }
    (void)pthread_mutex_lock(&uids->lock);
    struct held *held = find_held(uids, id);
    int result = put_to_rest(uids, uid, err);
    if (result == 0 && held != NULL) {
        *held = uids->held[--uids->held_count];
    }
    (void)pthread_mutex_unlock(&uids->lock);
    return result;
}

int uids_each(struct uids *uids, int (*each)(const char *id, uid_t uid, void *ctx, struct error *err), void *ctx, struct error *err)
{
    int result = 0;
    (void)pthread_mutex_lock(&uids->lock);
    const size_t count = uids->held_count;
    struct held *copy = calloc(count + 1, sizeof *copy);
    if (copy != NULL && count > 0) {
        memcpy(copy, uids->held, count * sizeof *copy);
    }
    (void)pthread_mutex_unlock(&uids->lock);
    if (copy == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        result = each(copy[i].id, copy[i].uid, ctx, err);
    }
    free(copy);
    return result;
}
