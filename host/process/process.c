/* Holding a process by its pidfd: finding it again, signalling it, waiting for it, and what /proc says about
 * it. */
#include "host/process/process.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    STATUS_BYTES = 1024,        /* of /proc/<pid>/status: the uids are among its first lines */
    STAT_BYTES = 1024,          /* the whole line: 52 numbers of at most 20 digits, and a name */
    STAT_FIELD_START_TIME = 22, /* proc(5), counted from 1 */
    STAT_FIELD_AFTER_NAME = 3,
};

/* The first bytes of a file of /proc, terminated. */
static int read_small_file(const char *path, char *buf, size_t size, struct error *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", path);
    }
    ssize_t n = read(fd, buf, size - 1);
    if (n < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read %s", path);
    }
    buf[n] = '\0';
    return 0;
}

/* The name in parentheses may itself hold spaces and parentheses, so counting begins behind the last one. */
static const char *stat_field(const char *line, int field)
{
    const char *at = strrchr(line, ')');
    for (int i = STAT_FIELD_AFTER_NAME - 1; at != NULL && i < field; i++) {
        at = strchr(at, ' ');
        at = at == NULL ? NULL : at + 1;
    }
    return at;
}

int process_start_time(pid_t pid, uint64_t *ret, struct error *err)
{
    char path[64];
    char line[STAT_BYTES];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_small_file(path, line, sizeof line, err) != 0) {
        return -1;
    }
    const char *text = stat_field(line, STAT_FIELD_START_TIME);
    char *end = NULL;
    errno = 0;
    unsigned long long ticks = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || end == text || *end != ' ' || errno != 0) {
        return error_set(err, ERR_SYSTEM, "%s has no start time", path);
    }
    *ret = ticks;
    return 0;
}

int process_ids(pid_t pid, struct process_ids *ret, struct error *err)
{
    char path[64];
    char text[STATUS_BYTES];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (read_small_file(path, text, sizeof text, err) != 0) {
        return -1;
    }
    /* The name comes before, with its newlines escaped. */
    const char *line = strstr(text, "\nUid:");
    struct process_ids ids;
    if (line == NULL || sscanf(line, " Uid: %u %u %u %u", &ids.real, &ids.effective, &ids.saved, &ids.file_system) != 4) {
        return error_set(err, ERR_SYSTEM, "%s has no uids", path);
    }
    *ret = ids;
    return 0;
}

bool process_uid_is_used(uid_t uid)
{
    errno = 0;
    return getpriority(PRIO_USER, uid) != -1 || errno != ESRCH;
}

int64_t process_start_ms(uint64_t start_time)
{
    long ticks = sysconf(_SC_CLK_TCK);
    return (int64_t)(start_time * 1000 / (uint64_t)(ticks > 0 ? ticks : 100));
}

bool process_is_alive(int pidfd)
{
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    int n;
    do {
        n = poll(&wait, 1, 0);
    } while (n < 0 && errno == EINTR);
    return n == 0;
}

/* The pidfd pins the process, so what /proc says after a look at it that finds it alive is about that
 * process. */
int process_open(pid_t pid, uint64_t start_time, int *ret_pidfd, struct error *err)
{
    AUTO_CLOSE int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pid <= 0 || (pidfd < 0 && (errno == ESRCH || errno == EINVAL || errno == ENOENT))) {
        *ret_pidfd = -1; /* the last two: a thread, which is no process */
        return 0;
    }
    if (pidfd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open process %d", (int)pid);
    }
    struct error problem;
    uint64_t found = 0;
    if (process_start_time(pid, &found, &problem) != 0) {
        if (problem.sys_errno != ENOENT && problem.sys_errno != ESRCH) {
            return error_sys(err, ERR_SYSTEM, problem.sys_errno, "cannot look at process %d", (int)pid);
        }
        *ret_pidfd = -1;
        return 0;
    }
    *ret_pidfd = found == start_time && process_is_alive(pidfd) ? TAKE_FD(pidfd) : -1;
    return 0;
}

int process_watch_thread(pid_t pid, pid_t thread)
{
    const unsigned pidfd_thread = O_EXCL; /* PIDFD_THREAD of <linux/pidfd.h>, which Debian 12 does not have yet */
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d", (int)pid, (int)thread);
    AUTO_CLOSE int fd = pidfd_open(thread, pidfd_thread);
    return fd >= 0 && access(path, F_OK) == 0 ? TAKE_FD(fd) : -1;
}

int process_signal(int pidfd, int signal, struct error *err)
{
    if (pidfd_send_signal(pidfd, signal, NULL, 0) != 0 && errno != ESRCH) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot send signal %d", signal);
    }
    return 0;
}

static int wait_for_end(int pidfd, int timeout_ms, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    for (;;) {
        int64_t left = timeout_ms < 0 ? -1 : deadline - clock_monotonic_ms();
        int n = poll(&wait, 1, timeout_ms < 0 ? -1 : (int)(left < 0 ? 0 : left));
        if (n > 0 && (wait.revents & POLLNVAL) == 0) {
            return 0;
        }
        if (n > 0 || (n < 0 && errno != EINTR)) {
            return error_sys(err, ERR_SYSTEM, n > 0 ? EBADF : errno, "cannot wait for a process");
        }
        if (n == 0 && timeout_ms >= 0) {
            return error_set(err, ERR_TIMEOUT, "the process is still running after %d ms", timeout_ms);
        }
    }
}

static int wait_status(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_DUMPED:
        return info->si_status | WCOREFLAG;
    default:
        return info->si_status;
    }
}

int process_wait(int pidfd, int timeout_ms, int *ret_status, struct error *err)
{
    if (wait_for_end(pidfd, timeout_ms, err) != 0) {
        return -1;
    }
    siginfo_t info = {0};
    int result;
    do {
        result = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno != ECHILD) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot reap a process");
    }
    if (ret_status != NULL) {
        *ret_status = result == 0 && info.si_pid != 0 ? wait_status(&info) : -1;
    }
    return 0;
}

char *process_status_text(int status, char *buf)
{
    if (status >= 0 && WIFEXITED(status)) {
        (void)snprintf(buf, PROCESS_STATUS_TEXT_MAX, "exit code %d", WEXITSTATUS(status));
    } else if (status >= 0 && WIFSIGNALED(status)) {
        const char *words = sigdescr_np(WTERMSIG(status));
        (void)snprintf(buf, PROCESS_STATUS_TEXT_MAX, "signal %d (%s)", WTERMSIG(status), words != NULL ? words : "unnamed");
    } else {
        (void)snprintf(buf, PROCESS_STATUS_TEXT_MAX, "unknown");
    }
    return buf;
}
