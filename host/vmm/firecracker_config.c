#include "host/vmm/firecracker.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "host/vmm/common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The builders below give new references and NULL when out of memory; json_pack() and json_array_append_new()
 * pass a NULL on as a failure, so that one check at the end is enough.
 */
static json_t *boot_source(const struct vmm_spec *spec)
{
    return json_pack("{s:s, s:s, s:s*}", "kernel_image_path", vmm_kernel(spec), "boot_args", spec->boot_args, "initrd_path", vmm_initrd(spec));
}

static json_t *drives(const struct vmm_spec *spec)
{
    AUTO_JSON *list = json_array();
    for (size_t i = 0; i < spec->drive_count; i++) {
        const struct vmm_drive *drive = vmm_drive_at(spec, i);
        char path[VMM_PATH_MAX];
        json_t *item = json_pack("{s:s, s:s, s:b, s:b}", "drive_id", drive->drive_id, "path_on_host", vmm_drive(spec, drive, path), "is_root_device",
                                 drive->is_root_device, "is_read_only", drive->is_read_only);
        if (json_array_append_new(list, item) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(list);
}

static json_t *interfaces(const struct vmm_spec *spec)
{
    AUTO_JSON *list = json_array();
    for (size_t i = 0; i < spec->interface_count; i++) {
        const struct vmm_interface *interface = &spec->interfaces[i];
        char mac[MAC_TEXT_MAX];
        json_t *item =
            json_pack("{s:s, s:s, s:s}", "iface_id", interface->iface_id, "host_dev_name", interface->tap, "guest_mac", mac_format(interface->mac, mac));
        if (json_array_append_new(list, item) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(list);
}

static json_t *machine(const struct vmm_spec *spec)
{
    return json_pack("{s:i, s:i}", "vcpu_count", (int)spec->vcpu_count, "mem_size_mib", (int)spec->mem_size_mib);
}

static json_t *entropy(const struct vmm_spec *spec)
{
    (void)spec;
    return json_object();
}

/* Each device's section, where it has one (core/device.h). */
json_t *(*const firecracker_sections[DEVICE_COUNT_])(const struct vmm_spec *spec) = {
    [DEVICE_BOOT_ARGS] = boot_source, [DEVICE_MACHINE] = machine, [DEVICE_DRIVES] = drives, [DEVICE_INTERFACES] = interfaces, [DEVICE_ENTROPY] = entropy,
};

int firecracker_config(const struct vmm_spec *spec, char **ret, struct error *err)
{
    AUTO_JSON_BUILD config = json_build_object();
    for (size_t i = 0; i < DEVICE_COUNT_; i++) {
        if (firecracker_sections[i] != NULL) {
            json_build_put(&config, device_types[i].firecracker, firecracker_sections[i](spec));
        }
    }
    char *text = config.value == NULL ? NULL : json_text(config.value);
    if (text == NULL) {
        return error_set(err, ERR_VMM_FAILED,
                         "the configuration for Firecracker cannot be written: out of memory, or a "
                         "text in it is not UTF-8");
    }
    *ret = text;
    return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* No fsync: the runtime directory does not outlive the host, and what a crash of the daemon cuts off has
 * another name. */
static int write_file(const char *dir, const char *name, const char *text, struct error *err)
{
    AUTO_CLOSE int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char temporary[32];
    (void)snprintf(temporary, sizeof temporary, "%s.new", name);
    AUTO_CLOSE int fd = dir_fd < 0 ? -1 : openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0 || write_all(fd, text, strlen(text)) != 0 || renameat(dir_fd, temporary, dir_fd, name) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot write %s/%s", dir, name);
    }
    return 0;
}

int firecracker_prepare(const struct vmm_spec *spec, struct error *err)
{
    AUTO_FREE char *text = NULL;
    if (firecracker_config(spec, &text, err) != 0 || text == NULL) {
        return -1;
    }
    return write_file(spec->dir, "vmm.json", text, err);
}
