#include "host/store/initrd_image.h"

#include "core/cleanup.h"
#include "host/store/file_kind.h"
#include "host/store/kernel_unpack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TRAILER "TRAILER!!!" /* the name of the last entry, with its terminator */
#define WANTED  "not a cpio archive (newc), as it is or compressed by gzip, xz, zstd, lzma or lz4 -l"

enum {
    HEADER_BYTES = 110, /* 6 of magic, 13 numbers of 8 hexadecimal digits */
    MAGIC_BYTES = 6,
    FILE_SIZE_AT = MAGIC_BYTES + 6 * 8,
    NAME_SIZE_AT = MAGIC_BYTES + 11 * 8,
    NAME_MAX_BYTES = 4096, /* PATH_MAX */
};

/* How far in an archive. The bytes arrive in any portions. */
struct walk {
    uint8_t part[HEADER_BYTES]; /* of a header, or of a name that may be the trailer's */
    size_t part_len;
    bool in_name;
    uint64_t behind_name; /* bytes */
    uint64_t skip;        /* bytes that nobody looks at */
    bool is_over;         /* the trailer was there */
};

static int damaged(struct error *err)
{
    return error_set(err, ERR_INVALID_MANIFEST, "has a cpio archive in it that is damaged");
}

static int cut_off(struct error *err)
{
    return error_set(err, ERR_INVALID_MANIFEST, "has a cpio archive in it that is cut off");
}

static bool is_cpio(const uint8_t *bytes, uint64_t len)
{
    return len >= MAGIC_BYTES && (memcmp(bytes, "070701", MAGIC_BYTES) == 0 || memcmp(bytes, "070702", MAGIC_BYTES) == 0);
}

static bool read_hex(const uint8_t *digits, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++) {
        unsigned c = digits[i];
        unsigned digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
        if (digit > 15) {
            return false;
        }
        value = value << 4 | digit;
    }
    *ret = value;
    return true;
}

/* Header and name together, and a file, are filled up to four bytes. */
static int take_header(struct walk *walk, struct error *err)
{
    uint64_t file_bytes = 0;
    uint64_t name_bytes = 0;
    if (!is_cpio(walk->part, HEADER_BYTES) || !read_hex(walk->part + FILE_SIZE_AT, &file_bytes) || !read_hex(walk->part + NAME_SIZE_AT, &name_bytes) ||
        name_bytes == 0 || name_bytes > NAME_MAX_BYTES) {
        return damaged(err);
    }
    uint64_t rest = ((HEADER_BYTES + name_bytes + 3) & ~3ULL) - HEADER_BYTES + ((file_bytes + 3) & ~3ULL);
    walk->in_name = name_bytes == sizeof TRAILER;
    walk->behind_name = rest - name_bytes;
    walk->skip = walk->in_name ? 0 : rest;
    return 0;
}

static void take_name(struct walk *walk)
{
    walk->in_name = false;
    walk->is_over = memcmp(walk->part, TRAILER, sizeof TRAILER) == 0;
    walk->skip = walk->is_over ? 0 : walk->behind_name;
}

/* Up to the end of the archive or of the bytes. */
static int feed(struct walk *walk, const uint8_t *bytes, uint64_t len, uint64_t *ret_used, struct error *err)
{
    uint64_t used = 0;
    while (used < len && !walk->is_over) {
        size_t wanted = walk->in_name ? sizeof TRAILER : HEADER_BYTES;
        uint64_t left = len - used;
        if (walk->skip > 0) {
            uint64_t n = walk->skip < left ? walk->skip : left;
            walk->skip -= n;
            used += n;
            continue;
        }
        size_t n = wanted - walk->part_len < left ? wanted - walk->part_len : (size_t)left;
        memcpy(walk->part + walk->part_len, bytes + used, n);
        walk->part_len += n;
        used += n;
        if (walk->part_len == wanted) {
            walk->part_len = 0;
            if (walk->in_name) {
                take_name(walk);
            } else if (take_header(walk, err) != 0) {
                return -1;
            }
        }
    }
    *ret_used = used;
    return 0;
}

