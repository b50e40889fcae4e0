#include "host/store/file_kind.h"

#include "core/cleanup.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define MAGIC(text) text, sizeof(text) - 1
#define CONVERT     "convert it by `qemu-img convert -O raw`"
#define UNPACK      "unpack it first"
#define PARTITION   "take out the partition that holds the root file system"
#define MAKE_ONE    "make a file system of what is in it, by `mke2fs -d` or `mksquashfs`"
#define OTHER       "copy what is in it into one, by `mke2fs -d` or `mksquashfs`"

const struct file_kind file_kinds[] = {
    {"a squashfs file system", NULL, FILE_USE_SQUASHFS, 0, MAGIC("hsqs")},
    {"a big-endian squashfs file system", OTHER, FILE_USE_NONE, 0, MAGIC("sqsh")},
    {"an EROFS file system", OTHER, FILE_USE_NONE, 1024, MAGIC("\xe2\xe1\xf5\xe0")},
    {"an F2FS file system", OTHER, FILE_USE_NONE, 1024, MAGIC("\x10\x20\xf5\xf2")},
    {"a Btrfs file system", OTHER, FILE_USE_NONE, 65600, MAGIC("_BHRfS_M")},
    {"a ReiserFS file system", OTHER, FILE_USE_NONE, 65588, MAGIC("ReIsEr")},
    {"an XFS file system", OTHER, FILE_USE_NONE, 0, MAGIC("XFSB")},
    {"a JFS file system", OTHER, FILE_USE_NONE, 32768, MAGIC("JFS1")},
    {"a bcachefs file system", OTHER, FILE_USE_NONE, 4120, MAGIC("\xc6\x85\x73\xf6\x4e\x1a\x45\xca")},
    {"a cramfs file system", OTHER, FILE_USE_NONE, 0, MAGIC("\x45\x3d\xcd\x28")},
    {"a romfs file system", OTHER, FILE_USE_NONE, 0, MAGIC("-rom1fs-")},
    {"an ISO 9660 file system", OTHER, FILE_USE_NONE, 32769, MAGIC("CD001")},
    {"an NTFS file system", OTHER, FILE_USE_NONE, 3, MAGIC("NTFS    ")},
    {"an exFAT file system", OTHER, FILE_USE_NONE, 3, MAGIC("EXFAT   ")},
    {"a FAT file system", OTHER, FILE_USE_NONE, 82, MAGIC("FAT32   ")},
    {"a FAT file system", OTHER, FILE_USE_NONE, 54, MAGIC("FAT1")},
    {"a UBI image", OTHER, FILE_USE_NONE, 0, MAGIC("UBI#")},
    {"a swap area", NULL, FILE_USE_NONE, 4086, MAGIC("SWAPSPACE2")},
    {"a LUKS volume", "decrypt it first", FILE_USE_NONE, 0, MAGIC("LUKS\xba\xbe")},
    {"an LVM physical volume", "take out the logical volume that holds the root file system", FILE_USE_NONE, 512, MAGIC("LABELONE")},
    {"a disk with a GPT partition table", PARTITION, FILE_USE_NONE, 512, MAGIC("EFI PART")},
    {"a disk with a GPT partition table", PARTITION, FILE_USE_NONE, 4096, MAGIC("EFI PART")},

    {"a qcow2 disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("QFI\xfb")},
    {"a VMDK disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("KDMV")},
    {"a VMDK disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("COWD")},
    {"a descriptor of a VMDK disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("# Disk DescriptorFile")},
    {"a VDI disk image", CONVERT, FILE_USE_NONE, 64, MAGIC("\x7f\x10\xda\xbe")},
    {"a VHDX disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("vhdxfile")},
    {"a VHD disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("conectix")},
    {"a QED disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("QED\0")},
    {"a Parallels disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("WithoutFreeSpace")},
    {"a Parallels disk image", CONVERT, FILE_USE_NONE, 0, MAGIC("WithouFreSpacExt")},
    {"an Android sparse image", "convert it by `simg2img`", FILE_USE_NONE, 0, MAGIC("\x3a\xff\x26\xed")},

    {"a tar archive", MAKE_ONE, FILE_USE_NONE, 257, MAGIC("ustar")},
    {"a cpio archive", MAKE_ONE, FILE_USE_CPIO, 0, MAGIC("070701")},
    {"a cpio archive", MAKE_ONE, FILE_USE_CPIO, 0, MAGIC("070702")},
    {"a cpio archive of the old format", MAKE_ONE, FILE_USE_NONE, 0, MAGIC("070707")},
    {"a cpio archive of the old binary format", MAKE_ONE, FILE_USE_NONE, 0, MAGIC("\xc7\x71")},
    {"a zip archive", MAKE_ONE, FILE_USE_NONE, 0, MAGIC("PK\x03\x04")},
    {"a 7-Zip archive", MAKE_ONE, FILE_USE_NONE, 0, MAGIC("7z\xbc\xaf\x27\x1c")},
    {"a RAR archive", MAKE_ONE, FILE_USE_NONE, 0, MAGIC("Rar!\x1a\x07")},
    {"an ar archive or a Debian package", MAKE_ONE, FILE_USE_NONE, 0, MAGIC("!<arch>\n")},
    {"an RPM package", MAKE_ONE, FILE_USE_NONE, 0, MAGIC("\xed\xab\xee\xdb")},

    {"gzip data", UNPACK, FILE_USE_GZIP, 0, MAGIC("\x1f\x8b\x08")},
    {"XZ data", UNPACK, FILE_USE_XZ, 0,
     MAGIC("\xfd"
           "7zXZ\0")},
    {"Zstandard data", UNPACK, FILE_USE_ZSTD, 0, MAGIC("\x28\xb5\x2f\xfd")},
    {"LZ4 data of the legacy format", UNPACK, FILE_USE_LZ4, 0, MAGIC("\x02\x21\x4c\x18")},
    {"LZ4 data", UNPACK, FILE_USE_NONE, 0, MAGIC("\x04\x22\x4d\x18")},
    {"LZMA data", UNPACK, FILE_USE_LZMA, 0, MAGIC("\x5d\0\0")},
    {"bzip2 data", UNPACK, FILE_USE_NONE, 0, MAGIC("BZh")},
    {"LZO data", UNPACK, FILE_USE_NONE, 0, MAGIC("\x89LZO")},
    {"lzip data", UNPACK, FILE_USE_NONE, 0, MAGIC("LZIP")},

    {"a Linux kernel (bzImage)", NULL, FILE_USE_BZIMAGE, 0x202, MAGIC("HdrS")},
    {"an ELF program or kernel", NULL, FILE_USE_ELF, 0,
     MAGIC("\x7f"
           "ELF")},
    {"an ARM64 kernel", NULL, FILE_USE_NONE, 56, MAGIC("ARM\x64")},
    {"a RISC-V kernel", NULL, FILE_USE_NONE, 56, MAGIC("RSC\x05")},
    {"a U-Boot image", NULL, FILE_USE_NONE, 0, MAGIC("\x27\x05\x19\x56")},
    {"a device tree or FIT image", NULL, FILE_USE_NONE, 0, MAGIC("\xd0\x0d\xfe\xed")},
    {"an Android boot image", NULL, FILE_USE_NONE, 0, MAGIC("ANDROID!")},
    {"an EFI or Windows program", NULL, FILE_USE_NONE, 0, MAGIC("MZ")},
    {"a script", NULL, FILE_USE_NONE, 0, MAGIC("#!")},
    {"a Git LFS pointer, not the file itself", "fetch it by `git lfs pull`", FILE_USE_NONE, 0, MAGIC("version https://git-lfs")},
    {"an HTML page", NULL, FILE_USE_NONE, 0, MAGIC("<!DOCTYPE")},
    {"an HTML page", NULL, FILE_USE_NONE, 0, MAGIC("<!doctype")},
    {"an HTML page", NULL, FILE_USE_NONE, 0, MAGIC("<html")},
    {"an XML document", NULL, FILE_USE_NONE, 0, MAGIC("<?xml")},

    {"an ext4 file system", NULL, FILE_USE_EXT4, 1080, MAGIC("\x53\xef")}, /* two bytes that may stand there by chance in much of the above */
};
const size_t file_kind_count = ARRAY_LEN(file_kinds);

static const struct file_kind empty = {.name = "empty"};
static const struct file_kind zeroes = {.name = "nothing but zeroes where it begins", .advice = "format it, and copy a root file system into it"};
static const struct file_kind partitioned = {.name = "a disk with an MBR partition table", .advice = PARTITION};
static const struct file_kind text = {.name = "a text"};
static const struct file_kind unknown = {.name = "data of no kind that is known"};

enum { MBR_TABLE = 446, MBR_ENTRY_BYTES = 16, MBR_ENTRIES = 4, MBR_TYPE = 4, MBR_SIGNATURE = 510 };

/* Four entries that are active or not, one of which is in use. */
static bool has_mbr(const uint8_t *head, size_t len)
{
    bool used = false;
    if (len < MBR_SIGNATURE + 2 || head[MBR_SIGNATURE] != 0x55 || head[MBR_SIGNATURE + 1] != 0xaa) {
        return false;
    }
    for (size_t i = 0; i < MBR_ENTRIES; i++) {
        const uint8_t *entry = head + MBR_TABLE + i * MBR_ENTRY_BYTES;
        if ((entry[0] & 0x7f) != 0) {
            return false;
        }
        used = used || entry[MBR_TYPE] != 0;
    }
    return used;
}

static bool is_text(const uint8_t *head, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (head[i] >= 0x80 || (!isprint(head[i]) && !isspace(head[i]))) {
            return false;
        }
    }
    return true;
}

const struct file_kind *file_kind_of(const void *bytes, size_t len)
{
    const uint8_t *head = bytes;
    if (len == 0) {
        return &empty;
    }
    len = len < FILE_KIND_HEAD_BYTES ? len : FILE_KIND_HEAD_BYTES;
    for (size_t i = 0; i < file_kind_count; i++) {
        const struct file_kind *kind = &file_kinds[i];
        if (kind->at + kind->magic_len <= len && memcmp(head + kind->at, kind->magic, kind->magic_len) == 0) {
            return kind;
        }
    }
    if (has_mbr(head, len)) {
        return &partitioned;
    }
    if (head[0] == 0 && memcmp(head, head + 1, len - 1) == 0) {
        return &zeroes;
    }
    return is_text(head, len) ? &text : &unknown;
}
