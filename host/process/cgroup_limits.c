/* What a VM's cgroup may use, and whether it was too little. */
#include "host/process/cgroup.h"

#include "core/cleanup.h"
#include "host/process/cgroup_dir.h"

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

static int set_number(int dir, const char *name, uint64_t value, struct error *err)
{
    char text[32] = "max";
    if (value > 0) {
        (void)snprintf(text, sizeof text, "%" PRIu64, value);
    }
    return set(dir, name, text, err);
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
    return set_number(dir, "memory.max", limits->memory_max, err) == 0 ? set_number(dir, "pids.max", limits->pids_max, err) : -1;
}

/* "max", or no such file: 0. */
static uint64_t read_number(int dir, const char *name)
{
    char text[CGROUP_CONTROL_MAX];
    uint64_t value = 0;
    return cgroup_control_read(dir, name, text, sizeof text) == 0 && sscanf(text, "%" SCNu64, &value) == 1 ? value : 0;
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

int cgroup_limits_read(const char *mark, const char *id, struct cgroup_limits *ret, struct error *err)
{
    AUTO_CLOSE int dir = -1;
    if (open_vm(mark, id, &dir, err) != 0) {
        return -1;
    }
    *ret = (struct cgroup_limits){.memory_max = 0};
    if (dir >= 0) {
        *ret = (struct cgroup_limits){.memory_max = read_number(dir, "memory.max"), .pids_max = read_number(dir, "pids.max")};
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
