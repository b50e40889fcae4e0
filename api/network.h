/* Inside api/ only: the network as a resource, shared by GET and PATCH. */
#ifndef SMARTVM_API_NETWORK_H
#define SMARTVM_API_NETWORK_H

#include "api/wait.h"

extern const struct wait_subject network_subject;

/* Fills *ret (zeroed) with what is wanted and what the worker observed. UNAVAILABLE before it has looked once. */
int network_look_at(struct api *api, struct look *ret, struct error *err);

#endif
