/* See core/fault.h. Only part of builds with SMARTVM_FAULTS. */
#include "core/fault.h"

#include "core/cleanup.h"
#include "core/coverage.h"
#include "core/json.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { LINE_MAX_BYTES = 160, FILE_MAX_BYTES = 2 * LINE_MAX_BYTES, NAME_MAX_BYTES = 64 };

enum mode { MODE_NONE, MODE_RECORD, MODE_FAIL, MODE_HANG, MODE_KILL_BEFORE, MODE_KILL_AFTER };

static struct {
    pthread_mutex_t lock;
    char role[16];
    char path[200]; /* "" until fault_init() */
    struct timespec changed;
    ino_t inode;
    off_t at; /* where the line begins */
    enum mode mode;
    char point[NAME_MAX_BYTES];
    long skip, times; /* what is left of them */
    atomic_bool allocations;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fault_init(const char *role, const char *path)
{
    (void)snprintf(state.role, sizeof state.role, "%s", role);
    (void)snprintf(state.path, sizeof state.path, "%s", path);
    json_watch_memory(); /* in this build malloc() is the one of core/fault_alloc.c */
}

static enum mode mode_of(const char *word)
{
    static const char *const words[] = {[MODE_FAIL] = "fail", [MODE_HANG] = "hang", [MODE_KILL_BEFORE] = "kill-before", [MODE_KILL_AFTER] = "kill-after"};
    for (size_t i = MODE_FAIL; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i], word) == 0) {
            return (enum mode)i;
        }
    }
    return MODE_NONE;
}

/* Of the first line that is not done yet. */
static void parse(const char *text)
{
    char role[16];
    char mode[16];
    const char *line = text;
    while (*line == '#' && strchr(line, '\n') != NULL) {
        line = strchr(line, '\n') + 1;
    }
    state.at = line - text;
    state.mode = MODE_NONE;
    if (strncmp(line, "record", 6) == 0) {
        state.mode = MODE_RECORD;
    } else if (sscanf(line, "%15s %63s %ld %ld %15s", role, state.point, &state.skip, &state.times, mode) == 5 && strcmp(role, state.role) == 0) {
        state.mode = mode_of(mode);
    }
    bool of_allocations = state.mode == MODE_FAIL && strcmp(state.point, "alloc.any") == 0;
    atomic_store(&state.allocations, of_allocations || state.mode == MODE_RECORD);
}

/* With the lock held. */
static void refresh(void)
{
    struct stat st;
    char text[FILE_MAX_BYTES] = "";
    if (state.path[0] == '\0' || stat(state.path, &st) != 0) {
        parse("");
        return;
    }
    if (st.st_ino == state.inode && memcmp(&st.st_mtim, &state.changed, sizeof st.st_mtim) == 0) {
        return;
    }
    AUTO_CLOSE int fd = open(state.path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    text[len > 0 ? len : 0] = '\0';
    state.inode = st.st_ino;
    state.changed = st.st_mtim;
    parse(text);
}

static void note_hit(const char *point)
{
    char log[210];
    char line[LINE_MAX_BYTES];
    (void)snprintf(log, sizeof log, "%s.log", state.path);
    int len = snprintf(line, sizeof line, "%s %s\n", state.role, point);
    AUTO_CLOSE int fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    ssize_t ignored = fd >= 0 ? write(fd, line, (size_t)len) : 0;
    (void)ignored;
}

static void note_done(void)
{
    AUTO_CLOSE int fd = open(state.path, O_WRONLY | O_CLOEXEC);
    ssize_t ignored = fd >= 0 ? pwrite(fd, "#", 1, state.at) : 0;
    (void)ignored;
    state.inode = 0; /* the next line counts, also when the clock of the file system did not tick meanwhile */
    state.mode = MODE_NONE;
    atomic_store(&state.allocations, false);
}

/* Is this hit one that is wanted? Its mode then. */
static enum mode take(const char *point, bool after)
{
    enum mode mode = MODE_NONE;
    (void)pthread_mutex_lock(&state.lock);
    refresh();
    if (state.mode == MODE_RECORD && !after) {
        note_hit(point);
    } else if (state.mode != MODE_NONE && (state.mode == MODE_KILL_AFTER) == after && strcmp(state.point, point) == 0) {
        if (state.skip > 0) {
            state.skip--;
        } else {
            mode = state.mode;
            if (state.times > 0 && --state.times == 0) {
                note_done();
            }
        }
    }
    (void)pthread_mutex_unlock(&state.lock);
    return mode;
}

int fault_before(const char *area, const char *name, struct error *err)
{
    char point[NAME_MAX_BYTES];
    const struct timespec hang = {FAULT_HANG_MS / 1000, FAULT_HANG_MS % 1000 * 1000000L};
    (void)snprintf(point, sizeof point, "%s.%s", area, name);
    enum mode mode = take(point, false);
    if (mode == MODE_KILL_BEFORE) {
        coverage_before_kill();
        (void)raise(SIGKILL);
    } else if (mode == MODE_HANG) {
        (void)nanosleep(&hang, NULL);
    } else if (mode == MODE_FAIL) {
        return err == NULL ? -1 : error_set(err, ERR_SYSTEM, "a fault that a test asked for: %s", point);
    }
    return 0;
}

void fault_after(const char *area, const char *name)
{
    char point[NAME_MAX_BYTES];
    (void)snprintf(point, sizeof point, "%s.%s", area, name);
    if (take(point, true) == MODE_KILL_AFTER) {
        coverage_before_kill();
        (void)raise(SIGKILL);
    }
}

bool fault_alloc_fails(void)
{
    return atomic_load(&state.allocations) && take("alloc.any", false) == MODE_FAIL;
}
