/* Inside api/ only: the network as a resource, shared by GET and PATCH. */
#ifndef SMARTVM_API_NETWORK_NETWORK_H
#define SMARTVM_API_NETWORK_NETWORK_H

#include "api/write.h"

extern const struct wait_subject network_subject;

/* Fills *ret (zeroed) with what is wanted, by these overrides, and what the worker observed. UNAVAILABLE before it has looked once. */
int network_look_at(struct api *api, const struct network_overrides *overrides, struct look *ret, struct error *err);

#endif
