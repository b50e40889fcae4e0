/* What a VM's cgroup may use, and whether it was too little. */
#include "host/process/cgroup.h"

#include "core/cleanup.h"
#include "host/process/cgroup_dir.h"
#include "host/process/cgroup_limit_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Without the controller there is no such file, and nothing to fail for; in some containers it is there and can't be written. */
static int set(int dir, const char *name, const char *text, struct error *err)
{
    if (cgroup_control_write(dir, name, text) == 0 || errno == ENOENT || errno == EACCES || errno == EROFS) {
        return 0;
    }
    return error_sys(err, ERR_SYSTEM, errno, "cannot set %s of a cgroup to %s", name, text);
}

enum { FILE_TEXT_MAX = 4096 }; /* io.max: a line for each disk */

/* What is so already is not written. */
static int set_file(int dir, size_t file, const struct cgroup_limits *limits, struct error *err)
{
    char text[FILE_TEXT_MAX];
    char wanted[CGROUP_VALUE_MAX];
    char found[CGROUP_VALUE_MAX];
    struct cgroup_limits now = {.io_device = limits->io_device};
    cgroup_limit_files[file].format(limits, wanted);
    if (cgroup_control_read(dir, cgroup_limit_files[file].name, text, sizeof text) == 0) {
        cgroup_limit_files[file].parse(text, &now);
        cgroup_limit_files[file].format(&now, found);
        if (strcmp(found, wanted) == 0) {
            return 0;
        }
    }
    return wanted[0] != '\0' ? set(dir, cgroup_limit_files[file].name, wanted, err) : 0;
}

int cgroup_limit(const char *mark, const char *id, const struct cgroup_limits *limits, struct error *err)
{
    AUTO_CLOSE int dir = -1;
    if (cgroup_ensure(mark, id, &dir, err) != 0) {
        return -1;
    }
    if (dir < 0) {
        return 0;
    }
    const char *closed = limits->memory_max > 0 ? "0" : "max";
    if (set(dir, "memory.swap.max", closed, err) != 0 || set(dir, "memory.oom.group", limits->memory_max > 0 ? "1" : "0", err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < CGROUP_LIMIT_COUNT_; i++) {
        if (set_file(dir, i, limits, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int open_vm(const char *mark, const char *id, int *ret_fd, struct error *err)
{
    AUTO_CLOSE int mark_fd = -1;
    if (cgroup_name_check(id, err) != 0 || cgroup_mark_open(mark, &mark_fd, err) != 0) {
        return -1;
    }
    *ret_fd = mark_fd < 0 ? -1 : cgroup_dir_open(mark_fd, id);
    return 0;
}

int cgroup_limits_read(const char *mark, const char *id, dev_t io_device, struct cgroup_limits *ret, struct error *err)
{
    AUTO_CLOSE int dir = -1;
    if (open_vm(mark, id, &dir, err) != 0) {
        return -1;
    }
    *ret = (struct cgroup_limits){.io_device = io_device};
    for (size_t i = 0; dir >= 0 && i < CGROUP_LIMIT_COUNT_; i++) {
        char text[FILE_TEXT_MAX];
        if (cgroup_control_read(dir, cgroup_limit_files[i].name, text, sizeof text) == 0) {
            cgroup_limit_files[i].parse(text, ret);
        }
    }
    return 0;
}

bool cgroup_was_out_of_memory(const char *mark, const char *id)
{
    char events[CGROUP_CONTROL_MAX];
    uint64_t kills = 0;
    AUTO_CLOSE int dir = -1;
    if (open_vm(mark, id, &dir, NULL) != 0 || dir < 0 || cgroup_control_read(dir, "memory.events", events, sizeof events) != 0) {
        return false;
    }
    const char *line = strstr(events, "\noom_kill ");
    return line != NULL && sscanf(line, " oom_kill %" SCNu64, &kills) == 1 && kills > 0;
}
