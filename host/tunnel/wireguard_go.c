/* The process of the userspace implementation. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/process.h"
#include "host/tunnel/wireguard_backends.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

enum { NAME_MAX_BYTES = 80, START_MS = 5000, START_STEP_MS = 10, STOP_MS = 2000 };

static void process_name(const char *mark, char name[NAME_MAX_BYTES])
{
    (void)snprintf(name, NAME_MAX_BYTES, "wireguard-go:%.60s", mark);
}

/* Who listens on the socket: the kernel says. 0 when nobody does. */
static pid_t listener(const char *interface)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t len = sizeof peer;
    char path[WIREGUARD_SOCKET_MAX];
    wireguard_uapi_path(interface, path);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.uid != 0) {
        return 0;
    }
    return peer.pid;
}

static bool has_our_command_line(pid_t pid, const char *mark, const char *interface)
{
    char name[NAME_MAX_BYTES];
    char wanted[2 * NAME_MAX_BYTES];
    AUTO_FREE char *line = NULL;
    size_t len = 0;
    process_name(mark, name);
    int wanted_len = snprintf(wanted, sizeof wanted, "%s%c-f%c%s", name, '\0', '\0', interface) + 1;
    return process_cmdline(pid, &line, &len, NULL) == 0 && len == (size_t)wanted_len && memcmp(line, wanted, len) == 0;
}

int wireguard_go_find(const char *mark, const char *interface, int *ret_pidfd, struct error *err)
{
    uint64_t start_time = 0;
    AUTO_CLOSE int pidfd = -1;
    pid_t pid = listener(interface);
    *ret_pidfd = -1;
    /* Held first, then looked at: what is compared is what is held. */
    if (pid <= 0 || process_start_time(pid, &start_time, NULL) != 0) {
        return 0;
    }
    if (process_open(pid, start_time, &pidfd, err) != 0) {
        return -1;
    }
    if (pidfd >= 0 && listener(interface) == pid && has_our_command_line(pid, mark, interface)) {
        *ret_pidfd = TAKE_FD(pidfd);
    }
    return 0;
}

enum { FOUND_MAX = 32 };
struct found_pids {
    pid_t items[FOUND_MAX]; /* what is beyond is found by the next call */
    size_t count;
};

static void note_pid(pid_t pid, const char *argument, void *ctx)
{
    struct found_pids *found = ctx;
    (void)argument;
    if (found->count < FOUND_MAX) {
        found->items[found->count++] = pid;
    }
}

static bool is_in_our_namespace(pid_t pid)
{
    char path[48];
    struct stat ours;
    struct stat its;
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    return stat("/proc/thread-self/ns/net", &ours) == 0 && stat(path, &its) == 0 && ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

/* -1 when it is not one of ours. */
static int hold(pid_t pid, const char *mark, const char *interface)
{
    uint64_t start_time = 0;
    AUTO_CLOSE int pidfd = -1;
    if (process_start_time(pid, &start_time, NULL) != 0 || process_open(pid, start_time, &pidfd, NULL) != 0 || pidfd < 0) {
        return -1;
    }
    return has_our_command_line(pid, mark, interface) && is_in_our_namespace(pid) && process_is_alive(pidfd) ? TAKE_FD(pidfd) : -1;
}

int wireguard_go_find_any(const char *mark, const char *interface, int *ret_pidfd, struct error *err)
{
    char name[NAME_MAX_BYTES];
    struct found_pids found = {.count = 0};
    process_name(mark, name);
    *ret_pidfd = -1;
    if (process_find((const char *const[]){name, NULL}, note_pid, &found, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < found.count && *ret_pidfd < 0; i++) {
        *ret_pidfd = hold(found.items[i], mark, interface);
    }
    return 0;
}

static int end(int pidfd, struct error *err)
{
    if (process_signal(pidfd, SIGTERM, err) != 0) {
        return -1;
    }
    if (process_wait(pidfd, STOP_MS, NULL, NULL) == 0) {
        return 0;
    }
    return process_signal(pidfd, SIGKILL, err) != 0 || process_wait(pidfd, STOP_MS, NULL, err) != 0 ? -1 : 0;
}

int wireguard_go_stop(const char *mark, const char *interface, struct error *err)
{
    for (;;) {
        AUTO_CLOSE int pidfd = -1;
        if (wireguard_go_find_any(mark, interface, &pidfd, err) != 0) {
            return -1;
        }
        if (pidfd < 0) {
            return 0;
        }
        if (end(pidfd, err) != 0) {
            return -1;
        }
    }
}

static int tell_end(const char *interface, int status, int words_fd, struct error *err)
{
    char text[PROCESS_STATUS_TEXT_MAX];
    char words[WIREGUARD_WORDS_MAX];
    wireguard_words_last(words_fd, words, sizeof words);
    return error_set(err, ERR_WIREGUARD_SETUP_FAILED, "wireguard-go for tunnel %s ended with %s%s%s", interface, process_status_text(status, text),
                     words[0] != '\0' ? ": " : "", words);
}

static int await_socket(const char *mark, const char *interface, int pidfd, int words_fd, struct error *err)
{
    const struct timespec step = {.tv_nsec = START_STEP_MS * 1000000L};
    int64_t end_ms = clock_monotonic_ms() + START_MS;
    while (clock_monotonic_ms() < end_ms) {
        AUTO_CLOSE int found = -1;
        int status = -1;
        if (process_wait(pidfd, 0, &status, NULL) == 0) {
            return tell_end(interface, status, words_fd, err);
        }
        if (wireguard_go_find(mark, interface, &found, NULL) == 0 && found >= 0) {
            return 0;
        }
        (void)nanosleep(&step, NULL);
    }
    return error_set(err, ERR_WIREGUARD_SETUP_FAILED, "wireguard-go for tunnel %s made no socket within %d ms", interface, START_MS);
}

int wireguard_go_start(const char *binary, const char *mark, const char *interface, int *ret_pidfd, int *ret_words, struct error *err)
{
    char name[NAME_MAX_BYTES];
    struct process process;
    AUTO_CLOSE int words = -1;
    process_name(mark, name);
    if (wireguard_go_stop(mark, interface, err) != 0 || wireguard_words_make(&words, err) != 0) {
        return -1;
    }
    const char *const argv[] = {name, "-f", interface, NULL};
    const struct process_spec spec = {
        .path = binary, .argv = argv, .cwd = "/", .stdin_fd = -1, .stdout_fd = words, .stderr_fd = words, .cgroup_fd = -1, .extra_fd = -1};
    if (process_spawn(&spec, &process, err) != 0) {
        if (err != NULL) {
            err->code = ERR_WIREGUARD_SETUP_FAILED;
        }
        return -1;
    }
    AUTO_CLOSE int pidfd = process.pidfd;
    if (await_socket(mark, interface, pidfd, words, err) != 0) {
        (void)process_signal(pidfd, SIGKILL, NULL);
        (void)process_wait(pidfd, STOP_MS, NULL, NULL);
        return -1;
    }
    *ret_pidfd = TAKE_FD(pidfd);
    *ret_words = TAKE_FD(words);
    return 0;
}
