#include "host/kernel_image.h"

#include "core/cleanup.h"

#include <elf.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

enum {
    HEADER_BYTES = 0x260,
    LZ4_BLOCK_BYTES = 8 << 20, /* of the legacy frame: lz4_Frame_format.md, "Legacy frame" */
    CHUNK_BYTES = 1 << 20,
    LZMA_MEMORY = 256 << 20,
    GZIP_WINDOW = 15 + 16,
};

/* Where the unpacked bytes go. */
struct sink {
    int fd;
    uint64_t written, max;
    unsigned char *buffer; /* CHUNK_BYTES */
    struct error *err;
};

static int sink_write(struct sink *sink, const void *bytes, size_t len)
{
    const char *p = bytes;
    if (sink->written + len > sink->max) {
        return error_set(sink->err, ERR_INVALID_MANIFEST, "the kernel is larger than allowed when unpacked");
    }
    sink->written += len;
    while (len > 0) {
        ssize_t n = write(sink->fd, p, len);
        if (n <= 0) {
            bool full = n < 0 && errno == ENOSPC;
            return error_sys(sink->err, full ? ERR_INSUFFICIENT_STORAGE : ERR_SYSTEM, errno,
                             "the kernel could not be written");
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int damaged(struct sink *sink)
{
    return error_set(sink->err, ERR_INVALID_MANIFEST, "the compressed kernel is damaged");
}

static int unpack_gzip(struct sink *sink, const unsigned char *data, size_t len)
{
    z_stream stream = {.avail_in = (uInt)len};
    stream.next_in = (unsigned char *)(uintptr_t)data;
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK) {
        return error_oom(sink->err);
    }
    int rc = Z_OK;
    int result = 0;
    while (rc == Z_OK && result == 0) {
        stream.next_out = sink->buffer;
        stream.avail_out = CHUNK_BYTES;
        rc = inflate(&stream, Z_NO_FLUSH);
        if (rc == Z_OK || rc == Z_STREAM_END) {
            result = sink_write(sink, sink->buffer, CHUNK_BYTES - stream.avail_out);
        }
    }
    (void)inflateEnd(&stream);
    return result != 0 || rc == Z_STREAM_END ? result : damaged(sink);
}

static int unpack_xz(struct sink *sink, const unsigned char *data, size_t len)
{
    lzma_stream stream = LZMA_STREAM_INIT;
    stream.next_in = data;
    stream.avail_in = len;
    if (lzma_stream_decoder(&stream, LZMA_MEMORY, 0) != LZMA_OK) {
        return error_oom(sink->err);
    }
    lzma_ret rc = LZMA_OK;
    int result = 0;
    while (rc == LZMA_OK && result == 0) {
        stream.next_out = sink->buffer;
        stream.avail_out = CHUNK_BYTES;
        rc = lzma_code(&stream, LZMA_RUN);
        if (rc == LZMA_OK || rc == LZMA_STREAM_END) {
            result = sink_write(sink, sink->buffer, CHUNK_BYTES - stream.avail_out);
        }
    }
    lzma_end(&stream);
    return result != 0 || rc == LZMA_STREAM_END ? result : damaged(sink);
}

static int unpack_zstd(struct sink *sink, const unsigned char *data, size_t len)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {data, len, 0};
    size_t rc = 1;
    int result = 0;
    if (stream == NULL) {
        return error_oom(sink->err);
    }
    while (rc != 0 && !ZSTD_isError(rc) && result == 0) {
        ZSTD_outBuffer out = {sink->buffer, CHUNK_BYTES, 0};
        size_t before = in.pos;
        rc = ZSTD_decompressStream(stream, &out, &in);
        if (!ZSTD_isError(rc)) {
            result = sink_write(sink, sink->buffer, out.pos);
        }
        if (in.pos == before && out.pos == 0) {
            break;
        }
    }
    (void)ZSTD_freeDStream(stream);
    return result != 0 || rc == 0 ? result : damaged(sink);
}

static uint32_t read_le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The kernel's build uses the legacy frame and appends the size of the result to it: the last 4 bytes are no block. */
static int unpack_lz4(struct sink *sink, const unsigned char *data, size_t len)
{
    AUTO_FREE char *block = malloc(LZ4_BLOCK_BYTES);
    size_t at = 4;
    if (block == NULL) {
        return error_oom(sink->err);
    }
    while (at + 8 <= len) {
        uint32_t packed = read_le32(data + at);
        at += 4;
        if (packed > len - at || packed > INT32_MAX) {
            return damaged(sink);
        }
        int n = LZ4_decompress_safe((const char *)data + at, block, (int)packed, LZ4_BLOCK_BYTES);
        if (n < 0) {
            return damaged(sink);
        }
        if (sink_write(sink, block, (size_t)n) != 0) {
            return -1;
        }
        at += packed;
    }
    return sink->written > 0 ? 0 : damaged(sink);
}

static const struct {
    unsigned char magic[4];
    size_t magic_len;
    int (*unpack)(struct sink *sink, const unsigned char *data, size_t len);
} formats[] = {
    {{0x1f, 0x8b}, 2, unpack_gzip},
    {{0xfd, '7', 'z', 'X'}, 4, unpack_xz},
    {{0x28, 0xb5, 0x2f, 0xfd}, 4, unpack_zstd},
    {{0x02, 0x21, 0x4c, 0x18}, 4, unpack_lz4},
};

int kernel_image_kind(int fd, enum kernel_kind *ret, struct error *err)
{
    unsigned char header[HEADER_BYTES];
    ssize_t n = pread(fd, header, sizeof header, 0);
    if (n >= (ssize_t)sizeof(Elf64_Ehdr) && memcmp(header, ELFMAG, SELFMAG) == 0) {
        const Elf64_Ehdr *elf = (const Elf64_Ehdr *)(const void *)header;
        if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_machine != EM_X86_64) {
            return error_set(err, ERR_INVALID_MANIFEST, "the kernel is an ELF file, but not for x86-64");
        }
        *ret = KERNEL_ELF;
        return 0;
    }
    if (n == (ssize_t)sizeof header && memcmp(header + 0x202, "HdrS", 4) == 0) {
        *ret = KERNEL_BZIMAGE;
        return 0;
    }
    return error_set(err, ERR_INVALID_MANIFEST, "the kernel is neither an ELF file nor a bzImage");
}

