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
#include <sys/stat.h>

enum {
    VERSION_OUTPUT_BYTES = 4096, /* both say it in their first line */
    VERSION_TIMEOUT_MS = 5000,
    KILL_TIMEOUT_MS = 1000,
};

int vmm_socket_path(const struct vmm_spec *spec, char buf[LIMIT_SOCKET_PATH_BYTES], struct error *err)
{
    const char *dir = spec->jail != NULL ? "" : spec->dir;
    int len = snprintf(buf, LIMIT_SOCKET_PATH_BYTES, "%s/api.sock", dir);
    if (len < 0 || len >= LIMIT_SOCKET_PATH_BYTES) {
        return error_set(err, ERR_VMM_FAILED, "%s/api.sock is longer than the %d bytes of a unix socket's address", dir, LIMIT_SOCKET_PATH_BYTES - 1);
    }
    return 0;
}

int vmm_path(const struct vmm_spec *spec, const char *name, char buf[VMM_PATH_MAX], struct error *err)
{
    const char *dir = spec->jail != NULL ? "" : spec->dir;
    int len = snprintf(buf, VMM_PATH_MAX, "%s/%s", dir, name);
    return len < VMM_PATH_MAX ? 0 : error_set(err, ERR_VMM_FAILED, "%s/%s is too long a path", dir, name);
}

const char *vmm_kernel(const struct vmm_spec *spec)
{
    return spec->jail != NULL ? "/kernel" : spec->kernel;
}

const char *vmm_initrd(const struct vmm_spec *spec)
{
    return spec->jail != NULL && spec->initrd != NULL ? "/initrd" : spec->initrd;
}

const char *vmm_drive(const struct vmm_spec *spec, const struct vmm_drive *drive, char buf[VMM_PATH_MAX])
{
    if (spec->jail == NULL) {
        return drive->path;
    }
    (void)snprintf(buf, VMM_PATH_MAX, "/drive-%.200s", drive->drive_id);
    return buf;
}

static int bind_one(const char *prefix, const char *name, const char *of, enum jail_access access, struct jail *jail, struct error *err)
{
    char path[JAIL_PATH_MAX];
    if (snprintf(path, sizeof path, "%s%s", prefix, name[0] == '/' ? name + 1 : name) >= JAIL_PATH_MAX) {
        return error_set(err, ERR_VMM_FAILED, "%s%s is too long a path", prefix, name);
    }
    return jail_add_bind(jail, path, of, access, err);
}

/* A VMM that owns a drive can make it longer: not beyond what some drive of it is. */
static int bind_drives(const struct vmm_spec *spec, const char *prefix, struct jail *jail, struct error *err)
{
    for (size_t i = 0; i < spec->drive_count; i++) {
        const struct vmm_drive *drive = &spec->drives[i];
        char buf[VMM_PATH_MAX];
        struct stat st;
        if (stat(drive->path, &st) != 0) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot look at %s", drive->path);
        }
        if (!drive->is_read_only && (uint64_t)st.st_size > jail->file_bytes_max) {
            jail->file_bytes_max = (uint64_t)st.st_size;
        }
        if (bind_one(prefix, vmm_drive(spec, drive, buf), drive->path, drive->is_read_only ? JAIL_READ : JAIL_WRITE, jail, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int vmm_jail_files(const struct vmm_spec *spec, const char *prefix, uint64_t bytes, struct jail *jail, struct error *err)
{
    jail->place = spec->jail->place;
    jail->file_bytes_max = bytes;
    if (bind_one(prefix, "kernel", spec->kernel, JAIL_READ, jail, err) != 0 ||
        (spec->initrd != NULL && bind_one(prefix, "initrd", spec->initrd, JAIL_READ, jail, err) != 0)) {
        return -1;
    }
    return bind_drives(spec, prefix, jail, err);
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
    const struct process_spec spec = {
        .path = binary, .argv = argv, .cwd = "/", .stdin_fd = -1, .stdout_fd = input, .stderr_fd = -1, .cgroup_fd = -1, .extra_fd = -1};
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
        return error_set(err, ERR_VMM_UNAVAILABLE, "%s --version did not say \"%s...\" within %d s", binary, lead_in, VERSION_TIMEOUT_MS / 1000);
    }
    return 0;
}
