#include "worker/memory.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { ITEM_BYTES_MAX = 256 * 1024 };

struct memory {
    int dir;
    pthread_mutex_t lock;
    char *texts[MEMORY_COUNT_]; /* NULL: none */
};

const char *memory_item_name(enum memory_item item)
{
    static const char *const names[MEMORY_COUNT_] = {[MEMORY_FORWARDED_UPLINKS] = "forwarded_uplinks",
                                                     [MEMORY_FORWARDED6_UPLINKS] = "forwarded6_uplinks",
                                                     [MEMORY_FORWARDED_ENTRIES] = "forwarded_entries",
                                                     [MEMORY_WIREGUARD_MADE] = "wireguard_made",
                                                     [MEMORY_NETWORK] = "network",
                                                     [MEMORY_WIREGUARD] = "wireguard"};
    return names[item];
}

static int open_dir(const char *state_dir, int *ret, struct error *err)
{
    struct stat st;
    AUTO_CLOSE int parent = open(state_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be opened", state_dir);
    }
    if (mkdirat(parent, "worker", 0700) != 0 && errno != EEXIST) {
        return error_sys(err, ERR_SYSTEM, errno, "%s/worker could not be made", state_dir);
    }
    AUTO_CLOSE int dir = openat(parent, "worker", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 || fstat(dir, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s/worker could not be opened", state_dir);
    }
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        return error_set(err, ERR_SYSTEM, "%s/worker is not a directory that only root may enter: give it mode 0700", state_dir);
    }
    *ret = TAKE_FD(dir);
    return 0;
}

static char *read_item(int dir, const char *name)
{
    struct stat st;
    AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > ITEM_BYTES_MAX) {
        return NULL;
    }
    AUTO_FREE char *text = calloc(1, (size_t)st.st_size + 1);
    if (text == NULL || read(fd, text, (size_t)st.st_size) != st.st_size || strlen(text) != (size_t)st.st_size) {
        return NULL;
    }
    return TAKE_PTR(text);
}

int memory_open(const char *state_dir, struct memory **ret, struct error *err)
{
    struct memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL) {
        return error_oom(err);
    }
    memory->dir = -1;
    (void)pthread_mutex_init(&memory->lock, NULL);
    if (open_dir(state_dir, &memory->dir, err) != 0) {
        memory_close(memory);
        return -1;
    }
    for (int i = 0; i < MEMORY_COUNT_; i++) {
        memory->texts[i] = read_item(memory->dir, memory_item_name((enum memory_item)i));
    }
    *ret = memory;
    return 0;
}

void memory_close(struct memory *memory)
{
    if (memory == NULL) {
        return;
    }
    for (int i = 0; i < MEMORY_COUNT_; i++) {
        free(memory->texts[i]);
    }
    if (memory->dir >= 0) {
        (void)close(memory->dir);
    }
    (void)pthread_mutex_destroy(&memory->lock);
    free(memory);
}

char *memory_get(struct memory *memory, enum memory_item item)
{
    (void)pthread_mutex_lock(&memory->lock);
    char *copy = strdup(memory->texts[item] != NULL ? memory->texts[item] : "");
    (void)pthread_mutex_unlock(&memory->lock);
    return copy;
}

static int write_item(int dir, const char *name, const char *text, struct error *err)
{
    char partial[64];
    (void)snprintf(partial, sizeof partial, "%s.new", name);
    AUTO_CLOSE int fd = openat(dir, partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    size_t len = strlen(text);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len || fsync(fd) != 0 || renameat(dir, partial, dir, name) != 0 || fsync(dir) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the worker could not write its own memory of '%s'", name);
    }
    return 0;
}

int memory_set(struct memory *memory, enum memory_item item, const char *text, struct error *err)
{
    int result = 0;
    (void)pthread_mutex_lock(&memory->lock);
    const char *before = memory->texts[item] != NULL ? memory->texts[item] : "";
    if (strcmp(before, text) != 0) {
        char *copy = strdup(text);
        result = copy == NULL ? error_oom(err) : write_item(memory->dir, memory_item_name(item), text, err);
        if (result == 0) {
            free(memory->texts[item]);
            memory->texts[item] = TAKE_PTR(copy);
        }
        free(copy);
    }
    (void)pthread_mutex_unlock(&memory->lock);
    return result;
}
