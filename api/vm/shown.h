/*
 * Inside api/ only: VMs as they are shown. What a row says is rendered once per revision and kept; what is shown again is not read from the database but for
 * its version. Bounded in number and in bytes: what does not fit is rendered each time. One thread, as all of api/.
 */
#ifndef SMARTVM_API_VM_SHOWN_H
#define SMARTVM_API_VM_SHOWN_H

#include "api/etag.h"
#include "db/vms.h"

#include <jansson.h>

struct api;
struct shown_vms;

enum {
    SHOWN_VMS_MAX = 4096,
    SHOWN_VM_BYTES_MAX = 16 * 1024,         /* of one that is kept */
    SHOWN_VMS_BYTES_MAX = 16 * 1024 * 1024, /* of all of them together */
};

struct shown_vm {
    struct vm_version version;
    char *body; /* JSON of components/schemas/Vm */
    size_t len;
    char etag[ETAG_MAX]; /* with the body's digest */
    json_t *labels;      /* NULL: none */
};

int shown_vms_new(struct shown_vms **ret, struct error *err);
void shown_vms_free(struct shown_vms *shown); /* harmless on NULL */

/* *ret is borrowed until the next call of any function of this file; NULL when there is no such VM (any more). */
int shown_vm_get(struct api *api, const char *id, const struct shown_vm **ret, struct error *err);
int shown_vm_of_version(struct api *api, const struct vm_version *version, const struct shown_vm **ret, struct error *err);

/* The same of a row that was read outside a transaction: its document is read if it has to be. */
int shown_vm_of_row(struct api *api, struct vm_row *row, const struct shown_vm **ret, struct error *err);

#endif