static int unpack_payload(const unsigned char *image, size_t size, struct sink *sink)
{
    size_t setup = ((size_t)(image[0x1f1] != 0 ? image[0x1f1] : 4) + 1) * 512;
    size_t offset = setup + read_le32(image + 0x248);
    size_t len = read_le32(image + 0x24c);
    if (offset > size || len > size - offset || len < 8) {
        return damaged(sink);
    }
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (memcmp(image + offset, formats[i].magic, formats[i].magic_len) == 0) {
            return formats[i].unpack(sink, image + offset, len);
        }
    }
    return error_set(sink->err, ERR_INVALID_MANIFEST, "the kernel is compressed in a way that is not known");
}

int kernel_image_unpack(int from, int to, uint64_t max_bytes, struct error *err)
{
    struct stat st;
    AUTO_FREE unsigned char *buffer = malloc(CHUNK_BYTES);
    if (buffer == NULL) {
        return error_oom(err);
    }
    if (fstat(from, &st) != 0 || st.st_size < HEADER_BYTES) {
        return error_set(err, ERR_INVALID_MANIFEST, "the kernel is too short");
    }
    size_t size = (size_t)st.st_size;
    unsigned char *image = mmap(NULL, size, PROT_READ, MAP_PRIVATE, from, 0);
    if (image == MAP_FAILED) {
        return error_sys(err, ERR_SYSTEM, errno, "the kernel could not be read");
    }
    struct sink sink = {.fd = to, .max = max_bytes, .buffer = buffer, .err = err};
    int result = unpack_payload(image, size, &sink);
    (void)munmap(image, size);
    return result;
}
