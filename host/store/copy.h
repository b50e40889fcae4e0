/* Reading a file once: hashed, counted and written on the way. Only for host/store*.c. */
#ifndef SMARTVM_HOST_STORE_COPY_H
#define SMARTVM_HOST_STORE_COPY_H

#include "host/store/digest.h"

#include <stdatomic.h>
#include <stdint.h>

struct store_copy {
    int from;
    int to;                     /* an empty file; -1: only hashed */
    const char *name;           /* of what is read, in messages */
    uint64_t max_bytes;         /* PAYLOAD_TOO_LARGE beyond it */
    _Atomic uint64_t *progress; /* bytes read so far, or NULL */
    const atomic_bool *cancel;  /* CONFLICT once it is set, or NULL */
};

/* Pages of zeros become holes. INSUFFICIENT_STORAGE when the room ends, SYSTEM. */
int store_copy_run(const struct store_copy *copy, char ret_sha256[SHA256_HEX_MAX], uint64_t *ret_bytes, struct error *err);

#endif
