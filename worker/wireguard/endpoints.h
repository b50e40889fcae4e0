/*
 * Where the peers' endpoints are: names are looked up when a client has changed the configuration, after a start, and again when peers are silent,
 * so that a tunnel follows a name that leads elsewhere. All at once, by getaddrinfo_a(3), and waited for no longer than WIREGUARD_LOOKUP_MS: what
 * name servers answer later is taken at the next look, and nothing else waits for them.
 */
#ifndef SMARTVM_WORKER_WIREGUARD_ENDPOINTS_H
#define SMARTVM_WORKER_WIREGUARD_ENDPOINTS_H

#include "worker/wireguard/work.h"

enum { WIREGUARD_ENDPOINTS_TEXT_MAX = 400, WIREGUARD_LOOKUP_MS = 2000 };

/* Looks up what has to be, if anything, and remembers it in worker->wireguard.memory and work->memory. For the reconciler alone. OUT_OF_MEMORY. */
int wireguard_endpoints_resolve(struct wireguard_work *work, bool *ret_done, struct error *err);

/* Names that lead nowhere, in words; "" for none. */
void wireguard_endpoints_unresolved(const struct wireguard_work *work, char ret[WIREGUARD_ENDPOINTS_TEXT_MAX]);

/* When to look again, in ms from now; -1: no endpoint is a name. */
int64_t wireguard_endpoints_next_ms(const struct wireguard_work *work);

#endif
