/* Inside api/ only: If-Match and If-None-Match of a request (RFC 9110, 13). */
#ifndef SMARTVM_API_PRECONDITIONS_H
#define SMARTVM_API_PRECONDITIONS_H

#include "api/api.h"

/* What a request says of the state that it is about; values of headers, lines of one name joined. Owned; NULL where there is none. */
struct preconditions {
    char *if_match;
    char *if_none_match;
};
int preconditions_read(const struct api_request *request, struct preconditions *ret, struct error *err);
void preconditions_free(struct preconditions *preconditions); /* harmless on zeroes */

/* PRECONDITION_FAILED when they do not hold for this version; `version` NULL: there is no such resource. */
int preconditions_check(const struct preconditions *preconditions, const char *version, struct error *err);

#endif
