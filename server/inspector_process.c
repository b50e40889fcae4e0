#include "server/inspector_process.h"

#include "core/cleanup.h"
#include "core/log.h"
#include "server/child.h"
#include "server/landlock.h"
#include "server/privileges.h"

#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MEMORY_BYTES = 1024 * 1024 * 1024 }; /* XZ and Zstandard need some hundred MiB for their largest windows */

int inspector_process_start(const char *word, int answer, int in, int out, struct error *err)
{
    const int fds[] = {answer, in, out};
    return child_start(INSPECTOR_PROCESS_FLAG, word, fds, out < 0 ? 2 : 3, err);
}

int inspector_process_open(int argc, char **argv, const char **ret_word, struct error *err)
{
    pid_t parent = 0;
    log_set_role("inspector");
    (void)mallopt(M_ARENA_MAX, 1);
    if (!child_arguments(argc, argv, &parent, ret_word)) {
        return error_set(err, ERR_BAD_REQUEST, "the arguments are not those of the inspector");
    }
    return drop_privileges_of_inspector(parent, err);
}

static int limit(int what, const char *name, uint64_t most, struct error *err)
{
    const struct rlimit limit = {.rlim_cur = most, .rlim_max = most};
    return setrlimit((__rlimit_resource_t)what, &limit) == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot limit the %s of the inspector", name);
}

int inspector_process_close(uint64_t max_bytes, struct error *err)
{
    /* It needs a descriptor for that, and will have no more. */
    (void)landlock_close();
    for (int fd = 0; fd < INSPECTOR_FD_ANSWER; fd++) { /* the daemon's log: what it has to say goes into its answer */
        (void)close(fd);
    }
    if (limit(RLIMIT_CPU, "processor time", INSPECTOR_CPU_S, err) != 0 || limit(RLIMIT_FSIZE, "output", max_bytes, err) != 0 ||
        limit(RLIMIT_NOFILE, "descriptors", INSPECTOR_FD_OUT + 1, err) != 0) {
        return -1;
    }
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes */
    if (limit(RLIMIT_DATA, "memory", MEMORY_BYTES, err) != 0) {
        return -1;
    }
#endif
    return drop_system_calls(SYSTEM_CALLS_OF_INSPECTOR, err);
}
