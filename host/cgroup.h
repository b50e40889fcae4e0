/*
 * One cgroup v2 directory per VM: <cgroup2 mount>/<mark>/<vm id>. The mount is found in /proc/self/mountinfo,
 * never assumed. Where cgroup v2 is missing or has no controllers, VMs still get a directory if possible, and
 * limits are reported as not in force; nothing fails for that. Any thread. Error: SYSTEM.
 */
#ifndef SMARTVM_HOST_CGROUP_H
#define SMARTVM_HOST_CGROUP_H

#include "core/error.h"

#include <stdint.h>
#include <sys/types.h>

struct cgroup_support {
    bool mounted;           /* a writable cgroup v2 mount was found */
    char mount[256];        /* "" when not */
    bool memory, cpu, pids; /* controllers that are available */
};

int cgroup_probe(struct cgroup_support *ret, struct error *err);

/* Makes <mount>/<mark> (with controllers handed down where possible) and <mount>/<mark>/<id>; idempotent.
 * *ret_fd is an O_PATH or O_DIRECTORY descriptor fit for CLONE_INTO_CGROUP, or -1 where there is no cgroup
 * v2. memory_max in bytes, 0 = none. */
int cgroup_ensure(const char *mark, const char *id, uint64_t memory_max, int *ret_fd, struct error *err);

/* Calls `found` with the id and each pid in <mount>/<mark>/<id>; an empty cgroup gives one call with pid 0.
 */
int cgroup_list(const char *mark, void (*found)(const char *id, pid_t pid, void *ctx), void *ctx,
                struct error *err);

/* Pids in one cgroup: at most `max` into ret; *ret_exists false when there is no such cgroup. */
int cgroup_pids(const char *mark, const char *id, pid_t *ret, size_t max, size_t *ret_count, bool *ret_exists,
                struct error *err);

/* Kills whatever is in it (cgroup.kill, else each pid through a pidfd) and removes it; none is no failure. */
int cgroup_remove(const char *mark, const char *id, struct error *err);

#endif
