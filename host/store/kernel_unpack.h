/* The decompressors behind host/store/kernel_image.c and host/store/initrd_image.c: one stream from memory into a file or a function, with a bound on
 * what comes out. */
#ifndef SMARTVM_HOST_STORE_KERNEL_UNPACK_H
#define SMARTVM_HOST_STORE_KERNEL_UNPACK_H

#include "core/error.h"

#include <stdint.h>

enum { KERNEL_SINK_ROOM = 8 * 1024 * 1024 }; /* the largest block of LZ4's legacy format, lz4_Frame_format.md */

struct kernel_sink {
    int fd;
    int (*take)(void *ctx, const uint8_t *bytes, size_t len, struct error *err); /* or NULL; in place of the file */
    void *ctx;
    uint64_t written;
    uint64_t max_bytes;
    uint8_t *room; /* KERNEL_SINK_ROOM bytes to unpack into */
};

/* Writes bytes to where they belong; PAYLOAD_TOO_LARGE when it would be more than max_bytes. */
int kernel_sink_write(struct kernel_sink *sink, const void *bytes, size_t len, struct error *err);

/* Each unpacks the stream that begins at `packed`; what follows it is not looked at. INVALID_MANIFEST when it
 * is damaged. */
int kernel_unpack_gzip(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err);
int kernel_unpack_xz(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err);
int kernel_unpack_lzma(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err);
int kernel_unpack_zstd(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err);
int kernel_unpack_lz4(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err);

#endif
