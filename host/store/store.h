/*
 * The content-addressed store of image files: <root>/sha256/<hex>. A file has that name only after all its
 * bytes were hashed, checked and flushed (temporary file in <root>/tmp, hash while streaming, fsync, rename,
 * fsync of the directory). Files are mode 0444, directories 0700. Any thread; the caller sees to it that one
 * digest is not added twice at once (it would only be work done twice).
 */
#ifndef SMARTVM_HOST_STORE_STORE_H
#define SMARTVM_HOST_STORE_STORE_H

#include "core/error.h"
#include "host/store/digest.h"
#include "host/store/inspect.h"

#include <stdatomic.h>
#include <stdint.h>

struct store_request {
    const char *const *allowed_roots; /* the path must lie below one of them, also when it is resolved */
    size_t allowed_root_count;
    const char *path;            /* absolute host path */
    const char *expected_sha256; /* lower-case hex, or NULL: computed only */
    int64_t expected_bytes;      /* or -1 */
    uint64_t max_bytes;          /* of the given file and of the stored one */
    enum store_use use;          /* it is looked at before it gets its name */
    const char *rootfs_type;     /* of STORE_ROOTFS: "ext4" or "squashfs" */
    /* As inspect_file(), of which it has somebody do it; NULL with STORE_ANYTHING alone. `in` can only be read. */
    int (*inspect)(void *ctx, const struct inspection *what, int in, int out, bool *ret_unpacked, struct error *err);
    void *inspect_ctx;
    _Atomic uint64_t *progress; /* bytes read so far, or NULL */
    const atomic_bool *cancel;  /* set to stop early (error CONFLICT), or NULL */
};

struct store_result {
    char source_sha256[SHA256_HEX_MAX]; /* of the given file */
    char sha256[SHA256_HEX_MAX];        /* of the stored file: its name */
    uint64_t size_bytes;                /* of the stored file */
};

/* Makes the directories and removes what lies in tmp. The parent of the root must be there. */
int store_open(const char *root, struct error *err);

/*
 * Adds a file; pages of zeros become holes. A failure leaves nothing behind, and a file that is there already
 * stays. Errors: PATH_NOT_ALLOWED (outside the roots, also by symbolic link; not a regular file; relative;
 * with ".."), DIGEST_MISMATCH, INVALID_MANIFEST (no such file, size differs, or it is not what it is to be:
 * the message says what it is), INSUFFICIENT_STORAGE, PAYLOAD_TOO_LARGE, CONFLICT (cancelled), SYSTEM.
 */
int store_add(const char *root, const struct store_request *request, struct store_result *ret, struct error *err);

/* <root>/sha256/<hex> into buf; false when it does not fit or the digest is not 64 lower-case hex digits. */
bool store_path(const char *root, const char *sha256, char *buf, size_t size);
int store_remove(const char *root, const char *sha256, struct error *err); /* none is no failure */
/* All digests, in no order; *ret is owned by the caller, and NULL when there are none. */
int store_list(const char *root, char (**ret)[SHA256_HEX_MAX], size_t *ret_count, struct error *err);

/* Reads a whole file below one of the roots (manifests); errors as of store_add(). *ret owned by the caller,
 * terminated. */
int store_read_allowed(const char *const *allowed_roots, size_t allowed_root_count, const char *path, size_t max_bytes, char **ret, size_t *ret_len,
                       struct error *err);

#endif
