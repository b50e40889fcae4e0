/*
 * For tests of VMMs: one tiny guest (tests/guest/tiny.S) in a real VMM, started as the daemon starts its own,
 * with FIFOs for console and words. Everything but tiny_find() asserts: a step that fails ends the test. The
 * guest is taken from the build directory that the test itself lies in.
 */
#ifndef SMARTVM_TESTS_GUEST_TINY_GUEST_H
#define SMARTVM_TESTS_GUEST_TINY_GUEST_H

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "host/process/process.h"
#include "host/vmm/vmm.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

enum { TINY_OUTPUT_MAX = 256 * 1024, TINY_TIMEOUT_MS = 20000 };

struct tiny {
    const struct vmm_driver *driver;
    struct vmm_spec spec; /* to be changed between tiny_init() and tiny_start() */
    char dir[40];
    char boot_args[LIMIT_BOOT_ARGS_BYTES];
    struct process process;
    int console; /* reading end of console.out */
    int words;   /* of vmm.out */
    int input;   /* writing end of console.in */
    char *seen;  /* on the console, terminated */
    size_t seen_len;
    char said[8192]; /* by the VMM, terminated */
};

static char tiny_kernel[256];
static char tiny_binary[256];

/* Where the guest and the VMM are. False, with a line on standard error, when one is missing: then the test
 * is skipped (exit status 77). */
static inline bool tiny_find(const char *vmm)
{
    struct error err;
    ssize_t len = readlink("/proc/self/exe", tiny_kernel, 200);
    if (len <= 0) { /* no assertion: this runs before the tests do */
        return false;
    }
    tiny_kernel[len] = '\0';
    (void)strcpy(strrchr(tiny_kernel, '/'), "/../guest/tiny.elf");
    if (access(tiny_kernel, R_OK) != 0) {
        (void)fprintf(stderr, "skipped: there is no %s\n", tiny_kernel);
        return false;
    }
    if (vmm_find_binary(vmm, "/usr/local/bin:/usr/bin:/opt/firecracker", tiny_binary, sizeof tiny_binary, &err) != 0) {
        (void)fprintf(stderr, "skipped: %s\n", err.message);
        return false;
    }
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return true;
}

/* At the end of main(): ends the VMMs of tests that failed, which were adopted by the test program. */
static inline void tiny_sweep(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    AUTO_FCLOSE FILE *children = fopen(path, "re");
    int pid;
    while (children != NULL && fscanf(children, "%d", &pid) == 1) {
        (void)kill(pid, SIGKILL);
    }
}

static inline const char *tiny_path(const struct tiny *t, const char *name)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "%s/%s", t->dir, name);
    return path;
}

