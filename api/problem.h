/* Inside api/ only: errors as problem+json (RFC 9457). */
#ifndef SMARTVM_API_PROBLEM_H
#define SMARTVM_API_PROBLEM_H

#include "api/api.h"
#include "api/spec/spec.h"
#include "core/strbuf.h"

#define PROBLEM_MEDIA_TYPE "application/problem+json"

/* Adds the problem to *b. `faults` may be NULL; so may `resource`, text of JSON: what a write that was waited for left behind. */
void problem_text(struct strbuf *b, const char *request_id, int status, const struct error *error, const struct spec_faults *faults, const char *resource);

/* Turns the reply, whatever it was, into the problem; `faults` may be NULL. Never fails. */
void problem_reply(struct api_reply *reply, const char *request_id, const struct error *error, const struct spec_faults *faults);

#endif
