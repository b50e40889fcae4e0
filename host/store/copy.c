#include "host/store/copy.h"

#include "core/cleanup.h"
#include "host/store/room.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/types.h>

enum { CHUNK_BYTES = 1024 * 1024, HOLE_BYTES = 4096 };

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static int write_at(int fd, const uint8_t *bytes, size_t len, uint64_t at, struct error *err)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)at);
        if (n < 0 && errno != EINTR) {
            return error_sys(err, room_error_code(errno, ERR_SYSTEM), errno, "cannot write to the store");
        }
        if (n > 0) {
            bytes += n;
            at += (uint64_t)n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Writes the runs of pages that are not all zero; `at` is where the chunk begins, a multiple of a page. */
static int write_sparse(int fd, const uint8_t *bytes, size_t len, uint64_t at, struct error *err)
{
    size_t begin = 0; /* of the run that is not written yet */
    for (size_t i = 0; i < len; i += HOLE_BYTES) {
        size_t part = len - i < HOLE_BYTES ? len - i : HOLE_BYTES;
        if (!is_zero(bytes + i, part)) {
            continue;
        }
        if (write_at(fd, bytes + begin, i - begin, at + begin, err) != 0) {
            return -1;
        }
        begin = i + part;
    }
    return write_at(fd, bytes + begin, len - begin, at + begin, err);
}

/* Fills the chunk unless the file ends, so that chunks begin at multiples of a page. */
static ssize_t read_chunk(int fd, uint8_t *bytes)
{
    size_t len = 0;
    while (len < CHUNK_BYTES) {
        ssize_t n = read(fd, bytes + len, CHUNK_BYTES - len);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)len;
}

static int take_chunk(const struct store_copy *copy, struct sha256 *hash, const uint8_t *bytes, size_t len, uint64_t at, struct error *err)
{
    if (copy->cancel != NULL && atomic_load(copy->cancel)) {
        return error_set(err, ERR_CONFLICT, "reading %s was cancelled", copy->name);
    }
    if (len > copy->max_bytes - at) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "%s has more than %" PRIu64 " bytes", copy->name, copy->max_bytes);
    }
    if (sha256_add(hash, bytes, len, err) != 0 || (copy->to >= 0 && write_sparse(copy->to, bytes, len, at, err) != 0)) {
        return -1;
    }
    if (copy->progress != NULL) {
        atomic_store(copy->progress, at + len);
    }
    return 0;
}

static int copy_all(const struct store_copy *copy, struct sha256 *hash, uint8_t *chunk, uint64_t *ret_bytes, struct error *err)
{
    uint64_t at = 0;
    (void)posix_fadvise(copy->from, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (;;) {
        ssize_t n = read_chunk(copy->from, chunk);
        if (n < 0) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot read %s", copy->name);
        }
        if (n == 0) {
            break;
        }
        if (take_chunk(copy, hash, chunk, (size_t)n, at, err) != 0) {
            return -1;
        }
        at += (uint64_t)n;
    }
    if (copy->to >= 0 && ftruncate(copy->to, (off_t)at) != 0) { /* it may end in a hole */
        return error_sys(err, room_error_code(errno, ERR_SYSTEM), errno, "cannot write to the store");
    }
    *ret_bytes = at;
    return 0;
}

int store_copy_run(const struct store_copy *copy, char ret_sha256[SHA256_HEX_MAX], uint64_t *ret_bytes, struct error *err)
{
    AUTO_SHA256 *hash = NULL;
    if (sha256_new(&hash, err) != 0) {
        return -1;
    }
    uint8_t *chunk = malloc(CHUNK_BYTES);
    if (chunk == NULL) {
        return error_oom(err);
    }
    int result = copy_all(copy, hash, chunk, ret_bytes, err);
    free(chunk);
    return result == 0 ? sha256_finish(hash, ret_sha256, err) : -1;
}
