#include "host/store/kernel_unpack.h"

#include "core/cleanup.h"
#include "host/store/room.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    GZIP_ONLY = 15 + 16,           /* zlib.h, inflateInit2(): the largest window, and a gzip header */
    XZ_MEMORY = 256 * 1024 * 1024, /* the kernel's xz uses a dictionary of 32 MiB */
    LZ4_SIZE_BYTES = 4,
};

#define LZ4_LEGACY_MAGIC 0x184c2102U

int kernel_sink_write(struct kernel_sink *sink, const void *bytes, size_t len, struct error *err)
{
    const char *at = bytes;
    if (len > sink->max_bytes - sink->written) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "what is packed in it has more than %" PRIu64 " bytes", sink->max_bytes);
    }
    sink->written += len;
    if (sink->take != NULL) {
        return sink->take(sink->ctx, bytes, len, err);
    }
    while (len > 0) {
        ssize_t n = write(sink->fd, at, len);
        if (n < 0 && errno != EINTR) {
            return error_sys(err, room_error_code(errno, ERR_SYSTEM), errno, "cannot write the unpacked kernel");
        }
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int damaged(const char *format, struct error *err)
{
    return error_set(err, ERR_INVALID_MANIFEST, "its %s data is damaged or cut off", format);
}

static void end_inflate(z_stream *stream)
{
    (void)inflateEnd(stream);
}

int kernel_unpack_gzip(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    CLEANUP(end_inflate) z_stream stream = {0};
    if (inflateInit2(&stream, GZIP_ONLY) != Z_OK) {
        return error_oom(err);
    }
    stream.next_in = (z_const Bytef *)(uintptr_t)packed;
    stream.avail_in = len < UINT_MAX ? (uInt)len : UINT_MAX;
    int status = Z_OK;
    while (status == Z_OK) {
        stream.next_out = sink->room;
        stream.avail_out = KERNEL_SINK_ROOM;
        status = inflate(&stream, Z_NO_FLUSH);
        if (kernel_sink_write(sink, sink->room, KERNEL_SINK_ROOM - stream.avail_out, err) != 0) {
            return -1;
        }
    }
    return status == Z_STREAM_END ? 0 : damaged("gzip", err);
}

static int run_lzma(lzma_stream *stream, const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    stream->next_in = packed;
    stream->avail_in = len;
    lzma_ret status = LZMA_OK;
    while (status == LZMA_OK) {
        stream->next_out = sink->room;
        stream->avail_out = KERNEL_SINK_ROOM;
        status = lzma_code(stream, LZMA_RUN);
        if (kernel_sink_write(sink, sink->room, KERNEL_SINK_ROOM - stream->avail_out, err) != 0) {
            return -1;
        }
    }
    return status == LZMA_STREAM_END ? 0 : damaged("xz", err);
}

int kernel_unpack_xz(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    CLEANUP(lzma_end) lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&stream, XZ_MEMORY, 0) != LZMA_OK) {
        return error_oom(err);
    }
    return run_lzma(&stream, packed, len, sink, err);
}

int kernel_unpack_lzma(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    CLEANUP(lzma_end) lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_alone_decoder(&stream, XZ_MEMORY) != LZMA_OK) {
        return error_oom(err);
    }
    return run_lzma(&stream, packed, len, sink, err);
}

static void free_zstd(ZSTD_DCtx **context)
{
    (void)ZSTD_freeDCtx(*context);
}

int kernel_unpack_zstd(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    CLEANUP(free_zstd)
    ZSTD_DCtx *context = ZSTD_createDCtx(); /* windows up to 128 MiB, as the kernel's build makes them */
    if (context == NULL) {
        return error_oom(err);
    }
    ZSTD_inBuffer from = {packed, len, 0};
    for (;;) {
        ZSTD_outBuffer to = {sink->room, KERNEL_SINK_ROOM, 0};
        size_t left = ZSTD_decompressStream(context, &to, &from);
        if (ZSTD_isError(left) != 0) {
            return damaged("Zstandard", err);
        }
        if (kernel_sink_write(sink, sink->room, to.pos, err) != 0) {
            return -1;
        }
        if (left == 0) {
            return 0;
        }
        if (from.pos == from.size && to.pos < to.size) {
            return damaged("Zstandard", err);
        }
    }
}

static uint32_t read_le32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/*
 * The legacy frame has no end mark: blocks follow each other up to the end of the payload, whose last four
 * bytes are the unpacked size that the kernel's build appended.
 */
int kernel_unpack_lz4(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err)
{
    size_t at = 0;
    while (len - at > LZ4_SIZE_BYTES) {
        uint32_t size = read_le32(packed + at);
        at += LZ4_SIZE_BYTES;
        if (size == LZ4_LEGACY_MAGIC) {
            continue;
        }
        if (size > len - at || size > (uint32_t)LZ4_COMPRESSBOUND(KERNEL_SINK_ROOM)) {
            return damaged("LZ4", err);
        }
        int n = LZ4_decompress_safe((const char *)packed + at, (char *)sink->room, (int)size, KERNEL_SINK_ROOM);
        if (n < 0) {
            return damaged("LZ4", err);
        }
        if (kernel_sink_write(sink, sink->room, (size_t)n, err) != 0) {
            return -1;
        }
        at += size;
    }
    return sink->written > 0 ? 0 : damaged("LZ4", err);
}
