/*
 * Kernels as distributions ship them: takes the ELF (vmlinux) out of a bzImage (vmlinuz). Source: Documentation/arch/x86/boot.rst (setup_sects at
 * 0x1f1, "HdrS" at 0x202, payload_offset at 0x248, payload_length at 0x24c). Any thread. Error: INVALID_MANIFEST.
 */
#ifndef SMARTVM_HOST_KERNEL_IMAGE_H
#define SMARTVM_HOST_KERNEL_IMAGE_H

#include "core/error.h"

#include <stdint.h>

enum kernel_kind { KERNEL_ELF, KERNEL_BZIMAGE };

/* What the file is, by its first bytes. */
int kernel_image_kind(int fd, enum kernel_kind *ret, struct error *err);

/* Writes the ELF inside the bzImage to `to`, at most max_bytes. gzip, xz, zstd and lz4 payloads. */
int kernel_image_unpack(int from, int to, uint64_t max_bytes, struct error *err);

#endif
