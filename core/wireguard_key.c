#include "core/wireguard_key.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { TEXT_LEN = WIREGUARD_KEY_TEXT_MAX - 1 };

static int digit_value(char c)
{
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

bool wireguard_key_parse(const char *text, struct wireguard_key *ret)
{
    struct wireguard_key key;
    uint32_t bits = 0;
    unsigned held = 0;
    size_t filled = 0;
    if (strlen(text) != TEXT_LEN || text[TEXT_LEN - 1] != '=') {
        return false;
    }
    for (size_t i = 0; i < TEXT_LEN - 1; i++) {
        int value = digit_value(text[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            key.bytes[filled++] = (uint8_t)(bits >> held);
        }
    }
    if ((bits & ((1U << held) - 1)) != 0) {
        return false;
    }
    *ret = key;
    return true;
}

char *wireguard_key_format(const struct wireguard_key *key, char *buf)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t filled = 0;
    for (size_t i = 0; i < sizeof key->bytes; i++) {
        bits = bits << 8 | key->bytes[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            buf[filled++] = alphabet[bits >> held & 63];
        }
    }
    buf[filled++] = alphabet[bits << (6 - held) & 63];
    buf[filled++] = '=';
    buf[filled] = '\0';
    return buf;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool wireguard_key_parse_hex(const char *text, struct wireguard_key *ret)
{
    struct wireguard_key key;
    if (strlen(text) != WIREGUARD_KEY_HEX_MAX - 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof key.bytes; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        key.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = key;
    return true;
}

char *wireguard_key_format_hex(const struct wireguard_key *key, char *buf)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof key->bytes; i++) {
        buf[2 * i] = digits[key->bytes[i] >> 4];
        buf[2 * i + 1] = digits[key->bytes[i] & 15];
    }
    buf[WIREGUARD_KEY_HEX_MAX - 1] = '\0';
    return buf;
}

bool wireguard_key_equal(const struct wireguard_key *a, const struct wireguard_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool wireguard_key_is_zero(const struct wireguard_key *key)
{
    static const struct wireguard_key zero;
    return wireguard_key_equal(key, &zero);
}
