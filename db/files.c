#include "db/files.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { ASIDE_MAX = 9, NAME_BYTES = 160 };

static const struct {
    const char *suffix;
    bool expected; /* in WAL mode */
} files[] = {{"", true}, {"-wal", true}, {"-shm", true}, {"-journal", false}};

/* Opens the directory of the path; `ret_name` is the file's name in it. */
static int open_directory(const char *path, char ret_name[NAME_BYTES], int *ret, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || strlen(slash + 1) > NAME_BYTES - 40) {
        return error_set(err, ERR_DATABASE, "%s is no path of a database", path);
    }
    AUTO_FREE char *dir = strndup(path, (size_t)(slash - path));
    if (dir == NULL) {
        return error_oom(err);
    }
    *ret = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    (void)snprintf(ret_name, NAME_BYTES, "%s", slash + 1);
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    return *ret >= 0 ? 0 : error_sys(err, ERR_DATABASE, errno, "%s could not be opened", dir);
}

static bool is_plain(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_nlink == 1;
}

/* Only an administrator can have put such a file here, a backup perhaps: it is no rubbish. */
static int refuse_owner(const char *name, const struct stat *st, struct error *err)
{
    return error_set(err, ERR_DATABASE, "%s belongs to the user with number %u, and not to number %u, who keeps the database: chown it", name,
                     (unsigned)st->st_uid, (unsigned)geteuid());
}

static int move_aside(int dir, const char *name, struct error *err)
{
    char aside[NAME_BYTES + 20];
    struct stat st;
    for (int i = 1; i <= ASIDE_MAX; i++) {
        (void)snprintf(aside, sizeof aside, "%s.foreign-%d", name, i);
        if (fstatat(dir, aside, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT && renameat(dir, name, dir, aside) == 0) {
            return 0;
        }
    }
    /* Somebody does this again and again. A directory with something in it has to stay, under the last name or its own. */
    if (unlinkat(dir, name, 0) == 0 || unlinkat(dir, name, AT_REMOVEDIR) == 0) {
        return 0;
    }
    return error_sys(err, ERR_DATABASE, errno, "%s is in the database's place and could not be moved aside", name);
}

int db_files_check(const char *path, unsigned *ret_count, struct error *err)
{
    char base[NAME_BYTES];
    AUTO_CLOSE int dir = -1;
    *ret_count = 0;
    if (open_directory(path, base, &dir, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char name[NAME_BYTES + 16];
        struct stat st;
        (void)snprintf(name, sizeof name, "%s%s", base, files[i].suffix);
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (st.st_uid != geteuid()) {
            return refuse_owner(name, &st, err);
        }
        if (files[i].expected && is_plain(&st)) {
            continue;
        }
        if (move_aside(dir, name, err) != 0) {
            return -1;
        }
        ++*ret_count;
    }
    return 0;
}

int db_files_set_aside(const char *path, struct error *err)
{
    char base[NAME_BYTES];
    AUTO_CLOSE int dir = -1;
    if (open_directory(path, base, &dir, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char name[NAME_BYTES + 16];
        char aside[NAME_BYTES + 32];
        (void)snprintf(name, sizeof name, "%s%s", base, files[i].suffix);
        (void)snprintf(aside, sizeof aside, "%s.damaged%s", base, files[i].suffix);
        struct stat st;
        bool in_the_way = fstatat(dir, aside, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode);
        if (in_the_way && move_aside(dir, aside, err) != 0) {
            return -1;
        }
        if (renameat(dir, name, dir, aside) != 0 && errno != ENOENT) {
            return error_sys(err, ERR_DATABASE, errno, "%s could not be set aside", name);
        }
    }
    return 0;
}
