#include "api/digest.h"

#include <openssl/evp.h>
#include <stdio.h>

int digest_bytes(const void *data, size_t len, uint8_t *ret, struct error *err)
{
    unsigned int written = 0;
    if (EVP_Digest(data, len, ret, &written, EVP_sha256(), NULL) != 1 || written != DIGEST_BYTES) {
        return error_set(err, ERR_INTERNAL, "a SHA-256 could not be computed");
    }
    return 0;
}

int digest_hex(const void *data, size_t len, char *ret, struct error *err)
{
    uint8_t digest[DIGEST_BYTES];
    if (digest_bytes(data, len, digest, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    }
    return 0;
}
