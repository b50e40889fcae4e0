/* Network namespaces, and the system's own tools as judges of what was made. For tests only; every fault
 * fails the test. */
#ifndef SMARTVM_TESTS_HOST_NETNS_H
#define SMARTVM_TESTS_HOST_NETNS_H

#include "core/cleanup.h"
#include "core/error.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

/* Calls a function of ours that has to succeed. `err` must be in scope. */
#define MUST(call) ck_assert_msg((call) == 0, "%s: %s", #call, err.message)

enum { OUTPUT_MAX = 1024 * 1024 };

extern char **environ;

/* Runs a program by its arguments, separated by single blanks, without a shell. What it prints goes to
 * `output` (may be NULL), which has OUTPUT_MAX bytes. Returns its exit status. */
static inline int netns_try(const char *command, char *output)
{
    char text[512];
    char *argv[48] = {NULL};
    size_t argc = 0;
    int ends[2];
    pid_t pid = 0;
    int status = 0;
    size_t len = 0;
    posix_spawn_file_actions_t actions;
    (void)snprintf(text, sizeof text, "%s", command);
    for (char *save = NULL, *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        ck_assert(argc + 1 < ARRAY_LEN(argv));
        argv[argc++] = word;
    }
    ck_assert(argv[0] != NULL);
    ck_assert(pipe2(ends, O_CLOEXEC) == 0);
    ck_assert(posix_spawn_file_actions_init(&actions) == 0);
    ck_assert(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) == 0);
    ck_assert(posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO) == 0);
    ck_assert_msg(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) == 0, "%s is not installed", argv[0]);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    for (char chunk[4096];;) {
        ssize_t got = read(ends[0], chunk, sizeof chunk);
        if (got <= 0) {
            break;
        }
        if (output != NULL && len + (size_t)got < OUTPUT_MAX) {
            memcpy(output + len, chunk, (size_t)got);
            len += (size_t)got;
        }
    }
    if (output != NULL) {
        output[len] = '\0';
    }
    (void)close(ends[0]);
    ck_assert(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void netns_run(const char *command)
{
    static char output[OUTPUT_MAX];
    int status = netns_try(command, output);
    ck_assert_msg(status == 0, "%s: status %d: %s", command, status, output);
}

/* Does the program's output contain the text? */
static inline bool netns_says(const char *command, const char *text)
{
    static char output[OUTPUT_MAX];
    (void)netns_try(command, output);
    return strstr(output, text) != NULL;
}

static inline size_t netns_count(const char *command, const char *text)
{
    static char output[OUTPUT_MAX];
    size_t count = 0;
    (void)netns_try(command, output);
    for (const char *at = strstr(output, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

/* A namespace of the test's own; everything in it goes with it. */
static inline void netns_enter(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "a network namespace: %s (these tests need root)", strerror(errno));
    netns_run("ip link set lo up");
}

static inline int netns_here(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    ck_assert(fd >= 0);
    return fd;
}

static inline void netns_go(int fd)
{
    ck_assert(setns(fd, CLONE_NEWNET) == 0);
}

/* Attaches to a TAP as a VMM does, by an open /dev/net/tun. */
static inline bool tap_attach_by(int fd, const char *name)
{
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)};
    memcpy(request.ifr_name, name, strnlen(name, sizeof request.ifr_name - 1));
    return ioctl(fd, TUNSETIFF, &request) == 0;
}

static inline int tap_open(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    ck_assert(fd >= 0);
    return fd;
}

static inline int tap_attach(const char *name)
{
    int fd = tap_open();
    ck_assert_msg(tap_attach_by(fd, name), "cannot attach to %s: %s", name, strerror(errno));
    return fd;
}

#endif
