/* Inside api/ only: errors as problem+json (RFC 9457). */
#ifndef SMARTVM_API_PROBLEM_H
#define SMARTVM_API_PROBLEM_H

#include "api/api.h"
#include "api/spec.h"

/* Turns the reply, whatever it was, into the problem; `faults` may be NULL. Never fails. */
void problem_reply(struct api_reply *reply, const char *request_id, const struct error *error,
                   const struct spec_faults *faults);

#endif
