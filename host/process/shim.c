#include "host/process/shim.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/child.h"
#include "host/process/spawn_lock.h"
#include "shim/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* shim_data.S */
extern const char shim_program_begin[];
extern const size_t shim_program_len;

enum {
    EXEC_FD = SHIM_FD_COUNT_, /* closed by the exec */
    END_TIMEOUT_MS = 1000,
};

/* One for all shims of this daemon, so that they share their pages. */
static int program_fd = -1;

static void make_program(void)
{
    const unsigned executable = 0x10; /* MFD_EXEC, Linux 6.3 */
    const size_t len = shim_program_len;
    int fd = memfd_create("smartvmd-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING | executable);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create("smartvmd-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd >= 0 && (write(fd, shim_program_begin, len) != (ssize_t)len ||
                    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0 || faccessat(fd, "", X_OK, AT_EMPTY_PATH) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    program_fd = fd;
}

static bool has_program(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_program);
    return program_fd >= 0;
}

void shim_prepare(void)
{
    (void)has_program();
}

/* Shared with the child, which runs in our memory. */
struct start {
    struct process_child vmm;
    int cgroup_fd;
    bool enters_cgroup;
    int fds[SHIM_FD_COUNT_]; /* what becomes of them; the link's other end and the pidfd are filled in */
    const char *argv[4];
    char *vmm_stack;
    long vmm_pid;  /* or -errno */
    int vmm_pidfd; /* a number of the child's */
    int errnum;    /* of the shim itself */
};

PROCESS_CHILD_SIDE static int send_pidfd(int link, int pidfd)
{
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    *(int *)(void *)CMSG_DATA(&control.header) = pidfd;
    return syscall(SYS_sendmsg, link, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

PROCESS_CHILD_SIDE static int become_shim(struct start *start)
{
    static const char *const environment[] = {NULL};
    int wanted[SHIM_FD_COUNT_ + 1];
    if (send_pidfd(start->fds[SHIM_FD_LINK], start->vmm_pidfd) != 0) {
        return -1;
    }
    start->fds[SHIM_FD_PROCESS] = start->vmm_pidfd;
    for (int i = 0; i < SHIM_FD_COUNT_; i++) {
        wanted[i] = start->fds[i];
    }
    wanted[EXEC_FD] = program_fd;
    if (chdir("/") != 0 || process_place_descriptors(wanted, SHIM_FD_COUNT_ + 1) != 0 || fcntl(EXEC_FD, F_SETFD, FD_CLOEXEC) != 0) {
        return -1;
    }
    return (int)syscall(SYS_execveat, EXEC_FD, "", start->argv, environment, AT_EMPTY_PATH);
}

PROCESS_CHILD_SIDE static int shim_child_main(void *arg)
{
    struct start *start = arg;
    if (start->enters_cgroup) {
        (void)process_enter_cgroup(start->cgroup_fd); /* it is better where it is than not at all */
    }
    (void)setsid();
    start->vmm_pid = process_clone(start->vmm.spec->cgroup_fd, process_child_main, &start->vmm, start->vmm_stack, &start->vmm.enters_cgroup, &start->vmm_pidfd);
    if (start->vmm_pid > 0 && start->vmm.errnum == 0) {
        (void)become_shim(start);
        start->errnum = errno;
        (void)syscall(SYS_kill, start->vmm_pid, SIGKILL); /* our child, not reaped yet: it is the one */
    }
    if (start->vmm_pid > 0) {
        (void)syscall(SYS_wait4, start->vmm_pid, NULL, 0, NULL);
    }
    (void)syscall(SYS_exit_group, 127);
    __builtin_unreachable();
}

static int receive_pidfd(int link, struct error *err)
{
    char byte;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes};
    if (recvmsg(link, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1 || CMSG_FIRSTHDR(&message) == NULL) {
        (void)error_set(err, ERR_SYSTEM, "the shim has sent no descriptor of its process");
        return -1;
    }
    int fd = -1;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/* By the descriptor of its directory: so the path fits into an address, however long it is. */
static void socket_address(int dir, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", dir, SHIM_SOCKET);
}

static int listen_in(int dir, struct error *err)
{
    struct sockaddr_un address;
    socket_address(dir, &address);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || (unlinkat(dir, SHIM_SOCKET, 0) != 0 && errno != ENOENT) || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make the socket %s", SHIM_SOCKET);
    }
    return TAKE_FD(fd);
}

/* Returns the shim's pid, or -errno. */
static long clone_shim(struct start *start, int *ret_pidfd)
{
    struct process_stacks stacks;
    spawn_lock_spawning();
    long pid = process_stacks_begin(&stacks);
    if (pid == 0) {
        start->vmm_stack = stacks.second;
        pid = process_clone(start->cgroup_fd, shim_child_main, start, stacks.first, &start->enters_cgroup, ret_pidfd);
        process_stacks_end(&stacks);
    }
    spawn_unlock();
    return pid;
}

static int explain(const struct start *start, long pid, int pidfd, struct error *err)
{
    const char *path = start->vmm.spec->path;
    if (pid < 0) {
        return error_sys(err, ERR_SYSTEM, (int)-pid, "cannot start %s: making its parent", path);
    }
    (void)process_wait(pidfd, -1, NULL, NULL);
    if (start->vmm_pid < 0) {
        return error_sys(err, ERR_SYSTEM, (int)-start->vmm_pid, "cannot start %s: making a process", path);
    }
    if (start->vmm.errnum != 0) {
        return process_report_failed_step(&start->vmm, err);
    }
    return error_sys(err, ERR_SYSTEM, start->errnum, "cannot start %s: executing its parent", path);
}

static int start_both(struct start *start, int link, struct process *ret, struct shim *ret_shim, struct error *err)
{
    AUTO_CLOSE int shim_pidfd = -1;
    long pid = clone_shim(start, &shim_pidfd);
    if (pid < 0 || start->vmm_pid < 0 || start->vmm.errnum != 0 || start->errnum != 0) {
        return explain(start, pid, shim_pidfd, err);
    }
    AUTO_CLOSE int pidfd = receive_pidfd(link, err);
    struct process process = {.pid = (pid_t)start->vmm_pid, .pidfd = pidfd};
    /* The shim does not reap before our end of the link is closed, so the number is that of our process. */
    if (pidfd < 0 || process_start_time(process.pid, &process.start_time, err) != 0) {
        (void)process_signal(shim_pidfd, SIGKILL, NULL);
        (void)process_wait(shim_pidfd, -1, NULL, NULL);
        if (pidfd >= 0) {
            (void)process_signal(pidfd, SIGKILL, NULL);
        }
        return -1;
    }
    (void)TAKE_FD(pidfd);
    ret_shim->pidfd = TAKE_FD(shim_pidfd);
    *ret = process;
    return 0;
}

int shim_spawn(const struct process_spec *spec, const struct shim_spec *shim, struct process *ret, struct shim *ret_shim, struct error *err)
{
    int ends[2] = {-1, -1};
    char boot[24];
    *ret_shim = SHIM_NONE;
    if (!has_program()) {
        return process_spawn(spec, ret, err);
    }
    AUTO_CLOSE int dir = open(shim->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot start %s: opening %s", spec->path, shim->dir);
    }
    AUTO_CLOSE int link = ends[0];
    AUTO_CLOSE int other = ends[1];
    AUTO_CLOSE int listener = listen_in(dir, err);
    if (listener < 0) {
        return -1;
    }
    (void)snprintf(boot, sizeof boot, "%" PRId64, shim->boot);
    struct start start = {
        .vmm = {.spec = spec},
        .cgroup_fd = shim->cgroup_fd,
        .fds = {[SHIM_FD_DIR] = dir,
                [SHIM_FD_CONSOLE] = spec->stdout_fd,
                [SHIM_FD_VMM] = spec->stderr_fd,
                [SHIM_FD_LINK] = other,
                [SHIM_FD_LISTEN] = listener,
                [SHIM_FD_PROCESS] = -1},
        .argv = {"smartvmd-shim", shim->id, boot, NULL},
        .vmm_pidfd = -1,
    };
    if (start_both(&start, link, ret, ret_shim, err) != 0) {
        return -1;
    }
    ret_shim->link = TAKE_FD(link);
    return 0;
}

/* A message, terminated; its length, or -1 with errno. */
static ssize_t receive(int link, int timeout_ms, char buf[SHIM_MESSAGE_MAX])
{
    struct pollfd wait = {.fd = link, .events = POLLIN};
    int ready;
    do {
        ready = poll(&wait, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) {
        errno = ready == 0 ? ETIMEDOUT : errno;
        return -1;
    }
    ssize_t n = recv(link, buf, SHIM_MESSAGE_MAX - 1, MSG_DONTWAIT);
    buf[n > 0 ? n : 0] = '\0';
    if (n == 0) {
        errno = ECONNREFUSED; /* it ended just now */
        return -1;
    }
    return n;
}

int shim_attach(const char *dir, int timeout_ms, struct shim *ret, struct error *err)
{
    struct sockaddr_un address;
    char text[SHIM_MESSAGE_MAX];
    AUTO_CLOSE int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSE int fd = dir_fd >= 0 ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", dir);
    }
    socket_address(dir_fd, &address);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || receive(fd, timeout_ms, text) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot connect to %s/%s", dir, SHIM_SOCKET);
    }
    if (strcmp(text, SHIM_READY) != 0) {
        return error_set(err, ERR_SYSTEM, "%s/%s is not a shim's", dir, SHIM_SOCKET);
    }
    *ret = (struct shim){.link = TAKE_FD(fd), .pidfd = -1};
    return 0;
}

bool shim_parse_exit(const char *text, struct shim_exit *ret)
{
    char how[8];
    unsigned code = 0;
    struct shim_exit found;
    if (sscanf(text, "%" SCNd64 " %7s %3u %" SCNd64 " %" SCNd64, &found.boot, how, &code, &found.wall_ms, &found.uptime_ms) != 5 || code > 255) {
        return false;
    }
    if (strcmp(how, "exited") == 0) {
        found.status = (int)code << 8;
    } else if ((strcmp(how, "killed") == 0 || strcmp(how, "dumped") == 0) && code > 0 && code < 127) {
        found.status = (int)code | (how[0] == 'd' ? WCOREFLAG : 0);
    } else {
        return false;
    }
    *ret = found;
    return true;
}

bool shim_hear_exit(struct shim *shim, int timeout_ms, struct shim_exit *ret)
{
    char text[SHIM_MESSAGE_MAX];
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    while (shim->link >= 0) {
        int64_t left_ms = deadline_ms - clock_monotonic_ms();
        if (receive(shim->link, left_ms > 0 ? (int)left_ms : 0, text) < 0) {
            return false;
        }
        if (shim_parse_exit(text, ret)) {
            return true;
        }
    }
    return false;
}

bool shim_read_exit(const char *dir, int64_t boot, struct shim_exit *ret)
{
    char path[256];
    char text[SHIM_MESSAGE_MAX];
    struct shim_exit found;
    (void)snprintf(path, sizeof path, "%s/%s", dir, SHIM_EXIT);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (n <= 0) {
        return false;
    }
    text[n] = '\0';
    if (!shim_parse_exit(text, &found) || found.boot != boot) {
        return false;
    }
    *ret = found;
    return true;
}

void shim_close(struct shim *shim, bool vmm_ended)
{
    if (shim->link >= 0) {
        (void)close(shim->link);
    }
    if (shim->pidfd >= 0) {
        (void)process_wait(shim->pidfd, vmm_ended ? END_TIMEOUT_MS : 0, NULL, NULL);
        (void)close(shim->pidfd);
    }
    *shim = SHIM_NONE;
}
