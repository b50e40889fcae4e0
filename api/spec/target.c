#include "api/spec/target.h"

#include "core/cleanup.h"
#include "core/strbuf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Decodes in place. False on a '%' that is not followed by two hex digits. */
static bool percent_decode(char *text, bool plus_is_space)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in == '%') {
            int high = hex_value(in[1]);
            int low = high < 0 ? -1 : hex_value(in[2]);
            if (low < 0 || (high == 0 && low == 0)) {
                return false;
            }
            *out++ = (char)(high * 16 + low);
            in += 2;
        } else {
            *out++ = (char)(plus_is_space && *in == '+' ? ' ' : *in);
        }
    }
    *out = '\0';
    return true;
}

/* Length of the well-formed UTF-8 sequence at `s` (RFC 3629), 0 when there is none. */
static size_t utf8_sequence(const unsigned char *s)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0; /* overlong, a surrogate, or beyond U+10FFFF */
    }
    return len;
}

static bool is_clean_text(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s != '\0') {
        size_t len = utf8_sequence(s);
        if (len == 0 || *s < 0x20 || *s == 0x7f) {
            return false;
        }
        s += len;
    }
    return true;
}

static int decode(char *text, bool plus_is_space, const char *what, struct error *err)
{
    if (!percent_decode(text, plus_is_space)) {
        return error_set(err, ERR_BAD_REQUEST, "%s has a broken percent-encoding, or a NUL", what);
    }
    if (!is_clean_text(text)) {
        return error_set(err, ERR_BAD_REQUEST, "%s has control characters, or is not UTF-8", what);
    }
    return 0;
}

static int parse_segment(char *segment, struct target *target, struct error *err)
{
    if (decode(segment, false, "the path", err) != 0) {
        return -1;
    }
    if (strchr(segment, '/') != NULL || strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0) {
        return error_set(err, ERR_BAD_REQUEST, "a segment of the path is '.', '..', or has an encoded '/'");
    }
    if (target->segment_count == LIMIT_PATH_SEGMENTS || segment[0] == '\0') {
        return error_set(err, ERR_NOT_FOUND, "there is nothing at this path");
    }
    target->segments[target->segment_count++] = segment;
    return 0;
}

static int parse_path(char *path, struct target *target, struct error *err)
{
    for (char *segment = path + 1; segment != NULL;) {
        char *slash = strchr(segment, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        if (parse_segment(segment, target, err) != 0) {
            return -1;
        }
        segment = slash != NULL ? slash + 1 : NULL;
    }
    return 0;
}

static int parse_query(char *query, struct target *target, struct error *err)
{
    char *position = NULL;
    for (char *pair = strtok_r(query, "&", &position); pair != NULL; pair = strtok_r(NULL, "&", &position)) {
        if (target->query_count == LIMIT_QUERY_PARAMETERS) {
            return error_set(err, ERR_BAD_REQUEST, "the query has more than %d parameters", LIMIT_QUERY_PARAMETERS);
        }
        char *equals = strchr(pair, '=');
        char *value = equals != NULL ? equals + 1 : pair + strlen(pair);
        if (equals != NULL) {
            *equals = '\0';
        }
        if (decode(pair, true, "the query", err) != 0 || decode(value, true, "the query", err) != 0) {
            return -1;
        }
        target->query[target->query_count++] = (struct spec_name_value){pair, value};
    }
    return 0;
}

static bool is_visible_ascii(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text == 0x7f || *text == '#') { /* bytes from 0x80 on are negative */
            return false;
        }
    }
    return true;
}

/* Behind "http://" or "https://"; NULL when there is no scheme that is served here. */
static const char *after_scheme(const char *raw)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (strncasecmp(raw, schemes[i], strlen(schemes[i])) == 0) {
            return raw + strlen(schemes[i]);
        }
    }
    return NULL;
}

const char *target_authority(const char *raw, size_t *ret_len)
{
    const char *authority = after_scheme(raw);
    *ret_len = authority != NULL ? strcspn(authority, "/?") : 0;
    return authority;
}

static bool has_only(const char *text, size_t len, const char *allowed)
{
    return strspn(text, allowed) >= len;
}

/* The length of a host at the beginning of `text`; SIZE_MAX when what begins there is none. */
static size_t host_length(const char *text, size_t len)
{
    static const char literal[] = "ABCDEFabcdef0123456789:.";
    static const char name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=%";
    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        size_t inner = end != NULL ? (size_t)(end - text) - 1 : 0;
        return inner >= 2 && has_only(text + 1, inner, literal) ? inner + 2 : SIZE_MAX;
    }
    const char *colon = memchr(text, ':', len);
    size_t host = colon != NULL ? (size_t)(colon - text) : len;
    return has_only(text, host, name) ? host : SIZE_MAX;
}

bool target_is_authority(const char *text, size_t len)
{
    static const char digits[] = "0123456789";
    size_t host = host_length(text, len);
    if (host == SIZE_MAX || host == len) {
        return host == len;
    }
    size_t port = len - host - 1;
    return text[host] == ':' && host > 0 && port <= 5 && has_only(text + host + 1, port, digits) && strtol(text + host + 1, NULL, 10) <= UINT16_MAX;
}

/* From the path on. */
static char *copy_path(const char *raw, struct error *err)
{
    size_t len = 0;
    const char *authority = target_authority(raw, &len);
    const char *path = authority != NULL ? authority + len : raw;
    if (authority != NULL && (len == 0 || !target_is_authority(authority, len))) {
        (void)error_set(err, ERR_BAD_REQUEST, "the request target must name a host, without a user");
        return NULL;
    }
    if (!is_visible_ascii(raw) || (path[0] != '/' && authority == NULL)) {
        (void)error_set(err, ERR_BAD_REQUEST,
                        "the request target must begin with '/' or 'http://', without a fragment, and all but visible ASCII "
                        "percent-encoded");
        return NULL;
    }
    AUTO_STRBUF text = STRBUF_INIT;
    strbuf_add(&text, path[0] == '/' ? "" : "/");
    strbuf_add(&text, path);
    char *copy = strbuf_take(&text);
    if (copy == NULL) {
        (void)error_oom(err);
    }
    return copy;
}

int target_parse(const char *raw, struct target *ret, struct error *err)
{
    if (strlen(raw) > LIMIT_TARGET_BYTES) {
        return error_set(err, ERR_URI_TOO_LONG, "the request target is longer than %d bytes", LIMIT_TARGET_BYTES);
    }
    struct target target = {.memory = copy_path(raw, err)};
    if (target.memory == NULL) {
        return -1;
    }
    char *query = strchr(target.memory, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    if (parse_path(target.memory, &target, err) != 0 || (query != NULL && parse_query(query, &target, err) != 0)) {
        target_free(&target);
        return -1;
    }
    *ret = target;
    return 0;
}

void target_free(struct target *target)
{
    free(target->memory);
    *target = (struct target){0};
}
