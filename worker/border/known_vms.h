/* Which ids are VMs', asked for once and not for each: a start asks about every directory, process and cgroup that it finds. */
#ifndef SMARTVM_WORKER_BORDER_KNOWN_VMS_H
#define SMARTVM_WORKER_BORDER_KNOWN_VMS_H

#include "core/message.h"

struct border;

struct known_vms {
    struct border *border;
    struct message_keys keys; /* in the order of their ids */
};

/* What is read of *ret is freed with known_vms_free(). */
int known_vms_load(struct border *border, struct known_vms *ret, struct error *err);
void known_vms_free(struct known_vms *known);

/*
 * Is there, or was there when the list was made, a VM of this id? Who is not in the list is asked for once more, since it may have come since. Fails when
 * the keeper can't tell.
 */
int known_vms_have(const struct known_vms *known, const char *id, bool *ret, struct error *err);

#endif
