/*
 * What a file is, told by its first bytes: so that what cannot be used is refused by its name. Pure. The magic numbers are those of the formats' own
 * documents and of file(1)'s database.
 */
#ifndef SMARTVM_HOST_STORE_FILE_KIND_H
#define SMARTVM_HOST_STORE_FILE_KIND_H

#include <stddef.h>
#include <stdint.h>

enum { FILE_KIND_HEAD_BYTES = 72 * 1024, FILE_KIND_MAGIC_MAX = 24 }; /* what is looked at: the last magic lies at 64 KiB */

/* What one of the parts of an image may be; all else is of no use. */
enum file_use {
    FILE_USE_NONE,
    FILE_USE_EXT4, /* and ext2, ext3, which the same driver mounts */
    FILE_USE_SQUASHFS,
    FILE_USE_CPIO,
    FILE_USE_GZIP,
    FILE_USE_XZ,
    FILE_USE_LZMA,
    FILE_USE_ZSTD,
    FILE_USE_LZ4, /* its legacy frame, the one that kernels read */
    FILE_USE_ELF,
    FILE_USE_BZIMAGE
};

struct file_kind {
    const char *name;   /* with its article: "a qcow2 disk image" */
    const char *advice; /* what to do with it where a root file system is wanted, or NULL */
    enum file_use use;
    size_t at; /* of the magic */
    char magic[FILE_KIND_MAGIC_MAX];
    size_t magic_len;
};

/* What is told by a magic alone, in the order in which it is looked for; a test walks it. */
extern const struct file_kind file_kinds[];
extern const size_t file_kind_count;

/* `head` is the beginning of the file, `len` bytes of it. Never NULL: what nobody knows has a name, too. */
const struct file_kind *file_kind_of(const void *head, size_t len);

#endif
