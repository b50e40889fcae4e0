/*
 * The devices of a VM: one table, a row each. What the API calls it and how many a VM has at most, where it stands in Firecracker's configuration, whether
 * QEMU has it, which of its fields change while a VM runs and by which call, what a snapshot keeps of it.
 *
 * A new device is a row here, its member in core/vm_config, its section in host/vmm/firecracker_config.c and its writer in host/vmm/qemu.c; a unit test
 * walks the rows and asks for all of that. Pure data, any thread.
 */
#ifndef SMARTVM_CORE_DEVICE_H
#define SMARTVM_CORE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

/* In the order in which a VMM is told of them. */
enum device { DEVICE_BOOT_ARGS, DEVICE_MACHINE, DEVICE_DRIVES, DEVICE_INTERFACES, DEVICE_ENTROPY, DEVICE_PORTS, DEVICE_COUNT_ };

/* What a snapshot of a VM keeps of it, and a VM made from one therefore has. */
enum device_keep {
    DEVICE_KEEPS_NOTHING,   /* it is the host's alone: each VM has its own */
    DEVICE_KEEPS_GUEST_END, /* what the guest sees of it; its end at the host is new */
    DEVICE_KEEPS_STATE,     /* all of it, and it can't be another one afterwards */
    DEVICE_KEEPS_CONTENT,   /* all of it, and a copy of what is stored in it */
    DEVICE_KEEP_COUNT_
};

/* A field that changes in a VM that runs. */
struct device_live {
    const char *field; /* "*": all of them */
    const char *call;  /* the operation of the plan that changes it (worker/vm/plan.h), or "" when nothing is to be done */
};

enum { DEVICE_LIVE_MAX = 4 };

struct device_type {
    const char *name;                         /* the member of the VM in the API */
    bool is_given;                            /* clients can change it; else every VM has it, by its image or by itself */
    size_t at_most;                           /* so many a VM has */
    const char *firecracker;                  /* the section of its configuration file; NULL: no VMM knows of it */
    bool qemu;                                /* QEMU has it, too: false is told as a fault that names QEMU */
    struct device_live live[DEVICE_LIVE_MAX]; /* up to the first without a field; what is not here counts from the next boot on */
    enum device_keep keeps;
};

extern const struct device_type device_types[DEVICE_COUNT_];

/* Does a change of this device as a whole reach a VM that runs? */
bool device_is_live(const struct device_type *type);

/* The first of the devices in `present` (a bit each) that the VMM of this name lacks, or NULL. "auto": what either has is enough. */
const struct device_type *device_lacking(const struct device_type *types, size_t count, unsigned present, const char *vmm);

#endif
