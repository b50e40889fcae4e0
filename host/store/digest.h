/* SHA-256 while bytes stream by. One object, one thread. Error: SYSTEM. */
#ifndef SMARTVM_HOST_STORE_DIGEST_H
#define SMARTVM_HOST_STORE_DIGEST_H

#include "core/error.h"

enum { SHA256_HEX_MAX = 65 }; /* 64 lower-case hex digits with the terminator */

struct sha256;

int sha256_new(struct sha256 **ret, struct error *err);
int sha256_add(struct sha256 *hash, const void *bytes, size_t len, struct error *err);
/* The digest of all that was added; the object can only be freed afterwards. */
int sha256_finish(struct sha256 *hash, char ret[SHA256_HEX_MAX], struct error *err);
void sha256_free(struct sha256 *hash); /* harmless on NULL */

bool sha256_hex_is_valid(const char *text); /* exactly 64 lower-case hex digits */

static inline void cleanup_sha256(struct sha256 **hash)
{
    sha256_free(*hash);
}
#define AUTO_SHA256 __attribute__((cleanup(cleanup_sha256))) struct sha256

#endif
