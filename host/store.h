/*
 * The content-addressed store of image files: <root>/sha256/<hex>. A file has that name only after all its bytes were hashed, checked and
 * flushed (temporary file in <root>/tmp, hash while streaming, fsync, rename, fsync of the directory). Files are mode 0444, directories 0700.
 * Any thread; the caller sees to it that one digest is not added twice at once (it would only be work done twice).
 */
#ifndef SMARTVM_HOST_STORE_H
#define SMARTVM_HOST_STORE_H

#include "core/error.h"

#include <stdint.h>
#include <stdatomic.h>

enum { SHA256_HEX_MAX = 65 };

struct store_request {
    const char *const *allowed_roots; /* the resolved path must lie below one of them */
    size_t allowed_root_count;
    const char *path;            /* absolute host path; resolved with openat2(RESOLVE_NO_MAGICLINKS) or realpath on the opened descriptor (/proc/self/fd) */
    const char *expected_sha256; /* lower-case hex, or NULL: computed only */
    int64_t expected_bytes;      /* or -1 */
    uint64_t max_bytes;
    bool is_kernel;              /* a bzImage / vmlinuz is unpacked (gzip, xz, zstd, lz4, bzip2 where a library is there) and the ELF stored; the digest
                                    that is checked is that of the given file, the name is that of the stored one */
    _Atomic uint64_t *progress;  /* bytes read so far, or NULL */
    const atomic_bool *cancel;   /* set to stop early (error CONFLICT), or NULL */
};

struct store_result {
    char source_sha256[SHA256_HEX_MAX]; /* of the given file */
    char sha256[SHA256_HEX_MAX];        /* of the stored file: its name */
    uint64_t size_bytes;                /* of the stored file */
};

int store_open(const char *root, struct error *err); /* makes the directories, removes what lies in tmp */

/*
 * Errors: PATH_NOT_ALLOWED (outside the roots, also by symbolic link; not a regular file; relative; with ".."), DIGEST_MISMATCH,
 * INVALID_MANIFEST (size differs, or the kernel is neither an ELF for x86-64 nor a known vmlinuz), INSUFFICIENT_STORAGE, PAYLOAD_TOO_LARGE, SYSTEM.
 */
int store_add(const char *root, const struct store_request *request, struct store_result *ret, struct error *err);

/* <root>/sha256/<hex> into buf; false when it does not fit or the digest is not 64 lower-case hex digits. */
bool store_path(const char *root, const char *sha256, char *buf, size_t size);
bool store_has(const char *root, const char *sha256);
int store_remove(const char *root, const char *sha256, struct error *err); /* none is no failure */
int store_list(const char *root, char (**ret)[SHA256_HEX_MAX], size_t *ret_count, struct error *err); /* owned by the caller */

/* Reads a whole file below one of the roots (manifests); at most max_bytes, else PAYLOAD_TOO_LARGE. *ret owned by the caller, terminated. */
int store_read_allowed(const char *const *allowed_roots, size_t allowed_root_count, const char *path, size_t max_bytes, char **ret, size_t *ret_len,
                       struct error *err);

#endif
