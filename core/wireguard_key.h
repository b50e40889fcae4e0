/* Keys of WireGuard (Curve25519, 32 bytes) as values and as text. Pure functions; none of them ever quotes a key in an error. */
#ifndef SMARTVM_CORE_WIREGUARD_KEY_H
#define SMARTVM_CORE_WIREGUARD_KEY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WIREGUARD_KEY_BYTES = 32,
    WIREGUARD_KEY_TEXT_MAX = 45, /* base64 of 32 bytes, with the terminator */
    WIREGUARD_KEY_HEX_MAX = 65,
};

struct wireguard_key {
    uint8_t bytes[WIREGUARD_KEY_BYTES];
};

/* Strict: 43 characters of base64 and "=", no white space, the two unused bits 0. */
bool wireguard_key_parse(const char *text, struct wireguard_key *ret);
char *wireguard_key_format(const struct wireguard_key *key, char *buf); /* buf[WIREGUARD_KEY_TEXT_MAX]; returns buf */

/* 64 digits, as the UAPI socket writes keys. */
bool wireguard_key_parse_hex(const char *text, struct wireguard_key *ret);
char *wireguard_key_format_hex(const struct wireguard_key *key, char *buf); /* buf[WIREGUARD_KEY_HEX_MAX]; returns buf */

bool wireguard_key_equal(const struct wireguard_key *a, const struct wireguard_key *b);
bool wireguard_key_is_zero(const struct wireguard_key *key);

#endif
