#include "host/vmm/qemu.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/strbuf.h"
#include "host/vmm/argv.h"
#include "host/vmm/common.h"
#include "host/vmm/qmp.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <x86intrin.h>

const char *const qemu_noise[] = {"qemu_system_shutdown_request ", NULL};
const char *const qemu_lead_ins[] = {"qemu-system-x86_64: ", "qemu: ", NULL};

/* In the value of an option a comma ends it, and two of them are one comma. */
static void add_value(struct strbuf *b, const char *text)
{
    for (; *text != '\0'; text++) {
        strbuf_add(b, *text == ',' ? ",," : (const char[]){*text, '\0'});
    }
}

/* One argument: `before`, the value, `after`. */
static void add_option(struct argv *argv, const char *before, const char *value, const char *after)
{
    AUTO_STRBUF text = STRBUF_INIT;
    strbuf_add(&text, before);
    add_value(&text, value);
    strbuf_add(&text, after);
    if (text.failed) {
        argv->failed = true;
    } else {
        argv_add(argv, text.data);
    }
}

enum { TSC_MEASURE_US = 20000 };
static unsigned tsc_khz;

static void measure_tsc(void)
{
    int64_t begin = clock_monotonic_us();
    uint64_t ticks = __rdtsc();
    int64_t us;
    do {
        us = clock_monotonic_us() - begin;
    } while (us < TSC_MEASURE_US);
    tsc_khz = (unsigned)((__rdtsc() - ticks) * 1000 / (uint64_t)us);
}

/*
 * Without KVM there is no paravirtual clock, and microvm's reduced ACPI has no timer interrupt to fall back on: a
 * Linux guest measures its TSC by polling the PIT, and when the host is busy for a moment meanwhile, the guest waits for
 * its first tick for ever. An emulated TSC is the host's, so its rate can be told.
 */
static unsigned emulated_tsc_khz(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, measure_tsc);
    return tsc_khz;
}

static void add_kernel(struct argv *argv, const struct vmm_spec *spec)
{
    argv_add(argv, "-kernel");
    argv_add(argv, vmm_kernel(spec));
    if (spec->initrd != NULL) {
        argv_add(argv, "-initrd");
        argv_add(argv, vmm_initrd(spec));
    }
    argv_add(argv, "-append");
    if (spec->accel == VMM_ACCEL_TCG) {
        argv_addf(argv, "tsc_early_khz=%u %s", emulated_tsc_khz(), spec->boot_args);
    } else {
        argv_add(argv, spec->boot_args);
    }
}

/* The guest is told of an error of the host's disk; QEMU's default for a full disk is to stop the guest. */
static void add_drives(struct argv *argv, const struct vmm_spec *spec)
{
    for (size_t i = 0; i < spec->drive_count; i++) {
        const struct vmm_drive *drive = vmm_drive_at(spec, i);
        char end[96];
        char path[VMM_PATH_MAX];
        (void)snprintf(end, sizeof end, ",id=drive%zu,format=raw,if=none,read-only=%s", i, drive->is_read_only ? "on" : "off");
        argv_add(argv, "-drive");
        add_option(argv, "file=", vmm_drive(spec, drive, path), end);
        argv_add(argv, "-device");
        argv_addf(argv, "virtio-blk-device,drive=drive%zu,werror=report,rerror=report", i);
    }
}

static void add_interfaces(struct argv *argv, const struct vmm_spec *spec)
{
    for (size_t i = 0; i < spec->interface_count; i++) {
        char begin[64];
        char mac[MAC_TEXT_MAX];
        (void)snprintf(begin, sizeof begin, "tap,id=net%zu,ifname=", i);
        argv_add(argv, "-netdev");
        add_option(argv, begin, spec->interfaces[i].tap, ",script=no,downscript=no,vhost=off");
        argv_add(argv, "-device");
        argv_addf(argv, "virtio-net-device,netdev=net%zu,mac=%s", i, mac_format(spec->interfaces[i].mac, mac));
    }
}

static void add_machine(struct argv *argv, const struct vmm_spec *spec)
{
    argv_add(argv, "-M");
    argv_addf(argv, "microvm,accel=%s", vmm_accel_name(spec->accel));
    argv_add(argv, "-cpu");
    argv_add(argv, spec->accel == VMM_ACCEL_KVM ? "host" : "max");
    argv_add(argv, "-m");
    argv_addf(argv, "%uM", spec->mem_size_mib);
    argv_add(argv, "-smp");
    argv_addf(argv, "%u", spec->vcpu_count);
}

static void add_entropy(struct argv *argv, const struct vmm_spec *spec)
{
    (void)spec;
    argv_add(argv, "-device");
    argv_add(argv, "virtio-rng-device");
}

void (*const qemu_writers[DEVICE_COUNT_])(struct argv *argv, const struct vmm_spec *spec) = {
    [DEVICE_BOOT_ARGS] = add_kernel,      [DEVICE_MACHINE] = add_machine, [DEVICE_DRIVES] = add_drives,
    [DEVICE_INTERFACES] = add_interfaces, [DEVICE_ENTROPY] = add_entropy,
};

