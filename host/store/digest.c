#include "host/store/digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sha256 {
    EVP_MD_CTX *context;
};

static int digest_failed(struct error *err)
{
    return error_set(err, ERR_SYSTEM, "the library does not compute SHA-256");
}

int sha256_new(struct sha256 **ret, struct error *err)
{
    struct sha256 *hash = malloc(sizeof *hash);
    if (hash == NULL) {
        return error_oom(err);
    }
    hash->context = EVP_MD_CTX_new();
    if (hash->context == NULL || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
        sha256_free(hash);
        return digest_failed(err);
    }
    *ret = hash;
    return 0;
}

int sha256_add(struct sha256 *hash, const void *bytes, size_t len, struct error *err)
{
    return EVP_DigestUpdate(hash->context, bytes, len) == 1 ? 0 : digest_failed(err);
}

int sha256_finish(struct sha256 *hash, char ret[SHA256_HEX_MAX], struct error *err)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(hash->context, bytes, &len) != 1 || len * 2 + 1 != SHA256_HEX_MAX) {
        return digest_failed(err);
    }
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret[SHA256_HEX_MAX - 1] = '\0';
    return 0;
}

void sha256_free(struct sha256 *hash)
{
    if (hash != NULL) {
        EVP_MD_CTX_free(hash->context);
        free(hash);
    }
}

bool sha256_hex_is_valid(const char *text)
{
    size_t len = strspn(text, "0123456789abcdef");
    return len == SHA256_HEX_MAX - 1 && text[len] == '\0';
}
