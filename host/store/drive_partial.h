/*
 * A drive that is being made: a file beside its target that takes the target's name only when it is complete.
 * Only for host/drive*.c.
 */
#ifndef SMARTVM_HOST_STORE_DRIVE_PARTIAL_H
#define SMARTVM_HOST_STORE_DRIVE_PARTIAL_H

#include "core/error.h"

#include <limits.h>

struct drive_partial {
    int fd; /* for writing; -1 when there is none */
    char path[PATH_MAX];
};

#define DRIVE_PARTIAL_INIT ((struct drive_partial){-1, ""})

/* Where the unfinished file of a target lies. */
int drive_partial_path(const char *target, char *buf, size_t size, enum error_code code, struct error *err);

/* Makes it, empty, mode 0600, in place of one that was left behind. `code` is the error code of this job. */
int drive_partial_make(const char *target, struct drive_partial *ret, enum error_code code, struct error *err);
int drive_partial_finish(struct drive_partial *partial, const char *target, enum error_code code, struct error *err);
void drive_partial_drop(struct drive_partial *partial); /* removes it unless it is finished */

#define AUTO_PARTIAL __attribute__((cleanup(drive_partial_drop))) struct drive_partial

/* Whether the target is there already; fails when it is there and not a file. */
int drive_exists(const char *target, bool *ret, enum error_code code, struct error *err);

#endif
