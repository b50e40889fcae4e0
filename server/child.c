#include "server/child.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/memory_file.h"
#include "server/config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { FD_ABOVE = CHILD_FD_WORKER + CHILD_FDS_MAX };

int child_config_fd(const char *text, struct error *err)
{
    int fd = -1;
    return memory_file_make("smartvmd-config", (const uint8_t *)text, strlen(text), &fd, err) == 0 ? fd : -1;
}

/* Between fork and exec of a process with threads: system calls only. */
__attribute__((noreturn)) static void become_child(const int *given, size_t count, char *const argv[])
{
    int fds[CHILD_FDS_MAX];
    /* First out of the way of the places they shall have, then there. */
    for (size_t i = 0; i < count; i++) {
        fds[i] = fcntl(given[i], F_DUPFD_CLOEXEC, FD_ABOVE);
    }
    for (size_t i = 0; i < count; i++) {
        if (fds[i] < 0 || dup2(fds[i], CHILD_FD_WORKER + (int)i) < 0) {
            _exit(126);
        }
    }
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)syscall(SYS_close_range, (unsigned)(CHILD_FD_WORKER + (int)count), ~0U, 0U);
    (void)execv("/proc/self/exe", argv);
    _exit(127);
}

/* Until the child has closed its copies of what this process has open; it has the other end of the pipe among them. */
static void await_closing(int end)
{
    char nothing;
    while (read(end, &nothing, 1) < 0 && errno == EINTR) {
    }
}

int child_start(const char *flag, const char *word, const int *fds, size_t count, struct error *err)
{
    char parent[24];
    (void)snprintf(parent, sizeof parent, "%d", (int)getpid());
    char name[] = "smartvmd";
    /* execv() only reads them, though its type does not say so */
    char *const argv[] = {name, (char *)(uintptr_t)flag, parent, (char *)(uintptr_t)word, NULL};
    if (count > CHILD_FDS_MAX) {
        return error_set(err, ERR_INTERNAL, "a process can't be given %zu descriptors", count);
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "no pipe");
    }
    AUTO_CLOSE int end = ends[0];
    pid_t pid = fork();
    if (pid != 0) {
        (void)close(ends[1]);
    }
    if (pid < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "a process of the daemon could not be started");
    }
    if (pid == 0) {
        become_child(fds, count, argv);
    }
    await_closing(end);
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
    if (pidfd < 0) {
        (void)error_sys(err, ERR_SYSTEM, errno, "a process of the daemon could not be watched");
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return pidfd;
}

bool child_arguments(int argc, char **argv, pid_t *ret_parent, const char **ret_word)
{
    if (argc != 4) {
        (void)fprintf(stderr, "smartvmd: %s is for the daemon's own use\n", argv[1]);
        return false;
    }
    *ret_parent = (pid_t)strtol(argv[2], NULL, 10);
    *ret_word = argv[3];
    return true;
}

int child_read_config(struct config **ret, struct error *err)
{
    AUTO_CLOSE int fd = CHILD_FD_CONFIG;
    AUTO_FREE uint8_t *text = NULL;
    size_t len = 0;
    if (memory_file_read(fd, LIMIT_CONFIG_BYTES, &text, &len, err) != 0) {
        return -1;
    }
    return config_from_json((const char *)text, len, ret, err);
}
