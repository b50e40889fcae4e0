#include "server/privileges.h"

#include "core/cleanup.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>

/* By name and not by number: one that this architecture or this libseccomp does not know is skipped. */
static const char *const denied[] = {
    /* new programs and other people's memory */
    "execve",
    "execveat",
    "uselib",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "pidfd_getfd",
    "userfaultfd",
    "personality",
    /* mounts, roots and namespaces */
    "mount",
    "umount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    /* the kernel itself */
    "bpf",
    "perf_event_open",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "syslog",
    "iopl",
    "ioperm",
    "modify_ldt",
    "lookup_dcookie",
    "quotactl",
    "quotactl_fd",
    "nfsservctl",
    "vhangup",
    /* keyrings, file handles, io_uring, and marks on file systems */
    "keyctl",
    "add_key",
    "request_key",
    "open_by_handle_at",
    "name_to_handle_at",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "fanotify_init",
    "fanotify_mark",
    "memfd_secret",
    /* time, names of the host, memory policy */
    "settimeofday",
    "clock_settime",
    "clock_settime64",
    "clock_adjtime",
    "clock_adjtime64",
    "adjtimex",
    "stime",
    "sethostname",
    "setdomainname",
    "move_pages",
    "migrate_pages",
    "mbind",
    "set_mempolicy",
    /* identity */
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "capset",
    "mknod",
    "mknodat",
};

/* What the keeper has no use for besides: it has one socket, and gets no other. */
static const char *const denied_to_keeper[] = {"socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
                                               "fork",   "vfork",      "clone",   "clone3"};

static void release_filter(scmp_filter_ctx *filter)
{
    if (*filter != NULL) {
        seccomp_release(*filter);
    }
}

/* All that the inspector has use for. What it maps or protects can't be executed. */
static const char *const allowed_to_inspector[] = {
    "read",   "write",  "lseek",   "munmap", "mremap", "madvise",    "brk", "exit_group", "exit", "futex",
    "rt_sigreturn",
#ifdef __SANITIZE_ADDRESS__ /* the sanitizers' own */
    "sched_yield", "getpid", "gettid", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "clock_gettime",
#endif
};
static const char *const allowed_without_exec[] = {"mmap", "mprotect"};
enum { ARGUMENT_PROTECTION = 2 }; /* mmap(2), mprotect(2) */

static int add_rule(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned arguments, const struct scmp_arg_cmp *argument, struct error *err)
{
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) {
        return 0;
    }
    int r = seccomp_rule_add_array(filter, action, number, arguments, argument);
    return r < 0 ? error_sys(err, ERR_SYSTEM, -r, "cannot make a rule of the system call %s", name) : 0;
}

static int deny(scmp_filter_ctx filter, const char *const *names, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (add_rule(filter, SCMP_ACT_ERRNO(EPERM), names[i], 0, NULL, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int allow_inspector(scmp_filter_ctx filter, struct error *err)
{
    const struct scmp_arg_cmp no_exec = SCMP_CMP(ARGUMENT_PROTECTION, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    for (size_t i = 0; i < ARRAY_LEN(allowed_to_inspector); i++) {
        if (add_rule(filter, SCMP_ACT_ALLOW, allowed_to_inspector[i], 0, NULL, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(allowed_without_exec); i++) {
        if (add_rule(filter, SCMP_ACT_ALLOW, allowed_without_exec[i], 1, &no_exec, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int add_rules(scmp_filter_ctx filter, enum system_calls of, struct error *err)
{
    if (of == SYSTEM_CALLS_OF_INSPECTOR) {
        return allow_inspector(filter, err);
    }
    if (deny(filter, denied, ARRAY_LEN(denied), err) != 0) {
        return -1;
    }
    return of == SYSTEM_CALLS_OF_KEEPER ? deny(filter, denied_to_keeper, ARRAY_LEN(denied_to_keeper), err) : 0;
}

int drop_system_calls(enum system_calls of, struct error *err)
{
    CLEANUP(release_filter) scmp_filter_ctx filter = seccomp_init(of == SYSTEM_CALLS_OF_INSPECTOR ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ALLOW);
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