/* A trailer may be missing. */
static bool is_whole(const struct walk *walk)
{
    return walk->is_over || (walk->part_len == 0 && walk->skip == 0 && !walk->in_name);
}

struct packed {
    const struct file_kind *kind; /* it is packed by */
    struct walk walk;
    bool has_begun;
};

static int take_packed(void *ctx, const uint8_t *bytes, size_t len, struct error *err)
{
    struct packed *packed = ctx;
    uint64_t used = 0;
    if (len == 0) {
        return 0;
    }
    if (!packed->has_begun && !is_cpio(bytes, len)) {
        return error_set(err, ERR_INVALID_MANIFEST, "is %s with %s packed in it, " WANTED, packed->kind->name, file_kind_of(bytes, len)->name);
    }
    packed->has_begun = true;
    return feed(&packed->walk, bytes, len, &used, err); /* what stands behind the first archive in there is not looked at */
}

static const struct {
    enum file_use use;
    int (*unpack)(const uint8_t *packed, size_t len, struct kernel_sink *sink, struct error *err);
} packers[] = {
    {FILE_USE_GZIP, kernel_unpack_gzip}, {FILE_USE_XZ, kernel_unpack_xz},   {FILE_USE_LZMA, kernel_unpack_lzma},
    {FILE_USE_ZSTD, kernel_unpack_zstd}, {FILE_USE_LZ4, kernel_unpack_lz4},
};

static int check_packed(const struct file_kind *kind, const uint8_t *bytes, uint64_t len, uint64_t max_bytes, struct error *err)
{
    struct packed packed = {.kind = kind};
    AUTO_FREE uint8_t *room = malloc(KERNEL_SINK_ROOM);
    if (room == NULL) {
        return error_oom(err);
    }
    struct kernel_sink sink = {.fd = -1, .take = take_packed, .ctx = &packed, .max_bytes = max_bytes, .room = room};
    for (size_t i = 0; i < ARRAY_LEN(packers); i++) {
        if (packers[i].use == kind->use && packers[i].unpack(bytes, (size_t)len, &sink, err) != 0) {
            return -1;
        }
    }
    if (!packed.has_begun) {
        return error_set(err, ERR_INVALID_MANIFEST, "is %s with nothing packed in it", kind->name);
    }
    return is_whole(&packed.walk) ? 0 : cut_off(err);
}

static bool is_packed(const struct file_kind *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(packers); i++) {
        if (packers[i].use == kind->use) {
            return true;
        }
    }
    return false;
}

/* Behind an archive there may be another one, or what is none: kernels look for their bootconfig at the end of an initrd. */
int initrd_image_check(const void *image, uint64_t len, uint64_t max_bytes, struct error *err)
{
    const uint8_t *bytes = len > 0 ? image : (const uint8_t *)"";
    uint64_t at = 0;
    while (at < len && is_cpio(bytes + at, len - at)) {
        struct walk walk = {.skip = 0};
        uint64_t used = 0;
        if (feed(&walk, bytes + at, len - at, &used, err) != 0) {
            return -1;
        }
        if (!is_whole(&walk)) {
            return cut_off(err);
        }
        at += used;
        while (at < len && bytes[at] == 0) {
            at++;
        }
    }
    const struct file_kind *kind = file_kind_of(bytes + at, (size_t)(len - at < FILE_KIND_HEAD_BYTES ? len - at : FILE_KIND_HEAD_BYTES));
    if (is_packed(kind)) {
        return check_packed(kind, bytes + at, len - at, max_bytes, err);
    }
    return at > 0 ? 0 : error_set(err, ERR_INVALID_MANIFEST, "is %s, " WANTED, kind->name);
}
