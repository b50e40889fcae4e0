/*
 * Sealed boxes: secrets on their way from the API process to the worker, which no other reader of the database can open, not even the API
 * process that wrote them. Any thread.
 *
 * The worker has a key pair (X25519). Whoever has the public key can seal; only the worker opens. A box is
 *     1 byte version (1) | 32 bytes public key of a pair made for this box | ciphertext | 16 bytes tag
 * with ChaCha20-Poly1305 under a key from HKDF-SHA256 of the shared secret, salted by both public keys (as ECIES, RFC 9180's DHKEM base mode).
 * The key is used once, so the nonce is zero.
 */
#ifndef SMARTVM_CORE_SEAL_H
#define SMARTVM_CORE_SEAL_H

#include "core/error.h"

#include <stdint.h>

enum {
    SEAL_KEY_BYTES = 32,
    SEAL_OVERHEAD_BYTES = 1 + SEAL_KEY_BYTES + 16,
    SEAL_TEXT_MAX = 256 * 1024, /* of what is sealed; more is PAYLOAD_TOO_LARGE */
};

int seal_make_private_key(uint8_t ret[SEAL_KEY_BYTES], struct error *err);
/* The public key of an X25519 private key, of WireGuard's as well. */
int seal_public_key(const uint8_t private_key[SEAL_KEY_BYTES], uint8_t ret[SEAL_KEY_BYTES], struct error *err);

/* *ret, owned by the caller (free), has len + SEAL_OVERHEAD_BYTES bytes. */
int seal(const uint8_t public_key[SEAL_KEY_BYTES], const void *text, size_t len, uint8_t **ret, size_t *ret_len, struct error *err);

/*
 * *ret is terminated and owned by the caller, who wipes it. INVALID_STATE when the box was sealed for another key, or is damaged.
 */
int seal_open(const uint8_t private_key[SEAL_KEY_BYTES], const uint8_t *box, size_t box_len, char **ret, size_t *ret_len, struct error *err);

#endif
