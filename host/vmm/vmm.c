#include "host/vmm/vmm.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/vm_memory.h"
#include "host/vmm/firecracker.h"
#include "host/vmm/qemu.h"

#include <string.h>
#include <sys/stat.h>

const struct vmm_driver vmm_drivers[VMM_KIND_COUNT_] = {
    [VMM_FIRECRACKER] = {.kind = VMM_FIRECRACKER,
                         .name = "firecracker",
                         .overhead_mib = {[VMM_ACCEL_KVM] = VM_OVERHEAD_FIRECRACKER_MIB, [VMM_ACCEL_TCG] = VM_OVERHEAD_FIRECRACKER_MIB},
                         .threads = 64, /* its own are three; those of io_uring count, too */
                         .args = &kernel_args_firecracker,
                         .prepare = firecracker_prepare,
                         .jail = firecracker_jail,
                         .command = firecracker_command,
                         .query = firecracker_query,
                         .pause = firecracker_pause,
                         .resume = firecracker_resume,
                         .shutdown = firecracker_shutdown,
                         .guest = firecracker_guest,
                         .vcpu_threads = "fc_vcpu",
                         .version = firecracker_version,
                         .quiet_end = VMM_CAUSE_GUEST_SHUTDOWN,
                         .caught_signal = firecracker_caught_signal,
                         .noise = firecracker_noise,
                         .lead_ins = firecracker_lead_ins},
    [VMM_QEMU] = {.kind = VMM_QEMU,
                  .name = "qemu",
                  .overhead_mib = {[VMM_ACCEL_KVM] = VM_OVERHEAD_QEMU_MIB, [VMM_ACCEL_TCG] = VM_OVERHEAD_QEMU_TCG_MIB},
                  .threads = 256,
                  .args = &kernel_args_qemu,
                  .prepare = NULL,
                  .jail = qemu_jail,
                  .command = qemu_command,
                  .query = qemu_query,
                  .pause = qemu_pause,
                  .resume = qemu_resume,
                  .shutdown = qemu_shutdown,
                  .guest = NULL,
                  .vcpu_threads = "CPU ",
                  .version = qemu_version,
                  .cause = qemu_cause,
                  .quiet_end = VMM_CAUSE_GUEST_RESET,
                  .noise = qemu_noise,
                  .lead_ins = qemu_lead_ins},
};

const struct vmm_driver *vmm_driver_by_name(const char *name)
{
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        if (strcmp(vmm_drivers[i].name, name) == 0) {
            return &vmm_drivers[i];
        }
    }
    return NULL;
}

void vmm_argv_free(char **argv)
{
    for (char **item = argv; item != NULL && *item != NULL; item++) {
        free(*item);
    }
    free(argv);
}

const char *vmm_accel_name(enum vmm_accel accel)
{
    return accel == VMM_ACCEL_KVM ? "kvm" : "tcg";
}

struct line {
    const char *text;
    size_t len;
};

/* How much of the line the first matching beginning takes; 0 when none matches. */
static size_t match(struct line line, const char *const *beginnings)
{
    for (; *beginnings != NULL; beginnings++) {
        size_t len = strlen(*beginnings);
        if (len <= line.len && memcmp(line.text, *beginnings, len) == 0) {
            return len;
        }
    }
    return 0;
}

static struct line skip(struct line line, size_t len)
{
    return (struct line){line.text + len, line.len - len};
}

/* Firecracker's log lines begin "2026-11-23T22:37:49.034586273 [id:thread] ". */
static struct line without_stamp(struct line line)
{
    const char *end = memmem(line.text, line.len, "] ", 2);
    bool has_stamp = line.len > 0 && line.text[0] >= '0' && line.text[0] <= '9' && end != NULL;
    return has_stamp ? skip(line, (size_t)(end - line.text) + 2) : line;
}

static void copy_printable(struct line line, char *ret, size_t size)
{
    size_t len = line.len < size - 1 ? line.len : size - 1;
    for (size_t i = 0; i < len; i++) {
        ret[i] = (char)(line.text[i] >= ' ' && line.text[i] <= '~' ? line.text[i] : '?');
    }
    ret[len] = '\0';
}

void vmm_last_words(const struct vmm_driver *driver, const char *output, size_t len, char *ret, size_t size)
{
    struct line words = {"", 0};
    bool has_words = false; /* and not only noise */
    while (len > 0) {
        const char *end = memchr(output, '\n', len);
        size_t line_len = end == NULL ? len : (size_t)(end - output);
        struct line line = without_stamp((struct line){output, line_len});
        bool is_noise = match(line, driver->noise) > 0;
        if (line.len > 0 && (!is_noise || !has_words)) {
            words = line;
            has_words = !is_noise;
        }
        size_t step = end == NULL ? len : line_len + 1;
        output += step;
        len -= step;
    }
    copy_printable(skip(words, match(words, driver->lead_ins)), ret, size);
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int found(const char *path, char *ret, size_t size, struct error *err)
{
    if ((size_t)snprintf(ret, size, "%s", path) >= size) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "%s is too long a path", path);
    }
    return 0;
}

int vmm_find_binary(const char *name, const char *search_path, char *ret, size_t size, struct error *err)
{
    if (name[0] == '/') {
        return is_program(name) ? found(name, ret, size, err) : error_set(err, ERR_VMM_UNAVAILABLE, "%s is not an executable file", name);
    }
    for (const char *dir = search_path; strchr(name, '/') == NULL && *dir != '\0';) {
        char path[LIMIT_PATH_BYTES];
        size_t len = strcspn(dir, ":");
        int path_len = snprintf(path, sizeof path, "%.*s/%s", (int)len, dir, name);
        /* An empty or relative directory would depend on where the daemon was started. */
        if (*dir == '/' && path_len < LIMIT_PATH_BYTES && is_program(path)) {
            return found(path, ret, size, err);
        }
        dir += len + (dir[len] == ':');
    }
    return error_set(err, ERR_VMM_UNAVAILABLE, "there is no program \"%s\" in %s", name, search_path);
}
