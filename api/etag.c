#include "api/etag.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *etag_vm(const struct vm_row *row, char *buf)
{
    (void)snprintf(buf, ETAG_MAX, "\"%" PRId64 "-%" PRId64 "\"", row->uid, row->revision);
    return buf;
}

char *etag_image(const struct image_row *row, char *buf)
{
    (void)snprintf(buf, ETAG_MAX, "\"%" PRId64 "-%" PRId64 "\"", row->created_ms, row->revision);
    return buf;
}

/* FNV-1a: two bodies of one version differ in what was observed, and nobody gains by making them look alike. */
static uint64_t digest_of(const char *body, size_t len)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++) {
        digest = (digest ^ (unsigned char)body[i]) * UINT64_C(0x100000001b3);
    }
    return digest;
}

void etag_add_digest(char *tag, const char *body, size_t len)
{
    size_t at = strlen(tag) - 1; /* before the closing quote */
    (void)snprintf(tag + at, ETAG_MAX - at, ".%016" PRIx64 "\"", digest_of(body, len));
}

/* The length of the tag without the digest and the closing quote. */
static size_t version_len(const char *tag, size_t len)
{
    const char *dot = memchr(tag, '.', len);
    return dot != NULL ? (size_t)(dot - tag) : len - 1;
}

typedef bool same_tag_fn(const char *tag, size_t len, const char *wanted);

static bool same_version(const char *tag, size_t len, const char *wanted)
{
    size_t wanted_len = version_len(wanted, strlen(wanted));
    return version_len(tag, len) == wanted_len && memcmp(tag, wanted, wanted_len) == 0;
}

static bool same_tag(const char *tag, size_t len, const char *wanted)
{
    return strlen(wanted) == len && memcmp(tag, wanted, len) == 0;
}

/* RFC 9110, 8.8.3: entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE, and a comma may be one of etagc. */
static bool list_matches(const char *list, const char *wanted, enum etag_comparison comparison, same_tag_fn *same)
{
    for (const char *at = list + strspn(list, " \t,"); *at != '\0';) {
        bool is_weak = strncmp(at, "W/", 2) == 0;
        at += is_weak ? 2 : 0;
        const char *end = at[0] == '"' ? strchr(at + 1, '"') : NULL;
        if (end == NULL || strchr(" \t,", end[1]) == NULL) {
            return false;
        }
        if ((!is_weak || comparison == ETAG_WEAK) && same(at, (size_t)(end - at) + 1, wanted)) {
            return true;
        }
        at = end + 1;
        at += strspn(at, " \t,");
    }
    return false;
}

bool etag_matches(const char *list, const char *version, enum etag_comparison comparison)
{
    return strcmp(list, "*") == 0 || list_matches(list, version, comparison, same_version);
}

bool etag_matches_whole(const char *list, const char *tag)
{
    return strcmp(list, "*") == 0 || list_matches(list, tag, ETAG_WEAK, same_tag);
}

int etag_require(const struct call *call, const char *version, struct error *err)
{
    return preconditions_check(&call->preconditions, version, err);
}
