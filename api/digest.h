/* Inside api/ only: SHA-256 of short texts, for fingerprints and addresses. */
#ifndef SMARTVM_API_DIGEST_H
#define SMARTVM_API_DIGEST_H

#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 32, DIGEST_HEX_MAX = 2 * DIGEST_BYTES + 1 };

int digest_bytes(const void *data, size_t len, uint8_t *ret, struct error *err); /* ret[DIGEST_BYTES] */
int digest_hex(const void *data, size_t len, char *ret, struct error *err);      /* ret[DIGEST_HEX_MAX] */

#endif