static inline void tiny_init(struct tiny *t, enum vmm_kind kind, enum vmm_accel accel, const char *mode)
{
    static const char *const fifos[] = {"console.in", "console.out", "vmm.out"};
    *t = (struct tiny){.driver = &vmm_drivers[kind], .process = {.pidfd = -1}, .console = -1, .words = -1, .input = -1};
    (void)strcpy(t->dir, "/tmp/tiny-guest-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t->dir));
    for (size_t i = 0; i < ARRAY_LEN(fifos); i++) {
        ck_assert_int_eq(mkfifo(tiny_path(t, fifos[i]), 0600), 0);
    }
    (void)snprintf(t->boot_args, sizeof t->boot_args, "%s tiny=%s", t->driver->args->needs, mode);
    t->seen = calloc(1, TINY_OUTPUT_MAX);
    t->spec = (struct vmm_spec){.id = "tiny",
                                .dir = t->dir,
                                .binary = tiny_binary,
                                .accel = accel,
                                .kernel = tiny_kernel,
                                .boot_args = t->boot_args,
                                .vcpu_count = 1,
                                .mem_size_mib = 128};
}

/* The command line as the daemon makes it for what is in t->spec, with the VM's own arguments. */
static inline void tiny_compose(struct tiny *t, const char *own)
{
    char *line = NULL;
    struct error err;
    const struct kernel_args args = {
        .vmm = t->driver->args, .image = "", .own = own, .id = "tiny", .device_count = t->spec.drive_count + t->spec.interface_count + 1};
    ck_assert_msg(kernel_args_compose(&args, &line, &err) == 0, "%s", err.message);
    (void)snprintf(t->boot_args, sizeof t->boot_args, "%s", line);
    free(line);
}

static inline void tiny_start(struct tiny *t)
{
    AUTO_CLOSE int in = open(tiny_path(t, "console.in"), O_RDWR | O_CLOEXEC);
    AUTO_CLOSE int out = open(tiny_path(t, "console.out"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    AUTO_CLOSE int vmm = open(tiny_path(t, "vmm.out"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    t->console = open(tiny_path(t, "console.out"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    t->words = open(tiny_path(t, "vmm.out"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    t->input = open(tiny_path(t, "console.in"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert(in >= 0 && out >= 0 && vmm >= 0 && t->console >= 0 && t->words >= 0 && t->input >= 0);
    struct error err;
    char **argv = NULL;
    if (t->driver->prepare != NULL) {
        ck_assert_msg(t->driver->prepare(&t->spec, &err) == 0, "%s", err.message);
    }
    ck_assert_msg(t->driver->command(&t->spec, &argv, &err) == 0, "%s", err.message);
    const struct process_spec spec = {.path = t->spec.binary,
                                      .argv = (const char *const *)argv,
                                      .cwd = t->dir,
                                      .stdin_fd = in,
                                      .stdout_fd = out,
                                      .stderr_fd = vmm,
                                      .cgroup_fd = -1,
                                      .extra_fd = -1};
    ck_assert_msg(process_spawn(&spec, &t->process, &err) == 0, "%s", err.message);
    vmm_argv_free(argv);
}

static inline void tiny_begin(struct tiny *t, enum vmm_kind kind, enum vmm_accel accel, const char *mode)
{
    tiny_init(t, kind, accel, mode);
    tiny_start(t);
}

/* Reads the console until `text` was on it. */
static inline bool tiny_sees(struct tiny *t, const char *text, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    while (strstr(t->seen, text) == NULL) {
        struct pollfd p = {.fd = t->console, .events = POLLIN};
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0 || t->seen_len == TINY_OUTPUT_MAX - 1 || poll(&p, 1, (int)left) <= 0) {
            return false;
        }
        ssize_t n = read(t->console, t->seen + t->seen_len, TINY_OUTPUT_MAX - 1 - t->seen_len);
        t->seen_len += n > 0 ? (size_t)n : 0;
        t->seen[t->seen_len] = '\0';
        if (n == 0) { /* the VMM has ended */
            return strstr(t->seen, text) != NULL;
        }
    }
    return true;
}

/* Waits, without reading, until the guest has filled the console's FIFO and has had time to write on. */
static inline void tiny_fills_console(const struct tiny *t)
{
    const int fifo_bytes = 65536;
    int waiting = 0;
    int64_t deadline = clock_monotonic_ms() + TINY_TIMEOUT_MS;
    while (waiting < fifo_bytes) {
        ck_assert_int_eq(ioctl(t->console, FIONREAD, &waiting), 0);
        ck_assert_msg(clock_monotonic_ms() < deadline, "only %d bytes on the console", waiting);
        (void)poll(NULL, 0, 20);
    }
    (void)poll(NULL, 0, 300);
}

/* The newest of what the VMM said, drained. */
static inline const char *tiny_said(struct tiny *t)
{
    size_t len = 0;
    ssize_t n;
    while (len < sizeof t->said - 1 && (n = read(t->words, t->said + len, sizeof t->said - 1 - len)) > 0) {
        len += (size_t)n;
    }
    t->said[len] = '\0';
    return t->said;
}

static inline void tiny_expect(struct tiny *t, const char *text)
{
    ck_assert_msg(tiny_sees(t, text, TINY_TIMEOUT_MS), "no \"%s\" on the console: \"%.200s\"; the VMM says: %s", text, t->seen, tiny_said(t));
}

/* Asks until it answers. */
static inline enum vmm_state tiny_state(const struct tiny *t)
{
    enum vmm_state state = VMM_STATE_STARTING;
    struct error err = {.sys_errno = ENOENT};
    int64_t deadline = clock_monotonic_ms() + TINY_TIMEOUT_MS;
    while (t->driver->query(VMM_PEER_UNJAILED(t->dir), 5000, &state, &err) != 0) {
        ck_assert_msg(err.sys_errno == ENOENT || err.sys_errno == ECONNREFUSED, "%s", err.message);
        ck_assert_int_lt((int)(clock_monotonic_ms() - deadline), 0);
        (void)poll(NULL, 0, 1);
    }
    return state;
}

/* Its wait status, once it has ended by itself. */
static inline int tiny_ended(struct tiny *t)
{
    int status = -1;
    struct error err;
    ck_assert_msg(process_wait(t->process.pidfd, TINY_TIMEOUT_MS, &status, &err) == 0, "%s", err.message);
    return status;
}

/* Why it ended, in the words that a person gets. */
static inline const char *tiny_last_words(struct tiny *t)
{
    static char words[512];
    (void)tiny_said(t);
    vmm_last_words(t->driver, t->said, strlen(t->said), words, sizeof words);
    return words;
}

static inline void tiny_end(struct tiny *t)
{
    static const char *const names[] = {"console.in", "console.out", "vmm.out", "vmm.json", "api.sock"};
    if (t->process.pidfd >= 0) {
        (void)process_signal(t->process.pidfd, SIGKILL, NULL);
        (void)process_wait(t->process.pidfd, TINY_TIMEOUT_MS, NULL, NULL);
        (void)close(t->process.pidfd);
        (void)close(t->console);
        (void)close(t->words);
        (void)close(t->input);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlink(tiny_path(t, names[i]));
    }
    (void)rmdir(t->dir);
    free(t->seen);
}

/* As many drives (files of 1 MiB) and interfaces (sv0 … in the namespace of the test) as the API allows. */
enum { TINY_DEVICES = 8 };
struct tiny_devices {
    char paths[TINY_DEVICES][64];
    char ids[TINY_DEVICES][INTERFACE_NAME_MAX];
    char taps[TINY_DEVICES][INTERFACE_NAME_MAX];
    struct vmm_drive drives[TINY_DEVICES];
    struct vmm_interface interfaces[TINY_DEVICES];
};

static inline void tiny_add_devices(struct tiny *t, struct tiny_devices *d)
{
    for (int i = 0; i < TINY_DEVICES; i++) {
        (void)snprintf(d->paths[i], sizeof d->paths[i], "%s.drive%d", t->dir, i);
        (void)snprintf(d->ids[i], sizeof d->ids[i], "d%d", i);
        (void)snprintf(d->taps[i], sizeof d->taps[i], "sv%d", i);
        AUTO_CLOSE int fd = open(d->paths[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_eq(ftruncate(fd, 1024 * 1024), 0);
        d->drives[i] = (struct vmm_drive){d->ids[i], d->paths[i], i == 3, i % 2 == 0};
        d->interfaces[i] = (struct vmm_interface){d->ids[i], d->taps[i], {{2, 0, 0, 0, 0, (uint8_t)i}}};
    }
    t->spec.drives = d->drives;
    t->spec.drive_count = TINY_DEVICES;
    t->spec.interfaces = d->interfaces;
    t->spec.interface_count = TINY_DEVICES;
}

static inline void tiny_remove_devices(const struct tiny_devices *d)
{
    for (int i = 0; i < TINY_DEVICES; i++) {
        (void)unlink(d->paths[i]);
    }
}

#endif
