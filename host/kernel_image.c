#include "host/kernel_image.h"

#include "core/cleanup.h"
#include "host/kernel_unpack.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

/* The boot protocol's header; all numbers little-endian. */
enum {
    BOOT_SETUP_SECTORS = 0x1f1,
    BOOT_MAGIC = 0x202,
    BOOT_VERSION = 0x206,
    BOOT_PAYLOAD_OFFSET = 0x248,
    BOOT_PAYLOAD_LENGTH = 0x24c,
    BOOT_HEADER_END = 0x250,
    BOOT_VERSION_WITH_PAYLOAD = 0x0208,
    SECTOR_BYTES = 512,
    DEFAULT_SETUP_SECTORS = 4, /* what 0 stands for */
};

static uint32_t read_le(const uint8_t *bytes, size_t count)
{
    uint32_t value = 0;
    for (size_t i = count; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

bool kernel_image_is_elf(const void *image, size_t len)
{
    Elf64_Ehdr header;
    if (len < sizeof header) {
        return false;
    }
    memcpy(&header, image, sizeof header);
    return memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64 &&
           header.e_ident[EI_DATA] == ELFDATA2LSB && header.e_machine == EM_X86_64 &&
           (header.e_type == ET_EXEC || header.e_type == ET_DYN) && header.e_phnum > 0 &&
           header.e_phentsize == sizeof(Elf64_Phdr) && header.e_phoff <= len &&
           (len - header.e_phoff) / sizeof(Elf64_Phdr) >= header.e_phnum;
}

static int unpack_nothing(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    return kernel_sink_write(sink, packed, len, err);
}

static const struct format {
    const char *name;
    uint8_t magic[6];
    size_t magic_len;
    int (*unpack)(const uint8_t *packed, size_t len, struct kernel_sink *sink,
                  struct error *err); /* NULL: cannot */
} formats[] = {
    {"gzip", {0x1f, 0x8b, 0x08}, 3, kernel_unpack_gzip},
    {"XZ", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, kernel_unpack_xz},
    {"LZMA", {0x5d, 0, 0}, 3, kernel_unpack_lzma},
    {"Zstandard", {0x28, 0xb5, 0x2f, 0xfd}, 4, kernel_unpack_zstd},
    {"LZ4", {0x02, 0x21, 0x4c, 0x18}, 4, kernel_unpack_lz4},
    {"no compression", {0x7f, 'E', 'L', 'F'}, 4, unpack_nothing},
    {"bzip2", {'B', 'Z', 'h'}, 3, NULL},
    {"LZO", {0x89, 'L', 'Z', 'O'}, 4, NULL},
};

static int find_payload(const uint8_t *image, size_t len, const uint8_t **ret, size_t *ret_len,
                        struct error *err)
{
    if (len < BOOT_HEADER_END || memcmp(image + BOOT_MAGIC, "HdrS", 4) != 0) {
        return error_set(err, ERR_INVALID_MANIFEST, "the kernel is neither an ELF for x86-64 nor a bzImage");
    }
    uint32_t version = read_le(image + BOOT_VERSION, 2);
    if (version < BOOT_VERSION_WITH_PAYLOAD) {
        return error_set(err, ERR_INVALID_MANIFEST,
                         "the kernel's boot protocol %" PRIu32 ".%02" PRIu32 " is too old", version >> 8,
                         version & 0xff);
    }
    size_t sectors = image[BOOT_SETUP_SECTORS] == 0 ? DEFAULT_SETUP_SECTORS : image[BOOT_SETUP_SECTORS];
    size_t begin = (sectors + 1) * SECTOR_BYTES + read_le(image + BOOT_PAYLOAD_OFFSET, 4);
    size_t size = read_le(image + BOOT_PAYLOAD_LENGTH, 4);
    if (begin > len || size > len - begin || size == 0) {
        return error_set(err, ERR_INVALID_MANIFEST,
                         "the kernel's payload lies outside the file, which may be cut off");
    }
    *ret = image + begin;
    *ret_len = size;
    return 0;
}

static int unpack(const struct format *format, const uint8_t *payload, size_t size, int out,
                  uint64_t max_bytes, struct error *err)
{
    AUTO_FREE uint8_t *room = malloc(KERNEL_SINK_ROOM);
    if (room == NULL) {
        return error_oom(err);
    }
    struct kernel_sink sink = {.fd = out, .max_bytes = max_bytes, .room = room};
    return format->unpack(payload, size, &sink, err);
}

int kernel_image_unpack(const void *image, size_t len, int out, uint64_t max_bytes, struct error *err)
{
    const uint8_t *payload = NULL;
    size_t size = 0;
    if (find_payload(image, len, &payload, &size, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        const struct format *format = &formats[i];
        if (size <= format->magic_len || memcmp(payload, format->magic, format->magic_len) != 0) {
            continue;
        }
        if (format->unpack == NULL) {
            return error_set(err, ERR_INVALID_MANIFEST,
                             "the kernel is compressed with %s, which is not supported", format->name);
        }
        return unpack(format, payload, size, out, max_bytes, err);
    }
    return error_set(err, ERR_INVALID_MANIFEST, "the kernel's payload has an unknown compression");
}
