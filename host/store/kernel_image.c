#include "host/store/kernel_image.h"

#include "core/cleanup.h"
#include "host/store/file_kind.h"
#include "host/store/kernel_unpack.h"

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

static int fault(struct error *err, const char *words)
{
    return error_set(err, ERR_INVALID_MANIFEST, "the kernel is %s", words);
}

static const struct {
    unsigned machine;
    const char *name;
} machines[] = {{EM_386, "x86"}, {EM_AARCH64, "AArch64"}, {EM_ARM, "ARM"}, {EM_RISCV, "RISC-V"}, {EM_PPC64, "POWER"}, {EM_S390, "s390"}, {EM_MIPS, "MIPS"}};

static int wrong_machine(const Elf64_Ehdr *header, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
        if (machines[i].machine == header->e_machine) {
            return error_set(err, ERR_INVALID_MANIFEST, "the kernel is an ELF for %s, and should be one for x86-64", machines[i].name);
        }
    }
    return error_set(err, ERR_INVALID_MANIFEST, "the kernel is an ELF for machine number %u, and should be one for x86-64", (unsigned)header->e_machine);
}

/* What all its numbers are read by. */
static int check_header(const Elf64_Ehdr *header, size_t len, struct error *err)
{
    if (header->e_ident[EI_CLASS] == ELFCLASS32 && header->e_machine == EM_386) {
        return fault(err, "a 32-bit ELF, and should be one for x86-64, with an entry in 64-bit mode");
    }
    if (header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_machine != EM_X86_64) {
        return wrong_machine(header, err);
    }
    if (header->e_ident[EI_CLASS] != ELFCLASS64) {
        return fault(err, "a 32-bit ELF, and should be one for x86-64, with an entry in 64-bit mode");
    }
    if (header->e_type == ET_REL) {
        return fault(err, "an ELF object file or a kernel module, and should be a whole kernel");
    }
    if ((header->e_type != ET_EXEC && header->e_type != ET_DYN) || header->e_phnum == 0 || header->e_phentsize != sizeof(Elf64_Phdr)) {
        return fault(err, "an ELF that can't be started");
    }
    if (header->e_phoff > len || (len - header->e_phoff) / sizeof(Elf64_Phdr) < header->e_phnum) {
        return fault(err, "an ELF that is cut off");
    }
    return 0;
}

static bool is_within(uint64_t address, uint64_t begin, uint64_t size)
{
    return address >= begin && address - begin < size;
}

/* A note "Xen" of type 18, by which VMMs enter it in 32-bit mode (PVH). */
static bool has_pvh_note(const uint8_t *notes, size_t len)
{
    enum { PHYS32_ENTRY = 18 };
    Elf64_Nhdr note;
    while (len >= sizeof note) {
        memcpy(&note, notes, sizeof note);
        uint64_t name_bytes = ((uint64_t)note.n_namesz + 3) & ~3ULL;
        uint64_t bytes = sizeof note + name_bytes + (((uint64_t)note.n_descsz + 3) & ~3ULL);
        if (bytes > len) {
            return false;
        }
        if (note.n_type == PHYS32_ENTRY && note.n_namesz == 4 && memcmp(notes + sizeof note, "Xen", 4) == 0) {
            return true;
        }
        notes += bytes;
        len -= bytes;
    }
    return false;
}

static int check_segments(const uint8_t *image, size_t len, const Elf64_Ehdr *header, struct error *err)
{
    bool loads = false;
    bool enters = false;
    for (size_t i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, image + header->e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type == PT_INTERP || segment.p_type == PT_TLS) {
            return fault(err, "a program for Linux, not a kernel");
        }
        if (segment.p_type != PT_LOAD && segment.p_type != PT_NOTE) {
            continue;
        }
        if (segment.p_offset > len || segment.p_filesz > len - segment.p_offset) {
            return fault(err, "an ELF that is cut off");
        }
        loads = loads || segment.p_type == PT_LOAD;
        enters = enters || (segment.p_type == PT_NOTE
                                ? has_pvh_note(image + segment.p_offset, segment.p_filesz)
                                : is_within(header->e_entry, segment.p_paddr, segment.p_memsz) || is_within(header->e_entry, segment.p_vaddr, segment.p_memsz));
    }
    return loads && enters ? 0
                           : fault(err, loads ? "an ELF without an entry: it lies in no segment, and there is none for PVH" : "an ELF with nothing to load");
}

bool kernel_image_is_elf(const void *image, size_t len)
{
    return len >= SELFMAG && memcmp(image, ELFMAG, SELFMAG) == 0;
}

int kernel_image_check_elf(const void *image, size_t len, struct error *err)
{
    Elf64_Ehdr header;
    if (!kernel_image_is_elf(image, len)) {
        return error_set(err, ERR_INVALID_MANIFEST, "the kernel is %s, not an ELF or a bzImage for x86-64", file_kind_of(image, len)->name);
    }
    if (len < sizeof header) {
        return fault(err, "an ELF that is cut off");
    }
    memcpy(&header, image, sizeof header);
    return check_header(&header, len, err) != 0 ? -1 : check_segments(image, len, &header, err);
}

static int unpack_nothing(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    return kernel_sink_write(sink, packed, len, err);
}

static const struct format {
    const char *name;
    uint8_t magic[6];
    size_t magic_len;
    int (*unpack)(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err); /* NULL: cannot */
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

static int find_payload(const uint8_t *image, size_t len, const uint8_t **ret, size_t *ret_len, struct error *err)
{
    if (len < BOOT_HEADER_END || memcmp(image + BOOT_MAGIC, "HdrS", 4) != 0) {
        return kernel_image_check_elf(image, len, err);
    }
    uint32_t version = read_le(image + BOOT_VERSION, 2);
    if (version < BOOT_VERSION_WITH_PAYLOAD) {
        return error_set(err, ERR_INVALID_MANIFEST, "the kernel's boot protocol %" PRIu32 ".%02" PRIu32 " is too old", version >> 8, version & 0xff);
    }
    size_t sectors = image[BOOT_SETUP_SECTORS] == 0 ? DEFAULT_SETUP_SECTORS : image[BOOT_SETUP_SECTORS];
    size_t begin = (sectors + 1) * SECTOR_BYTES + read_le(image + BOOT_PAYLOAD_OFFSET, 4);
    size_t size = read_le(image + BOOT_PAYLOAD_LENGTH, 4);
    if (begin > len || size > len - begin || size == 0) {
        return error_set(err, ERR_INVALID_MANIFEST, "the kernel's payload lies outside the file, which may be cut off");
    }
    *ret = image + begin;
    *ret_len = size;
    return 0;
}

static int unpack(const struct format *format, const uint8_t *payload, size_t size, int out, uint64_t max_bytes, struct error *err)
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
            return error_set(err, ERR_INVALID_MANIFEST, "the kernel is compressed with %s, which is not supported", format->name);
        }
        return unpack(format, payload, size, out, max_bytes, err);
    }
    return error_set(err, ERR_INVALID_MANIFEST, "the kernel's payload has an unknown compression");
}
