/* Inside api/ only: what of the host is there for VMs, what of it is reserved, and who may have more of it. */
#ifndef SMARTVM_API_CAPACITY_H
#define SMARTVM_API_CAPACITY_H

#include "api/call.h"
#include "core/capacity.h"
#include "core/strbuf.h"

/* As the worker has found it; all unknown before it looked for the first time. */
int capacity_of_host(struct api *api, struct capacity_host *ret, struct error *err);

/*
 * May a VM that has `now` reserved have `wanted` instead? In the transaction that stores it. INSUFFICIENT_CAPACITY, with all that lacks, also as faults of the
 * call. Addresses are not looked at: who gets none finds out by himself (IP_EXHAUSTED).
 */
int capacity_admit(struct call *call, const struct capacity_host *host, const struct reservation *now, const struct reservation *wanted, struct error *err);

/* {"memory_mib": {"total", "reserved", "free"}, …} */
int capacity_json(struct api *api, struct strbuf *b, struct error *err);

#endif
