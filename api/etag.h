/*
 * Inside api/ only: entity tags, If-Match and If-None-Match (RFC 9110, 8.8.3 and 13).
 *
 * A tag is "<version>.<digest>". The version changes with what a write could collide with, and is what the conditions of writes are about. The digest
 * is that of the body, which also tells of what was observed: a GET is answered with 304 only when nothing at all differs.
 */
#ifndef SMARTVM_API_ETAG_H
#define SMARTVM_API_ETAG_H

#include "api/call.h"
#include "db/images.h"
#include "db/vms.h"

enum { ETAG_MAX = 80 };

/* Versions, as a quoted tag without its digest. */
char *etag_vm(const struct vm_row *row, char *buf);       /* buf[ETAG_MAX]; returns buf */
char *etag_image(const struct image_row *row, char *buf); /* buf[ETAG_MAX]; returns buf */

/* Puts the digest of the body into the tag. */
void etag_add_digest(char *tag, const char *body, size_t len);

/*
 * `*`, or a list with this version. If-Match compares strongly, so that weak tags (W/"…") never match; If-None-Match weakly. What is no list of tags
 * matches nothing.
 */
enum etag_comparison { ETAG_STRONG, ETAG_WEAK };
bool etag_matches(const char *list, const char *version, enum etag_comparison comparison);
/* `*`, or a list with this very tag, digest and all; weak comparison. */
bool etag_matches_whole(const char *list, const char *tag);

/* PRECONDITION_FAILED when those of the call do not hold for this version; NULL: there is no such resource. */
int etag_require(const struct call *call, const char *version, struct error *err);

#endif
