/*
 * Is a file an initrd that kernels unpack? Works on bytes in memory and trusts none of them. Pure. Facts: Documentation/driver-api/early-userspace/
 * buffer-format.rst and init/initramfs.c: cpio archives (newc, magic 070701 or 070702) one behind the other, with zeroes between them; the first ones may be
 * as they are (microcode), and one that is compressed is the last that is read here.
 */
#ifndef SMARTVM_HOST_STORE_INITRD_IMAGE_H
#define SMARTVM_HOST_STORE_INITRD_IMAGE_H

#include "core/error.h"

#include <stdint.h>

/*
 * Walks it from end to end, unpacking gzip, LZMA, XZ, Zstandard and LZ4's legacy format on the way, `max_bytes` of it at most. INVALID_MANIFEST, with what
 * the file is in place of it, or that it is cut off or damaged; PAYLOAD_TOO_LARGE. The message goes on where the file's name ends.
 */
int initrd_image_check(const void *image, uint64_t len, uint64_t max_bytes, struct error *err);

#endif
