#include "core/names.h"

#include "core/net_addr.h"

#include <string.h>

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool has_only(const char *text, const char *first, const char *rest, size_t max)
{
    size_t len = strlen(text);
    return len > 0 && len <= max && strchr(first, text[0]) != NULL && strspn(text, rest) == len;
}

bool name_is_vm_id(const char *text)
{
    return has_only(text, LOWER DIGITS, LOWER DIGITS "-", 63);
}

bool name_is_image_id(const char *text)
{
    return has_only(text, LOWER UPPER DIGITS "_-", LOWER UPPER DIGITS "._-", 128);
}

bool name_is_iface_id(const char *text)
{
    return has_only(text, LOWER DIGITS, LOWER DIGITS "_", 32);
}

bool name_is_interface(const char *text)
{
    return interface_name_check(text, NULL) == 0;
}

bool name_is_interface_or_none(const char *text)
{
    return text[0] == '\0' || name_is_interface(text);
}

bool name_is_sha256(const char *text)
{
    return strlen(text) == 64 && has_only(text, DIGITS "abcdef", DIGITS "abcdef", 64);
}

bool name_is_uuid_or_none(const char *text)
{
    return text[0] == '\0' || (strlen(text) == 36 && has_only(text, DIGITS "abcdef", DIGITS "abcdef-", 36));
}

/* Bytes of the character at `p`, of UTF-8 as RFC 3629 has it; 0: it is none. */
static size_t character(const unsigned char *p)
{
    static const struct {
        unsigned char first, last, second_first, second_last;
        size_t len;
    } forms[] = {{0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                 {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (p[0] < forms[i].first || p[0] > forms[i].last) {
            continue;
        }
        if (forms[i].len > 1 && (p[1] < forms[i].second_first || p[1] > forms[i].second_last)) {
            return 0;
        }
        for (size_t k = 2; k < forms[i].len; k++) {
            if ((p[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return forms[i].len;
    }
    return 0;
}

bool name_is_text(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    while (*p != '\0') {
        size_t len = character(p);
        if (len == 0) {
            return false;
        }
        p += len;
    }
    return true;
}
