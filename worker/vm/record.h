/*
 * What is on record of a boot, in the runtime directory: the files `boot` and `network`, written before the process is started, and `row` (row_copy.h).
 * A daemon reads them once, when it finds a process that an earlier one started; what it starts itself it knows. struct runtime has it.
 */
#ifndef SMARTVM_WORKER_VM_RECORD_H
#define SMARTVM_WORKER_VM_RECORD_H

#include "core/error.h"
#include "host/process/cgroup.h"
#include "host/vmm/vmm.h"

struct vm_boot_record {
    int64_t boot;
    enum vmm_kind kind;
    enum vmm_accel accel;
    char version[64];
    struct cgroup_limits limits; /* of memory and threads, that it was given, and the disk that its drive lies on: the others are those of the document */
    int64_t console_begin;       /* the position in the console's log where it begins */
    uid_t uid;                   /* that it runs under, in a jail; 0: as root, without one */
};

/* False when there is none. */
bool vm_boot_record_read(const char *dir, struct vm_boot_record *ret);
int vm_boot_record_write(const char *dir, const struct vm_boot_record *record, struct error *err);

/* What the guest was told of its network by kernel arguments (vm_network_arguments()). */
enum { VM_NETWORK_ARGUMENTS_MAX = 400 };
bool vm_network_record_read(const char *dir, char buf[VM_NETWORK_ARGUMENTS_MAX]);
int vm_network_record_write(const char *dir, const char *text, struct error *err);

/* All of it, as one value. */
struct vm_boot {
    bool is_known;
    struct vm_boot_record record;
    char *network; /* owned; NULL: not known */
    char *config;  /* the document that it was started by (core/vm_config.h); owned; NULL: not known */
};
void vm_boot_free(struct vm_boot *boot); /* leaves it zeroed */

#endif
