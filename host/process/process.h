/*
 * Processes, held and signalled only through pidfds. Any thread. Error: SYSTEM unless said otherwise.
 * Facts: clone(2) CLONE_PIDFD and CLONE_INTO_CGROUP (Linux 5.7), pidfd_open(2), pidfd_send_signal(2),
 * waitid(2) P_PIDFD.
 */
#ifndef SMARTVM_HOST_PROCESS_PROCESS_H
#define SMARTVM_HOST_PROCESS_PROCESS_H

#include "core/error.h"

#include <stdint.h>
#include <sys/types.h>

struct jail;

enum { PROCESS_STATUS_TEXT_MAX = 64 }; /* of process_status_text() */

struct process_spec {
    const char *path;                   /* absolute path of the program */
    const char *const *argv;            /* ends with NULL; argv[0] included */
    const char *cwd;                    /* absolute */
    int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null */
    int cgroup_fd;                      /* directory of a cgroup v2, or -1 */
    int extra_fd;                       /* handed over as descriptor 3, or -1 */
    const struct jail *jail;            /* NULL: none (host/process/jail.h); path and cwd are then those inside, if the child enters it itself */
};

struct process {
    pid_t pid;
    int pidfd;           /* owned by the caller, CLOEXEC */
    uint64_t start_time; /* field 22 of /proc/<pid>/stat, clock ticks since boot */
};

/*
 * Starts a program: empty environment but PATH, new session, default signal handling, no_new_privs, all other
 * descriptors closed, OOM score 0, umask 077; one with a jail also without core dumps. Returns when the program runs (execve succeeded); what went
 * wrong before is reported here, in words: VMM_UNAVAILABLE when the program is missing or not executable. The
 * calling thread waits for the exec as after vfork(2), the others go on. For some microseconds after the
 * return the kernel may still show an empty command line. Where CLONE_INTO_CGROUP is refused, the child moves
 * itself by writing to cgroup.procs before exec.
 */
int process_spawn(const struct process_spec *spec, struct process *ret, struct error *err);

/*
 * Finds a process again: opens the pidfd first, then compares the start time. *ret_pidfd is -1 (and the call
 * succeeds) when there is no such process or it is another one, or a zombie.
 */
int process_open(pid_t pid, uint64_t start_time, int *ret_pidfd, struct error *err);

/*
 * A descriptor that gets readable when this thread of the process ends (PIDFD_THREAD of pidfd_open(2), Linux 6.9); -1 when the kernel can't do
 * that or the thread is gone. Compared with /proc after it was opened, so it is never that of another process.
 */
int process_watch_thread(pid_t pid, pid_t thread);

int process_signal(int pidfd, int signal, struct error *err); /* one that is gone already is no failure */
bool process_is_alive(int pidfd);                             /* false for a zombie */

/* Waits until it has ended, at most timeout_ms (-1: for ever); TIMEOUT when it has not. When it is our child
 * it is reaped, and *ret_status gets the wait(2) status; else -1. */
int process_wait(int pidfd, int timeout_ms, int *ret_status, struct error *err);

/* "exit code 3" or "signal 9 (Killed)" or "unknown" for -1, into buf[PROCESS_STATUS_TEXT_MAX]; returns buf.
 */
char *process_status_text(int status, char *buf);

/* A process that is gone: sys_errno ENOENT or ESRCH. */
int process_start_time(pid_t pid, uint64_t *ret, struct error *err);
int64_t process_start_ms(uint64_t start_time); /* of struct process, in milliseconds of CLOCK_BOOTTIME */

/* The four uids of /proc/<pid>/status. A process that is gone: sys_errno ENOENT or ESRCH. */
struct process_ids {
    uid_t real, effective, saved, file_system;
};
int process_ids(pid_t pid, struct process_ids *ret, struct error *err);

/* Calls `found` for each process of this host whose real uid is in the range; one pass over /proc. */
int process_find_uids(uid_t first, uint32_t count, void (*found)(pid_t pid, uid_t uid, void *ctx), void *ctx, struct error *err);

/* Is there any process with this real uid? Cheap: getpriority(2). */
bool process_uid_is_used(uid_t uid);

/* The command line as one buffer with NULs between the arguments; *ret owned by the caller. Length 0 for a
 * zombie or a kernel thread. A process that is gone: sys_errno ENOENT or ESRCH. */
int process_cmdline(pid_t pid, char **ret, size_t *ret_len, struct error *err);

/*
 * Calls `found`, in one pass over /proc, for each process of this host that has an argument which begins with
 * one of `prefixes` (ends with NULL), with the first such argument. Anyone may give a process any arguments:
 * whoever acts on what is found must check what the process is.
 */
int process_find(const char *const *prefixes, void (*found)(pid_t pid, const char *argument, void *ctx), void *ctx, struct error *err);

#endif
