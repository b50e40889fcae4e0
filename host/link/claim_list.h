/* Inside host/: the claims of this network namespace (host/link/claim.h), one by one, as their names tell. */
#ifndef SMARTVM_HOST_LINK_CLAIM_LIST_H
#define SMARTVM_HOST_LINK_CLAIM_LIST_H

#include "core/error.h"
#include "core/net_addr.h"

enum { CLAIM_VALUE_MAX = 48 };

struct claim_listed {
    char kind[16];
    char value[CLAIM_VALUE_MAX];
    long pid; /* in its own pid namespace */
    char bridge[INTERFACE_NAME_MAX];
};

typedef void claim_found(const struct claim_listed *listed, void *ctx);

/* Error: SYSTEM. */
int claim_list(claim_found *found, void *ctx, struct error *err);

/* "smartvmd <kind> <value> <pid> <bridge>", `len` bytes; false for any other name. */
bool claim_parse(const char *name, size_t len, struct claim_listed *ret);

#endif
