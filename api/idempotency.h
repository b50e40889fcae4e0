/*
 * Inside api/ only: Idempotency-Key. The answer of a POST is stored in the transaction of its effect, and
 * given again to the same request with the same key. Errors are not stored, so a request that failed can be
 * repeated.
 */
#ifndef SMARTVM_API_IDEMPOTENCY_H
#define SMARTVM_API_IDEMPOTENCY_H

#include "api/call.h"

/* Reads the key of the call, if it has one, and makes the fingerprint of its request. */
int idempotency_read(struct call *call, struct error *err);

/*
 * Turns the reply into the stored answer, if there is one, or into a WAIT for the end of what that answer did not wait for, when this request does.
 * IDEMPOTENCY_KEY_REUSED when it answered another request.
 */
int idempotency_replay(struct api *api, const struct origin *origin, struct api_reply *reply, bool *ret_replayed, struct error *err);

#endif
