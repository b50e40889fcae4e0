/*
 * Inside host/ only: the control files of a cgroup that limit it, a row each, and what stands in them (Documentation/admin-guide/cgroup-v2.rst).
 * Pure functions, any thread.
 */
#ifndef SMARTVM_HOST_PROCESS_CGROUP_LIMIT_FILES_H
#define SMARTVM_HOST_PROCESS_CGROUP_LIMIT_FILES_H

#include "host/process/cgroup.h"

enum cgroup_limit_kind { CGROUP_MEMORY_MAX, CGROUP_PIDS_MAX, CGROUP_CPU_MAX, CGROUP_CPU_WEIGHT, CGROUP_IO_MAX, CGROUP_LIMIT_COUNT_ };

enum { CGROUP_VALUE_MAX = 128 };

struct cgroup_limit_file {
    const char *name;                                                               /* "cpu.max" */
    bool (*is_supported)(const struct cgroup_support *support);                     /* is its controller there? */
    void (*format)(const struct cgroup_limits *limits, char buf[CGROUP_VALUE_MAX]); /* what is written; "": nothing can be */
    void (*parse)(const char *text, struct cgroup_limits *limits);                  /* what is read; of io.max, the line of limits->io_device */
};
extern const struct cgroup_limit_file cgroup_limit_files[CGROUP_LIMIT_COUNT_];

#endif
