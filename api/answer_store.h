/* Inside api/ only: answers that are kept under their Idempotency-Key. */
#ifndef SMARTVM_API_ANSWER_STORE_H
#define SMARTVM_API_ANSWER_STORE_H

#include "api/call.h"
#include "db/idempotency.h"

struct answer {
    int status;
    const char *location, *etag; /* or NULL */
    const char *body;
    struct idempotency_pending pending; /* borrowed; zeroed when nothing is waited for any more */
};

/* Stores the answer, or replaces that of the same key; does nothing without a key. */
int answer_store(struct api *api, const struct origin *origin, const struct answer *answer, struct error *err);

#endif
