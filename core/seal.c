#include "core/seal.h"

#include "core/cleanup.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

enum { VERSION = 1, TAG_BYTES = 16, NONCE_BYTES = 12 };

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_key_ctx(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
}

static void free_cipher_ctx(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

static void free_kdf(EVP_KDF **kdf)
{
    EVP_KDF_free(*kdf);
}

static void free_kdf_ctx(EVP_KDF_CTX **ctx)
{
    EVP_KDF_CTX_free(*ctx);
}

static int crypto_failed(struct error *err, const char *what)
{
    return error_set(err, ERR_INTERNAL, "libcrypto could not %s", what);
}

int seal_make_private_key(uint8_t ret[SEAL_KEY_BYTES], struct error *err)
{
    return RAND_priv_bytes(ret, SEAL_KEY_BYTES) == 1 ? 0 : crypto_failed(err, "make a key");
}

int seal_public_key(const uint8_t private_key[SEAL_KEY_BYTES], uint8_t ret[SEAL_KEY_BYTES], struct error *err)
{
    size_t len = SEAL_KEY_BYTES;
    CLEANUP(free_key) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, SEAL_KEY_BYTES);
    if (key == NULL || EVP_PKEY_get_raw_public_key(key, ret, &len) != 1 || len != SEAL_KEY_BYTES) {
        return crypto_failed(err, "compute a public key");
    }
    return 0;
}

static int shared_secret(const uint8_t *private_key, const uint8_t *public_key, uint8_t ret[SEAL_KEY_BYTES], struct error *err)
{
    size_t len = SEAL_KEY_BYTES;
    CLEANUP(free_key) EVP_PKEY *mine = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, SEAL_KEY_BYTES);
    CLEANUP(free_key) EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, SEAL_KEY_BYTES);
    CLEANUP(free_key_ctx) EVP_PKEY_CTX *ctx = mine != NULL ? EVP_PKEY_CTX_new(mine, NULL) : NULL;
    if (theirs == NULL || ctx == NULL || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, theirs) != 1 || EVP_PKEY_derive(ctx, ret, &len) != 1 ||
        len != SEAL_KEY_BYTES) {
        return crypto_failed(err, "agree on a key");
    }
    return 0;
}

/* `ours` and `theirs`: the private key at hand and the public key of the other side; `salt`: both public keys. */
static int box_key(const uint8_t *ours, const uint8_t *theirs, const uint8_t salt[2 * SEAL_KEY_BYTES], uint8_t ret[SEAL_KEY_BYTES], struct error *err)
{
    static const char info[] = "smartvm sealed box 1";
    uint8_t secret[SEAL_KEY_BYTES];
    if (shared_secret(ours, theirs, secret, err) != 0) {
        return -1;
    }
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, sizeof secret),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, 2 * (size_t)SEAL_KEY_BYTES),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, sizeof info - 1), OSSL_PARAM_construct_end()};
    CLEANUP(free_kdf) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    CLEANUP(free_kdf_ctx) EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    bool done = ctx != NULL && EVP_KDF_derive(ctx, ret, SEAL_KEY_BYTES, params) == 1;
    explicit_bzero(secret, sizeof secret);
    return done ? 0 : crypto_failed(err, "derive a key");
}

static int encrypt(const uint8_t *key, const void *text, size_t len, uint8_t *to, struct error *err)
{
    static const uint8_t nonce[NONCE_BYTES];
    int written = 0;
    int last = 0;
    CLEANUP(free_cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL || EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce) != 1 || EVP_EncryptUpdate(ctx, to, &written, text, (int)len) != 1 ||
        EVP_EncryptFinal_ex(ctx, to + written, &last) != 1 || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, to + len) != 1) {
        return crypto_failed(err, "encrypt");
    }
    return 0;
}

/* Fills a box of len + SEAL_OVERHEAD_BYTES bytes. */
static int fill_box(const uint8_t *public_key, const void *text, size_t len, uint8_t *box, struct error *err)
{
    uint8_t mine[SEAL_KEY_BYTES];
    uint8_t salt[2 * SEAL_KEY_BYTES];
    uint8_t key[SEAL_KEY_BYTES];
    if (seal_make_private_key(mine, err) != 0 || seal_public_key(mine, salt, err) != 0) {
        return -1;
    }
    memcpy(salt + SEAL_KEY_BYTES, public_key, SEAL_KEY_BYTES);
    box[0] = VERSION;
    memcpy(box + 1, salt, SEAL_KEY_BYTES);
    int result = box_key(mine, public_key, salt, key, err);
    result = result == 0 ? encrypt(key, text, len, box + 1 + SEAL_KEY_BYTES, err) : result;
    explicit_bzero(mine, sizeof mine);
    explicit_bzero(key, sizeof key);
    return result;
}

int seal(const uint8_t public_key[SEAL_KEY_BYTES], const void *text, size_t len, uint8_t **ret, size_t *ret_len, struct error *err)
{
    if (len > SEAL_TEXT_MAX) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "more than %d bytes can't be sealed", SEAL_TEXT_MAX);
    }
    uint8_t *box = malloc(len + SEAL_OVERHEAD_BYTES);
    if (box == NULL) {
        return error_oom(err);
    }
    if (fill_box(public_key, text, len, box, err) != 0) {
        free(box);
        return -1;
    }
    *ret = box;
    *ret_len = len + SEAL_OVERHEAD_BYTES;
    return 0;
}

static bool decrypt(const uint8_t *key, const uint8_t *box, size_t len, char *to)
{
    static const uint8_t nonce[NONCE_BYTES];
    int written = 0;
    int last = 0;
    uint8_t tag[TAG_BYTES];
    memcpy(tag, box + len, sizeof tag);
    CLEANUP(free_cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    return ctx != NULL && EVP_DecryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce) == 1 &&
           EVP_DecryptUpdate(ctx, (unsigned char *)to, &written, box, (int)len) == 1 && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
           EVP_DecryptFinal_ex(ctx, (unsigned char *)to + written, &last) == 1;
}

int seal_open(const uint8_t private_key[SEAL_KEY_BYTES], const uint8_t *box, size_t box_len, char **ret, size_t *ret_len, struct error *err)
{
    uint8_t salt[2 * SEAL_KEY_BYTES];
    uint8_t key[SEAL_KEY_BYTES];
    if (box_len < SEAL_OVERHEAD_BYTES || box_len > (size_t)SEAL_TEXT_MAX + SEAL_OVERHEAD_BYTES || box[0] != VERSION) {
        return error_set(err, ERR_INVALID_STATE, "the sealed box is damaged");
    }
    size_t len = box_len - SEAL_OVERHEAD_BYTES;
    memcpy(salt, box + 1, SEAL_KEY_BYTES);
    if (seal_public_key(private_key, salt + SEAL_KEY_BYTES, err) != 0 || box_key(private_key, salt, salt, key, err) != 0) {
        return -1;
    }
    char *text = calloc(1, len + 1);
    bool opened = text != NULL && decrypt(key, box + 1 + SEAL_KEY_BYTES, len, text);
    explicit_bzero(key, sizeof key);
    if (!opened) {
        int result = text == NULL ? error_oom(err) : error_set(err, ERR_INVALID_STATE, "the sealed box is for another key, or damaged");
        free(text);
        return result;
    }
    *ret = text;
    *ret_len = len;
    return 0;
}
