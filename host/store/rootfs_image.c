#include "host/store/rootfs_image.h"

#include "host/store/file_kind.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

enum {
    EXT_SUPERBLOCK = 1024,
    EXT_SUPERBLOCK_BYTES = 1024,
    EXT_INODES = 0x0,
    EXT_BLOCKS_LO = 0x4,
    EXT_LOG_BLOCK_SIZE = 0x18,
    EXT_INCOMPAT = 0x60,
    EXT_BLOCKS_HI = 0x150,
    EXT_INCOMPAT_JOURNAL_DEV = 0x8,
    EXT_INCOMPAT_64BIT = 0x80,
    EXT_LOG_BLOCK_SIZE_MAX = 6, /* 64 KiB */
    SQUASHFS_SUPERBLOCK_BYTES = 96,
    SQUASHFS_BLOCK_SIZE = 0xc,
    SQUASHFS_MAJOR = 0x1c,
    SQUASHFS_BYTES_USED = 0x28,
    SQUASHFS_VERSION = 4,
    SQUASHFS_BLOCK_MIN = 4096,
    SQUASHFS_BLOCK_MAX = 1 << 20,
};

static uint64_t read_le(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = count; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

static int fault(struct error *err, const char *words)
{
    return error_set(err, ERR_INVALID_MANIFEST, "%s", words);
}

static int cut_off(const char *name, uint64_t whole, uint64_t len, struct error *err)
{
    return error_set(err, ERR_INVALID_MANIFEST, "is %s that is cut off: it has %" PRIu64 " bytes, and the file %" PRIu64, name, whole, len);
}

static int check_ext(const uint8_t *image, uint64_t len, struct error *err)
{
    if (len < EXT_SUPERBLOCK + EXT_SUPERBLOCK_BYTES) {
        return fault(err, "is an ext4 file system that is cut off within its superblock");
    }
    const uint8_t *super = image + EXT_SUPERBLOCK;
    uint64_t incompat = read_le(super + EXT_INCOMPAT, 4);
    uint64_t log_size = read_le(super + EXT_LOG_BLOCK_SIZE, 4);
    uint64_t blocks = read_le(super + EXT_BLOCKS_LO, 4);
    if ((incompat & EXT_INCOMPAT_64BIT) != 0) {
        blocks |= read_le(super + EXT_BLOCKS_HI, 4) << 32;
    }
    if (log_size > EXT_LOG_BLOCK_SIZE_MAX || blocks == 0 || read_le(super + EXT_INODES, 4) == 0) {
        return fault(err, "is an ext4 file system whose superblock is damaged");
    }
    if ((incompat & EXT_INCOMPAT_JOURNAL_DEV) != 0) {
        return fault(err, "is the external journal of an ext4 file system, not the file system");
    }
    uint64_t size = (uint64_t)1024 << log_size;
    return blocks <= len / size ? 0 : cut_off("an ext4 file system", blocks > UINT64_MAX / size ? UINT64_MAX : blocks * size, len, err);
}

static int check_squashfs(const uint8_t *image, uint64_t len, struct error *err)
{
    if (len < SQUASHFS_SUPERBLOCK_BYTES) {
        return fault(err, "is a squashfs file system that is cut off within its superblock");
    }
    uint64_t block = read_le(image + SQUASHFS_BLOCK_SIZE, 4);
    uint64_t used = read_le(image + SQUASHFS_BYTES_USED, 8);
    unsigned major = (unsigned)read_le(image + SQUASHFS_MAJOR, 2);
    if (major != SQUASHFS_VERSION) {
        return error_set(err, ERR_INVALID_MANIFEST, "is a squashfs file system of version %u; kernels read version 4", major);
    }
    if (block < SQUASHFS_BLOCK_MIN || block > SQUASHFS_BLOCK_MAX || (block & (block - 1)) != 0 || used < SQUASHFS_SUPERBLOCK_BYTES) {
        return fault(err, "is a squashfs file system whose superblock is damaged");
    }
    return used <= len ? 0 : cut_off("a squashfs file system", used, len, err);
}

static const struct type {
    const char *name; /* in the manifest */
    const char *words;
    enum file_use use;
    int (*check)(const uint8_t *image, uint64_t len, struct error *err);
} types[] = {
    {"ext4", "an ext4 file system", FILE_USE_EXT4, check_ext},
    {"squashfs", "a squashfs file system", FILE_USE_SQUASHFS, check_squashfs},
};

int rootfs_image_check(const void *image, uint64_t len, const char *type, struct error *err)
{
    const struct file_kind *kind = file_kind_of(image, len < FILE_KIND_HEAD_BYTES ? (size_t)len : FILE_KIND_HEAD_BYTES);
    const struct type *wanted = strcmp(type, types[1].name) == 0 ? &types[1] : &types[0];
    if (kind->use == wanted->use) {
        return wanted->check(image, len, err);
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (kind->use == types[i].use) {
            return error_set(err, ERR_INVALID_MANIFEST, "is %s, and rootfs_type says %s: set rootfs_type to \"%s\"", types[i].words, wanted->name,
                             types[i].name);
        }
    }
    return error_set(err, ERR_INVALID_MANIFEST, "is %s, not %s%s%s", kind->name, wanted->words, kind->advice != NULL ? "; " : "",
                     kind->advice != NULL ? kind->advice : "");
}
