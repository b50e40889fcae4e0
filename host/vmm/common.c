#include "host/vmm/common.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    VERSION_OUTPUT_BYTES = 4096, /* both say it in their first line */
    VERSION_TIMEOUT_MS = 5000,
    KILL_TIMEOUT_MS = 1000,
};

int vmm_socket_path(const char *dir, char buf[LIMIT_SOCKET_PATH_BYTES], struct error *err)
{
    int len = snprintf(buf, LIMIT_SOCKET_PATH_BYTES, "%s/api.sock", dir);
    if (len < 0 || len >= LIMIT_SOCKET_PATH_BYTES) {
        return error_set(err, ERR_VMM_FAILED,
                         "%s/api.sock is longer than the %d bytes of a unix socket's address", dir,
                         LIMIT_SOCKET_PATH_BYTES - 1);
    }
    return 0;
}

const struct vmm_drive *vmm_drive_at(const struct vmm_spec *spec, size_t i)
{
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < spec->drive_count; k++) {
            if (spec->drives[k].is_root_device == (pass == 0) && i-- == 0) {
                return &spec->drives[k];
            }
        }
    }
    return NULL;
}

bool vmm_parse_version(const char *output, const char *lead_in, char *ret, size_t size)
{
    const char *begin = strstr(output, lead_in);
    if (begin == NULL) {
        return false;
    }
    begin += strlen(lead_in);
    size_t len = strspn(begin, "0123456789.");
    if (len == 0 || len >= size) {
        return false;
    }
    memcpy(ret, begin, len);
    ret[len] = '\0';
    return true;
}

/* Until the end of file, the deadline or the end of buf, whichever comes first. */
static size_t read_output(int fd, char *buf, size_t size)
{
    int64_t deadline = clock_monotonic_ms() + VERSION_TIMEOUT_MS;
    size_t len = 0;
    while (len < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0) {
            break;
        }
        int ready = poll(&p, 1, (int)left);
        if (ready == 0 || (ready < 0 && errno != EINTR)) {
            break;
        }
        ssize_t n = ready < 0 ? -1 : read(fd, buf + len, size - len);
        if (n == 0 || (n < 0 && ready > 0 && errno != EINTR)) {
            break;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    return len;
}

int vmm_run_version(const char *binary, const char *lead_in, char *ret, size_t size, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
    }
    AUTO_CLOSE int output = ends[0];
    AUTO_CLOSE int input = ends[1];
    const char *const argv[] = {binary, "--version", NULL};
    const struct process_spec spec = {.path = binary,
                                      .argv = argv,
                                      .cwd = "/",
                                      .stdin_fd = -1,
                                      .stdout_fd = input,
                                      .stderr_fd = -1,
                                      .cgroup_fd = -1,
                                      .extra_fd = -1};
    struct process process;
    if (process_spawn(&spec, &process, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int pidfd = process.pidfd;
    (void)close(TAKE_FD(input));
    char text[VERSION_OUTPUT_BYTES + 1];
    text[read_output(output, text, VERSION_OUTPUT_BYTES)] = '\0';
    /* By now it has said what there is to say; one that hangs, or talks on, must not stay. */
    (void)process_signal(pidfd, SIGKILL, NULL);
    (void)process_wait(pidfd, KILL_TIMEOUT_MS, NULL, NULL);
    if (!vmm_parse_version(text, lead_in, ret, size)) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "%s --version did not say \"%s...\" within %d s", binary,
                         lead_in, VERSION_TIMEOUT_MS / 1000);
    }
    return 0;
}
