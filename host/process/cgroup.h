/*
 * One cgroup v2 directory per VM: <cgroup2 mount>/<mark>/<vm id>. The mount is found in /proc/self/mountinfo,
 * never assumed. Where cgroup v2 is missing or has no controllers, VMs still get a directory if possible, and
 * limits are reported as not in force; nothing fails for that. Any thread. Error: SYSTEM.
 */
#ifndef SMARTVM_HOST_PROCESS_CGROUP_H
#define SMARTVM_HOST_PROCESS_CGROUP_H

#include "core/error.h"

#include <stdint.h>
#include <sys/types.h>

struct cgroup_support {
    bool mounted;               /* a writable cgroup v2 mount was found */
    char mount[256];            /* "" when not */
    bool memory, cpu, pids, io; /* controllers that are available */
};

int cgroup_probe(struct cgroup_support *ret, struct error *err);

/* Makes <mount>/<mark> (with controllers handed down where possible) and <mount>/<mark>/<id>; idempotent.
 * *ret_fd is an O_PATH or O_DIRECTORY descriptor fit for CLONE_INTO_CGROUP, or -1 where there is no cgroup
 * v2. */
int cgroup_ensure(const char *mark, const char *id, int *ret_fd, struct error *err);

/* Likewise <mount>/<mark>/.shims, without limits, for the parents of the VMMs. No VM has that name. */
int cgroup_ensure_shims(const char *mark, int *ret_fd, struct error *err);

/* What the processes of a cgroup may have (Documentation/admin-guide/cgroup-v2.rst); 0: as much as there is. */
struct cgroup_limits {
    uint64_t memory_max; /* bytes */
    uint64_t pids_max;   /* threads count, too */
    uint64_t cpu_max;    /* microseconds in each CGROUP_CPU_PERIOD_US, of all CPUs together */
    uint64_t cpu_weight; /* 1 to 10000; 0: the kernel's default, 100 */
    dev_t io_device;     /* the disk that io_max is of: host/process/block_device.h; 0: none */
    uint64_t io_max[4];  /* a second: bytes read, bytes written, reads, writes */
};
enum { CGROUP_CPU_PERIOD_US = 100000, CGROUP_IO_COUNT = 4 };

/*
 * Makes the cgroup and sets its limits. With one of memory it has no swap either, and runs out of memory as a whole. What the host has no
 * controller for is left out. Idempotent; also while processes are in it.
 */
int cgroup_limit(const char *mark, const char *id, const struct cgroup_limits *limits, struct error *err);

/* The limits in force, and of which disk (`io_device`, may be 0) those of input and output; zeroes where there are none, or no such cgroup. */
int cgroup_limits_read(const char *mark, const char *id, dev_t io_device, struct cgroup_limits *ret, struct error *err);

/* The first limit that is in force otherwise than wanted, in words ("pids.max of the cgroup is max, not 66"); "" when there is none, or no controller for it. */
enum { CGROUP_DIFFERENCE_MAX = 256 };
void cgroup_limits_compare(const struct cgroup_support *support, const struct cgroup_limits *wanted, const struct cgroup_limits *found,
                           char ret[CGROUP_DIFFERENCE_MAX]);

/* Has the kernel killed in this cgroup because its memory was used up? false where nobody knows. */
bool cgroup_was_out_of_memory(const char *mark, const char *id);

/* Calls `found` with the id and each pid in <mount>/<mark>/<id>; an empty cgroup gives one call with pid 0.
 */
int cgroup_list(const char *mark, void (*found)(const char *id, pid_t pid, void *ctx), void *ctx, struct error *err);

/* Pids in one cgroup: at most `max` into ret; *ret_exists false when there is no such cgroup. */
int cgroup_pids(const char *mark, const char *id, pid_t *ret, size_t max, size_t *ret_count, bool *ret_exists, struct error *err);

/* Removes <mount>/<mark> when nothing is in it any more; otherwise, and when there is none, nothing happens. */
int cgroup_remove_mark(const char *mark, struct error *err);

/* Kills whatever is in it (cgroup.kill, else each pid through a pidfd) and removes it; none is no failure. */
int cgroup_remove(const char *mark, const char *id, struct error *err);

#endif
