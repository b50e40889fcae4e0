#include "worker/vm/record.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The file `boot`: "<boot> <driver> <accel> <version> <memory_max> <pids_max> <console_begin> <uid> <disk>", the last as major:minor. */
bool vm_boot_record_read(const char *dir, struct vm_boot_record *ret)
{
    char path[256];
    char driver[32];
    char accel[16];
    (void)snprintf(path, sizeof path, "%s/boot", dir);
    AUTO_FCLOSE FILE *file = fopen(path, "re");
    ret->limits = (struct cgroup_limits){.memory_max = 0}; /* of a process that an older daemon started */
    ret->console_begin = 0;
    unsigned disk[2] = {0, 0};
    ret->uid = 0;
    if (file == NULL || fscanf(file, "%" SCNd64 " %31s %15s %63s %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNu32 " %u:%u", &ret->boot, driver, accel,
                               ret->version, &ret->limits.memory_max, &ret->limits.pids_max, &ret->console_begin, &ret->uid, &disk[0], &disk[1]) < 4) {
        return false;
    }
    ret->limits.io_device = makedev(disk[0], disk[1]);
    const struct vmm_driver *found = vmm_driver_by_name(driver);
    if (found == NULL) {
        return false;
    }
    ret->kind = found->kind;
    ret->accel = strcmp(accel, vmm_accel_name(VMM_ACCEL_KVM)) == 0 ? VMM_ACCEL_KVM : VMM_ACCEL_TCG;
    return true;
}

int vm_boot_record_write(const char *dir, const struct vm_boot_record *record, struct error *err)
{
    char path[256];
    char temporary[256];
    (void)snprintf(path, sizeof path, "%s/boot", dir);
    (void)snprintf(temporary, sizeof temporary, "%s/boot.new", dir);
    AUTO_FCLOSE FILE *file = fopen(temporary, "we");
    if (file == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be written", temporary);
    }
    if (fprintf(file, "%" PRId64 " %s %s %s %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu32 " %u:%u\n", record->boot, vmm_drivers[record->kind].name,
                vmm_accel_name(record->accel), record->version, record->limits.memory_max, record->limits.pids_max, record->console_begin, record->uid,
                major(record->limits.io_device), minor(record->limits.io_device)) < 0 ||
        fflush(file) != 0 || rename(temporary, path) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be written", path);
    }
    return 0;
}

bool vm_network_record_read(const char *dir, char buf[VM_NETWORK_ARGUMENTS_MAX])
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/network", dir);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, buf, VM_NETWORK_ARGUMENTS_MAX - 1);
    buf[len > 0 ? len : 0] = '\0';
    return len >= 0;
}

int vm_network_record_write(const char *dir, const char *text, struct error *err)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/network", dir);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be written", path);
    }
    return 0;
}

void vm_boot_free(struct vm_boot *boot)
{
    free(boot->network);
    free(boot->config);
    *boot = (struct vm_boot){.is_known = false};
}
