/* Inside api/ only: entity tags, and If-Match. */
#ifndef SMARTVM_API_ETAG_H
#define SMARTVM_API_ETAG_H

#include "api/call.h"
#include "db/images.h"
#include "db/vms.h"

enum { ETAG_MAX = 48 };

char *etag_vm(const struct vm_row *row, char *buf);       /* buf[ETAG_MAX]; returns buf */
char *etag_image(const struct image_row *row, char *buf); /* buf[ETAG_MAX]; returns buf */

/* Strong comparison (RFC 9110, 13.1.1): `*`, or a list with this very tag; weak tags never match. */
bool etag_matches(const char *if_match, const char *etag);

/* PRECONDITION_FAILED when the call has an If-Match that is not for this tag. */
int etag_require(const struct call *call, const char *etag, struct error *err);

#endif
