/*
 * Is a file the root file system that a manifest says it is? Works on bytes in memory and trusts none of them. Pure. Facts: the superblocks of ext4
 * (Documentation/filesystems/ext4/super.rst: s_blocks_count_lo 0x4, s_log_block_size 0x18, s_magic 0x38, s_feature_incompat 0x60, s_blocks_count_hi 0x150)
 * and of squashfs (block_size 0xc, s_major 0x1c, bytes_used 0x28).
 */
#ifndef SMARTVM_HOST_STORE_ROOTFS_IMAGE_H
#define SMARTVM_HOST_STORE_ROOTFS_IMAGE_H

#include "core/error.h"

#include <stdint.h>

/*
 * `type` is the manifest's rootfs_type: "ext4" (ext2 and ext3 count as such) or "squashfs". INVALID_MANIFEST, with what the file is in place of it and what to
 * do, or that it is cut off. The message goes on where the file's name ends.
 */
int rootfs_image_check(const void *image, uint64_t len, const char *type, struct error *err);

#endif