/* What is the same for every VM, and no device of it. */
static void add_process(struct argv *argv, const struct vmm_spec *spec, const char *socket)
{
    static const char *const fixed[] = {
        "-nodefaults", "-no-user-config",
        "-nographic",  "-no-reboot",
        "-sandbox",    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-chardev",    "stdio,id=console,signal=off",
        "-serial",     "chardev:console",
        "-device",     "i8042",
        "-d",          "trace:qemu_system_shutdown_request", /* for qemu_cause() */
    };
    argv_add(argv, "-name");
    add_option(argv, "", spec->id, ",debug-threads=on"); /* else threads have no names */
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        argv_add(argv, fixed[i]);
    }
    argv_add(argv, "-qmp");
    add_option(argv, "unix:", socket, ",server=on,wait=off");
}

int qemu_command(const struct vmm_spec *spec, char ***ret_argv, struct error *err)
{
    char socket[LIMIT_SOCKET_PATH_BYTES];
    if (vmm_socket_path(spec, socket, err) != 0) {
        return -1;
    }
    AUTO_ARGV argv = ARGV_INIT;
    argv_add(&argv, spec->binary);
    add_process(&argv, spec, socket);
    for (size_t i = 0; i < DEVICE_COUNT_; i++) {
        if (qemu_writers[i] != NULL) {
            qemu_writers[i](&argv, spec);
        }
    }
    char **items = argv_take(&argv);
    if (items == NULL) {
        return error_oom(err);
    }
    *ret_argv = items;
    return 0;
}

/* The other run states are of migrations, which nobody asks for, or tell that QEMU gave up on the guest. */
int qemu_parse_status(const char *status, enum vmm_state *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum vmm_state state;
    } states[] = {
        {"prelaunch", VMM_STATE_STARTING},
        {"running", VMM_STATE_RUNNING},
        {"paused", VMM_STATE_PAUSED},
    };
    for (size_t i = 0; status != NULL && i < ARRAY_LEN(states); i++) {
        if (strcmp(status, states[i].name) == 0) {
            *ret = states[i].state;
            return 0;
        }
    }
    return error_set(err, ERR_VMM_FAILED, "QEMU reports that the guest does not run: \"%s\"", status == NULL ? "" : status);
}

static int call(const struct vmm_peer *peer, const char *command, int timeout_ms, json_t **ret, struct error *err)
{
    char name[VMM_PATH_MAX];
    AUTO_CLOSE int fd = -1;
    (void)snprintf(name, sizeof name, "%.200s/api.sock", peer->dir);
    return vmm_peer_connect(peer, timeout_ms, &fd, err) == 0 ? qmp_call(fd, name, command, timeout_ms, ret, err) : -1;
}

int qemu_query(const struct vmm_peer *peer, int timeout_ms, enum vmm_state *ret, struct error *err)
{
    AUTO_JSON *status = NULL;
    if (call(peer, "{\"execute\": \"query-status\"}", timeout_ms, &status, err) != 0) {
        return -1;
    }
    return qemu_parse_status(json_get_string(status, "status"), ret, err);
}

int qemu_pause(const struct vmm_peer *peer, int timeout_ms, struct error *err)
{
    return call(peer, "{\"execute\": \"stop\"}", timeout_ms, NULL, err);
}

int qemu_resume(const struct vmm_peer *peer, int timeout_ms, struct error *err)
{
    return call(peer, "{\"execute\": \"cont\"}", timeout_ms, NULL, err);
}

/*
 * Both ways at once: the ACPI power button is heard where a daemon in the guest listens (acpid, logind),
 * Ctrl-Alt-Del by a kernel with a keyboard, for its init. A guest that hears both shuts down once.
 */
int qemu_shutdown(const struct vmm_peer *peer, int timeout_ms, struct error *err)
{
    static const char press[] = "{\"execute\": \"send-key\", \"arguments\": {\"keys\": [{\"type\": \"qcode\", \"data\": \"ctrl\"}, "
                                "{\"type\": \"qcode\", \"data\": \"alt\"}, {\"type\": \"qcode\", \"data\": \"delete\"}]}}";
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    if (call(peer, "{\"execute\": \"system_powerdown\"}", timeout_ms, NULL, err) != 0) {
        return -1;
    }
    return call(peer, press, (int)(deadline - clock_monotonic_ms()), NULL, err);
}

int qemu_version(const char *binary, char *ret, size_t size, struct error *err)
{
    return vmm_run_version(binary, "QEMU emulator version ", ret, size, err);
}

/*
 * Of all endings only those that are asked for by a guest's power switch are traced ("qemu_system_shutdown_request reason=6", enum ShutdownCause of
 * qapi/run-state.json); with -no-reboot a reset ends QEMU without a word.
 */
enum vmm_cause qemu_cause(const char *output, size_t len)
{
    static const struct {
        const char *words;
        enum vmm_cause cause;
    } table[] = {
        {"terminating on signal ", VMM_CAUSE_HOST_SIGNAL},
        {"qemu_system_shutdown_request reason=1", VMM_CAUSE_HOST_ERROR},
        {"qemu_system_shutdown_request reason=2", VMM_CAUSE_HOST_SIGNAL}, /* "quit", which we never say */
        {"qemu_system_shutdown_request reason=6", VMM_CAUSE_GUEST_SHUTDOWN},
        {"qemu_system_shutdown_request reason=7", VMM_CAUSE_GUEST_RESET},
        {"qemu_system_shutdown_request reason=8", VMM_CAUSE_GUEST_PANIC},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (memmem(output, len, table[i].words, strlen(table[i].words)) != NULL) {
            return table[i].cause;
        }
    }
    return VMM_CAUSE_NONE;
}
