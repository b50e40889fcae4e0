#include "host/process/child.h"

#include "core/cleanup.h"
#include "host/process/jail.h"
#include "host/process/jail_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    STACK_BYTES = 64 * 1024,
    GUARD_BYTES = 4096,
    FIRST_FREE_FD = PROCESS_PLACE_MAX,
    LAST_SIGNAL = 64,
};

#define SEARCH_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const step_words[] = {
    [STEP_SIGNALS] = "resetting its signals",    [STEP_SESSION] = "making its session",
    [STEP_CGROUP] = "moving it into its cgroup", [STEP_OOM] = "setting its OOM score",
    [STEP_LIMITS] = "setting its limits",        [STEP_NAMESPACE] = "making its namespaces",
    [STEP_MOUNTS] = "mounting its jail",         [STEP_DESCRIPTORS] = "handing over its descriptors",
    [STEP_ROOT] = "entering its jail",           [STEP_CWD] = "entering its working directory",
    [STEP_IDENTITY] = "taking on its uid",       [STEP_PRIVILEGES] = "setting no_new_privs",
    [STEP_FILTER] = "taking system calls away",  [STEP_EXEC] = "executing it",
};

/* The kernel's own struct: the C library's sigaction() refuses the two signals that it keeps for itself. */
struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

PROCESS_CHILD_SIDE static int reset_signals(void)
{
    struct kernel_sigaction action = {0};
    for (int number = 1; number <= LAST_SIGNAL; number++) {
        if (number != SIGKILL && number != SIGSTOP && syscall(SYS_rt_sigaction, number, &action, NULL, sizeof action.mask) != 0) {
            return -1;
        }
    }
    return 0;
}

PROCESS_CHILD_SIDE static int write_file(int dir, const char *name, const char *text, size_t len)
{
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = write(fd, text, len);
    int errnum = errno;
    (void)close(fd);
    errno = errnum;
    return n == (ssize_t)len ? 0 : -1;
}

/* A copy of `fd` (or of /dev/null) above the numbers that are about to be filled. */
PROCESS_CHILD_SIDE static int lift_fd(int fd)
{
    if (fd >= 0) {
        return fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    return null < 0 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
}

PROCESS_CHILD_SIDE int process_place_descriptors(const int *wanted, int count)
{
    int lifted[PROCESS_PLACE_MAX];
    for (int i = 0; i < count; i++) {
        lifted[i] = lift_fd(wanted[i]);
        if (lifted[i] < 0) {
            return -1;
        }
    }
    for (int i = 0; i < count; i++) {
        if (dup2(lifted[i], i) < 0) {
            return -1;
        }
    }
    return close_range((unsigned)count, ~0U, 0);
}

/* 0 to 2 are the standard streams, 3 is spec->extra_fd. */
PROCESS_CHILD_SIDE static int place_descriptors(const struct process_spec *spec)
{
    const int wanted[] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd, spec->extra_fd};
    return process_place_descriptors(wanted, spec->extra_fd >= 0 ? 4 : 3);
}

PROCESS_CHILD_SIDE int process_enter_cgroup(int cgroup_fd)
{
    return write_file(cgroup_fd, "cgroup.procs", "0", 1);
}

/* Only lowering needs a privilege that a container may lack, and a score above 0 endangers nobody but the
 * program. */
PROCESS_CHILD_SIDE static int reset_oom_score(void)
{
    int result = write_file(AT_FDCWD, "/proc/self/oom_score_adj", "0", 1);
    return result != 0 && errno == EACCES ? 0 : result;
}

/* No core dump: the guest's memory would be in it. */
PROCESS_CHILD_SIDE static int set_limits(const struct jail *jail)
{
    static const struct rlimit none = {0, 0};
    if (jail == NULL) {
        return 0;
    }
    const struct rlimit file = {jail->file_bytes_max, jail->file_bytes_max};
    if (syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, NULL) != 0) {
        return -1;
    }
    return jail->file_bytes_max == 0 ? 0 : (int)syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, &file, NULL);
}

