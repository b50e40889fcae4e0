/*
 * Drives: staging a writable copy of a base file. Any thread, one call per target
 * at a time. Errors: ROOTFS_CLONE_FAILED; INSUFFICIENT_STORAGE before anything is
 * written when it would not fit, and when it turns out not to fit.
 *
 * A drive is written to <target>.partial, mode 0600, and renamed when it is complete, so that a target that
 * exists is complete. It is not flushed: a power cut may undo it, and a machine that boots stages its drives
 * again. Idempotent: an existing target is left as it is. Failures leave nothing behind.
 */
#ifndef SMARTVM_HOST_STORE_DRIVE_H
#define SMARTVM_HOST_STORE_DRIVE_H

#include "core/error.h"

#include <stdint.h>

enum drive_method { DRIVE_REFLINK, DRIVE_SPARSE_COPY, DRIVE_EXISTED };

/*
 * Makes `target` a copy of `base` (which is only read): by reflink (FICLONE), else a sparse copy that keeps
 * holes (SEEK_DATA/SEEK_HOLE, copy_file_range or read/write). On a tmpfs the free memory of the host
 * (MemAvailable) counts as well as the file system's free blocks.
 */
int drive_stage(const char *base, const char *target, enum drive_method *ret_method, struct error *err);

#endif
