#include "server/privileges.h"

#include "core/cleanup.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>

/*
 * What each process may call, by name and not by number: one that this architecture or this libseccomp does not know is skipped. What is not here is refused:
 * new programs and processes, namespaces, mounts, tracing, other people's memory, keyrings, bpf, io_uring, modules, changes of identity, and whatever kernels
 * get in the future.
 */

/* Memory, time, its own signals and its own end: every process. */
static const char *const allowed_to_all[] = {
    "brk",         "munmap",       "mremap",         "madvise",           "futex",  "exit",   "exit_group",    "rt_sigreturn", "restart_syscall", "read",
    "write",       "lseek",        "close",          "sched_yield",       "getpid", "gettid", "clock_gettime",
#ifdef __SANITIZE_ADDRESS__ /* the sanitizers' own */
    "sigaltstack", "rt_sigaction", "rt_sigprocmask", "sched_getaffinity", "prctl",
#endif
};

/* Files and descriptors: the database, and what SQLite does with it. */
static const char *const allowed_to_database[] = {
    "openat",       "open",      "access",     "faccessat", "faccessat2", "stat",       "lstat",        "fstat",          "newfstatat",      "statx",
    "fstatfs",      "readlink",  "readlinkat", "getcwd",    "pread64",    "pwrite64",   "readv",        "writev",         "preadv",          "pwritev",
    "ftruncate",    "fallocate", "fsync",      "fdatasync", "fcntl",      "flock",      "unlink",       "unlinkat",       "rename",          "renameat",
    "renameat2",    "mkdir",     "mkdirat",    "rmdir",     "fchmod",     "fchown",     "chmod",        "utimensat",      "getdents64",      "umask",
    "memfd_create", "dup",       "dup2",       "dup3",      "pipe2",      "eventfd2",   "getuid",       "geteuid",        "getgid",          "getegid",
    "getppid",      "getrandom", "getrusage",  "sysinfo",   "uname",      "prlimit64",  "getrlimit",    "nanosleep",      "clock_nanosleep", "clock_getres",
    "gettimeofday", "time",      "poll",       "ppoll",     "select",     "pselect6",   "rt_sigaction", "rt_sigprocmask", "sigaltstack",     "tgkill",
    "sendmsg",      "recvmsg",   "sendto",     "recvfrom",  "shutdown",   "getsockopt", "setsockopt",
};

/* Clients: sockets that were opened for it, and those that come in by them. */
static const char *const allowed_to_api[] = {
    "accept",    "accept4",    "getsockname", "getpeername",  "sendfile",       "splice",          "socketpair", "epoll_create1",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "timerfd_create", "timerfd_settime", "signalfd4",  "ioctl",
};

static void release_filter(scmp_filter_ctx *filter)
{
    if (*filter != NULL) {
        seccomp_release(*filter);
    }
}

enum { ARGUMENT_PROTECTION = 2, ARGUMENT_FLAGS = 3 }; /* mmap(2), mprotect(2) */

static int allow(scmp_filter_ctx filter, const char *name, unsigned arguments, const struct scmp_arg_cmp *argument, struct error *err)
{
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) {
        return 0;
    }
    int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, arguments, argument);
    return r < 0 ? error_sys(err, ERR_SYSTEM, -r, "cannot make a rule of the system call %s", name) : 0;
}

static int allow_all(scmp_filter_ctx filter, const char *const *names, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (allow(filter, names[i], 0, NULL, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/*
 * What they map or protect can't be executed: nobody brings code. The inspector shares no memory, either: what is shared counts for no limit of the process.
 */
static int allow_memory(scmp_filter_ctx filter, enum system_calls of, struct error *err)
{
    const struct scmp_arg_cmp rules[] = {SCMP_CMP(ARGUMENT_PROTECTION, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                                         SCMP_CMP(ARGUMENT_FLAGS, SCMP_CMP_MASKED_EQ, MAP_SHARED, 0)};
    return allow(filter, "mmap", of == SYSTEM_CALLS_OF_INSPECTOR ? 2 : 1, rules, err) == 0 ? allow(filter, "mprotect", 1, rules, err) : -1;
}

static int add_rules(scmp_filter_ctx filter, enum system_calls of, struct error *err)
{
    if (allow_memory(filter, of, err) != 0) {
        return -1;
    }
    if (allow_all(filter, allowed_to_all, ARRAY_LEN(allowed_to_all), err) != 0 ||
        (of != SYSTEM_CALLS_OF_INSPECTOR && allow_all(filter, allowed_to_database, ARRAY_LEN(allowed_to_database), err) != 0)) {
        return -1;
    }
    return of == SYSTEM_CALLS_OF_API ? allow_all(filter, allowed_to_api, ARRAY_LEN(allowed_to_api), err) : 0;
}

int drop_system_calls(enum system_calls of, struct error *err)
{
    CLEANUP(release_filter) scmp_filter_ctx filter = seccomp_init(of == SYSTEM_CALLS_OF_INSPECTOR ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(ENOSYS));
    if (filter == NULL) {
        return error_oom(err);
    }
    /*
     * Calls by another architecture's table would get past the numbers below. The filter runs at every call
     * of the event loop, hence the binary tree (optimisation 2) in place of a walk through the list.
     */
    int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0) {
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    }
    if (r < 0) {
        return error_sys(err, ERR_SYSTEM, -r, "cannot prepare the system call filter");
    }
    if (add_rules(filter, of, err) != 0) {
        return -1;
    }
    r = seccomp_load(filter);
    return r < 0 ? error_sys(err, ERR_SYSTEM, -r, "cannot load the system call filter") : 0;
}
