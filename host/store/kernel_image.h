/*
 * From what distributions ship as a kernel (vmlinuz, a bzImage) to what a VMM boots (an ELF). Works on bytes
 * in memory and trusts none of them. Any thread. Facts: the boot protocol, Documentation/arch/x86/boot.rst
 * (setup_sects 0x1f1, "HdrS" 0x202, version 0x206, payload 0x248 and 0x24c since 2.08); behind an LZ4, XZ or
 * Zstandard payload the build appends its unpacked size in four bytes. Errors: INVALID_MANIFEST for what is
 * neither or is damaged, PAYLOAD_TOO_LARGE, INSUFFICIENT_STORAGE, SYSTEM.
 */
#ifndef SMARTVM_HOST_STORE_KERNEL_IMAGE_H
#define SMARTVM_HOST_STORE_KERNEL_IMAGE_H

#include "core/error.h"

#include <stdint.h>

bool kernel_image_is_elf(const void *image, size_t len); /* of any kind */

/*
 * An ELF that a VMM can start as a kernel: executable, for x86-64, all its segments within the bytes, an entry in one of them or a note for PVH; not a program
 * for Linux. The message says what it is in place of that.
 */
int kernel_image_check_elf(const void *image, size_t len, struct error *err);

/*
 * Writes the ELF that is packed in a bzImage to `out`, at most max_bytes: gzip, LZMA, XZ, Zstandard, LZ4 or
 * not compressed at all, told by its first bytes. Whether the result is an ELF is for the caller to look at,
 * who has it.
 */
int kernel_image_unpack(const void *image, size_t len, int out, uint64_t max_bytes, struct error *err);

#endif