PROCESS_CHILD_SIDE static int leave_namespace(const struct jail *jail)
{
    if (jail == NULL) {
        return 0;
    }
    /* What a VMM keeps in System V memory would outlive it, beyond all limits. EINVAL: a kernel without these namespaces. */
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0 && (errno != EINVAL || unshare(CLONE_NEWNS) != 0)) {
        return -1;
    }
    return (int)syscall(SYS_mount, "", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

PROCESS_CHILD_SIDE static int attach_mounts(const struct jail *jail)
{
    const unsigned from_empty = 4; /* MOVE_MOUNT_F_EMPTY_PATH of <linux/mount.h>, which can't be used beside <sys/mount.h> */
    if (jail == NULL) {
        return 0;
    }
    if (syscall(SYS_move_mount, jail->root, "", AT_FDCWD, jail->place, from_empty) != 0) {
        return -1;
    }
    for (size_t i = 0; i < jail->count; i++) {
        if (syscall(SYS_move_mount, jail->binds[i].mount, "", jail->root, jail->binds[i].path, from_empty) != 0) {
            return -1;
        }
    }
    return 0;
}

/* The jail becomes the root, and what was the root is gone: pivot_root(2), "pivot_root(".", ".")". */
PROCESS_CHILD_SIDE static int enter_jail(const struct jail *jail)
{
    if (jail == NULL || jail->uid == 0) {
        return 0;
    }
    return chdir(jail->place) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || syscall(SYS_umount2, ".", MNT_DETACH) != 0 ? -1 : 0;
}

/* By system calls: the C library's functions would change all threads of the daemon, whose memory this is. Capabilities go with the uid; the bounding set first. */
PROCESS_CHILD_SIDE static int become_user(const struct jail *jail)
{
    if (jail == NULL || jail->uid == 0) {
        return 0;
    }
    for (unsigned capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
            return -1;
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 || syscall(SYS_setgroups, 0, NULL) != 0 ||
        syscall(SYS_setresgid, jail->uid, jail->uid, jail->uid) != 0) {
        return -1;
    }
    if (syscall(SYS_setresuid, jail->uid, jail->uid, jail->uid) != 0) {
        return -1;
    }
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a change of uid sets it as the host's fs.suid_dumpable says, and until exec this memory is the daemon's */
}

PROCESS_CHILD_SIDE static int run_step(const struct process_child *child)
{
    const struct process_spec *spec = child->spec;
    static const char *const environment[] = {SEARCH_PATH, NULL};
    static const uint64_t no_signals = 0;
    switch (child->step) {
    case STEP_SIGNALS:
        return reset_signals();
    case STEP_SESSION:
        (void)umask(077);
        return setsid() < 0 ? -1 : 0;
    case STEP_CGROUP:
        return child->enters_cgroup ? process_enter_cgroup(spec->cgroup_fd) : 0;
    case STEP_OOM:
        return reset_oom_score();
    case STEP_LIMITS:
        return set_limits(spec->jail);
    case STEP_NAMESPACE:
        return leave_namespace(spec->jail);
    case STEP_MOUNTS:
        return attach_mounts(spec->jail);
    case STEP_DESCRIPTORS:
        return place_descriptors(spec);
    case STEP_ROOT:
        return enter_jail(spec->jail);
    case STEP_CWD:
        return chdir(spec->cwd);
    case STEP_IDENTITY:
        return become_user(spec->jail);
    case STEP_PRIVILEGES:
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    case STEP_FILTER:
        return spec->jail != NULL && spec->jail->uid != 0 ? jail_filter_load() : 0;
    case STEP_EXEC:
        (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, sizeof no_signals);
        return (int)syscall(SYS_execve, spec->path, spec->argv, environment);
    }
    return -1;
}

PROCESS_CHILD_SIDE int process_child_main(void *arg)
{
    struct process_child *child = arg;
    for (child->step = STEP_SIGNALS; run_step(child) == 0; child->step++) {
    }
    child->errnum = errno;
    (void)syscall(SYS_exit_group, 127);
    __builtin_unreachable();
}

/*
 * clone3(2) with a stack has no wrapper in the C library: the child comes back on an empty stack, so it must
 * leave for run() without a return in between.
 */
PROCESS_CHILD_SIDE static long clone3_run(struct clone_args *args, int (*run)(void *), void *arg)
{
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movq %[arg], %%rdi\n\t"
                     "callq *%[run]\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), [run] "r"(run), [arg] "r"(arg)
                     : "rcx", "r11", "cc", "memory");
    return result;
#else
    (void)args;
    (void)run;
    (void)arg;
    return -ENOSYS;
#endif
}

PROCESS_CHILD_SIDE long process_clone(int cgroup_fd, int (*run)(void *arg), void *arg, char *stack, bool *ret_enters_cgroup, int *ret_pidfd)
{
    const uint64_t flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
    if (cgroup_fd >= 0) {
        struct clone_args args = {
            .flags = flags | CLONE_INTO_CGROUP,
            .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
            .exit_signal = SIGCHLD,
            .stack = (uint64_t)(uintptr_t)stack,
            .stack_size = STACK_BYTES,
            .cgroup = (uint64_t)cgroup_fd,
        };
        long pid = clone3_run(&args, run, arg);
        if (pid > 0 || pid == -EAGAIN || pid == -ENOMEM) {
            return pid;
        }
        *ret_enters_cgroup = true;
    }
    int pid = clone(run, stack + STACK_BYTES, (int)flags | SIGCHLD, arg, ret_pidfd);
    return pid > 0 ? pid : -errno;
}

int process_stacks_begin(struct process_stacks *ret)
{
    const size_t one = GUARD_BYTES + STACK_BYTES;
    sigset_t all;
    char *memory = mmap(NULL, 2 * one, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    (void)mprotect(memory, GUARD_BYTES, PROT_NONE);
    (void)mprotect(memory + one, GUARD_BYTES, PROT_NONE);
    *ret = (struct process_stacks){.memory = memory, .first = memory + GUARD_BYTES, .second = memory + one + GUARD_BYTES};
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &ret->signals);
    return 0;
}

void process_stacks_end(struct process_stacks *stacks)
{
    (void)pthread_sigmask(SIG_SETMASK, &stacks->signals, NULL);
    (void)munmap(stacks->memory, 2 * (size_t)(GUARD_BYTES + STACK_BYTES));
}

int process_report_failed_step(const struct process_child *child, struct error *err)
{
    static const int unavailable[] = {ENOENT, EACCES, ENOEXEC, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG};
    enum error_code code = ERR_SYSTEM;
    for (size_t i = 0; child->step == STEP_EXEC && i < ARRAY_LEN(unavailable); i++) {
        if (child->errnum == unavailable[i]) {
            code = ERR_VMM_UNAVAILABLE;
        }
    }
    return error_sys(err, code, child->errnum, "cannot start %s: %s", child->spec->path, step_words[child->step]);
}
