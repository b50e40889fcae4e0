#include "server/privileges.h"

#include "core/cleanup.h"

#include <errno.h>
#include <seccomp.h>

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

static int add_rules(scmp_filter_ctx filter, const char *const *names, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number == __NR_SCMP_ERROR) {
            continue;
        }
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
        if (r < 0) {
            return error_sys(err, ERR_SYSTEM, -r, "cannot forbid the system call %s", names[i]);
        }
    }
    return 0;
}

int drop_system_calls(enum system_calls of, struct error *err)
{
    CLEANUP(release_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
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
    if (add_rules(filter, denied, ARRAY_LEN(denied), err) < 0 ||
        (of == SYSTEM_CALLS_OF_KEEPER && add_rules(filter, denied_to_keeper, ARRAY_LEN(denied_to_keeper), err) < 0)) {
        return -1;
    }
    r = seccomp_load(filter);
    return r < 0 ? error_sys(err, ERR_SYSTEM, -r, "cannot load the system call filter") : 0;
}
