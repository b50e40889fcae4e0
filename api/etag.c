#include "api/etag.h"

#include "core/json.h"

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

bool etag_matches(const char *if_match, const char *etag)
{
    if (strcmp(if_match, "*") == 0) {
        return true;
    }
    size_t len = strlen(etag);
    for (const char *at = if_match;;) {
        at += strspn(at, " \t");
        size_t element = strcspn(at, ",");
        size_t end = element;
        while (end > 0 && (at[end - 1] == ' ' || at[end - 1] == '\t')) {
            end--;
        }
        if (end == len && memcmp(at, etag, len) == 0) {
            return true;
        }
        if (at[element] == '\0') {
            return false;
        }
        at += element + 1;
    }
}

int etag_require(const struct call *call, const char *etag, struct error *err)
{
    const char *if_match = json_get_string(call->parameters, "If-Match");
    if (if_match == NULL || etag_matches(if_match, etag)) {
        return 0;
    }
    return error_set(err, ERR_PRECONDITION_FAILED, "the ETag is %s now", etag);
}
