/*
 * The target of a request, "/vms/a?wait=5", taken apart: the path is split on '/' before each segment is
 * percent-decoded, so that an encoded slash never makes a segment. Errors: URI_TOO_LONG, BAD_REQUEST
 * (malformed), NOT_FOUND (well-formed, but no resource is named so).
 */
#ifndef SMARTVM_API_SPEC_TARGET_H
#define SMARTVM_API_SPEC_TARGET_H

#include "api/spec/spec.h"
#include "core/limits.h"

struct target {
    char *memory; /* owned: what the others point into */
    const char *segments[LIMIT_PATH_SEGMENTS];
    size_t segment_count;
    struct spec_name_value query[LIMIT_QUERY_PARAMETERS];
    size_t query_count;
};

/* In origin-form, or in absolute-form (RFC 9112, 3.2), of which the host counts for nothing here. */
int target_parse(const char *raw, struct target *ret, struct error *err);
/* The host and port of an absolute-form, borrowed; NULL for the other forms. */
const char *target_authority(const char *raw, size_t *ret_len);
/* Is it a host and perhaps a port, without a user (RFC 3986, 3.2.2 and 3.2.3)? Nothing is one, too. The text ends, or something else follows. */
bool target_is_authority(const char *text, size_t len);
void target_free(struct target *target);

#endif
