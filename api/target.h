/*
 * The target of a request, "/vms/a?wait=5", taken apart: the path is split on '/' before each segment is
 * percent-decoded, so that an encoded slash never makes a segment. Errors: URI_TOO_LONG, BAD_REQUEST
 * (malformed), NOT_FOUND (well-formed, but no resource is named so).
 */
#ifndef SMARTVM_API_TARGET_H
#define SMARTVM_API_TARGET_H

#include "api/spec.h"
#include "core/limits.h"

struct target {
    char *memory; /* owned: what the others point into */
    const char *segments[LIMIT_PATH_SEGMENTS];
    size_t segment_count;
    struct spec_name_value query[LIMIT_QUERY_PARAMETERS];
    size_t query_count;
};

int target_parse(const char *raw, struct target *ret, struct error *err);
void target_free(struct target *target);

#endif
