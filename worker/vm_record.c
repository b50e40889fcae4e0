/* The file `boot` of a runtime directory: which boot, under which VMM and with which limits, the process there is. Written before the process is started. */
#include "core/cleanup.h"
#include "worker/vm_work.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool vm_boot_record_read(const char *dir, struct vm_boot_record *ret)
{
    char path[256];
    char driver[32];
    char accel[16];
    (void)snprintf(path, sizeof path, "%s/boot", dir);
    AUTO_FCLOSE FILE *file = fopen(path, "re");
    ret->limits = (struct cgroup_limits){.memory_max = 0}; /* of a process that an older daemon started */
    if (file == NULL || fscanf(file, "%" SCNd64 " %31s %15s %63s %" SCNu64 " %" SCNu64, &ret->boot, driver, accel, ret->version,
                               &ret->limits.memory_max, &ret->limits.pids_max) < 4) {
        return false;
    }
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
    if (fprintf(file, "%" PRId64 " %s %s %s %" PRIu64 " %" PRIu64 "\n", record->boot, vmm_drivers[record->kind].name,
                vmm_accel_name(record->accel), record->version, record->limits.memory_max, record->limits.pids_max) < 0 ||
        fflush(file) != 0 || rename(temporary, path) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be written", path);
    }
    return 0;
}
