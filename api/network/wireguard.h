/* Inside api/ only: the WireGuard egress as a resource, shared by GET, PUT and DELETE. */
#ifndef SMARTVM_API_NETWORK_WIREGUARD_H
#define SMARTVM_API_NETWORK_WIREGUARD_H

#include "api/write.h"
#include "db/wireguard.h"

extern const struct wait_subject wireguard_subject;

/*
 * Fills *ret (zeroed) with what is wanted and what the worker observed; `status` (may be NULL) is what its device tells (worker/wireguard/wireguard.h).
 * `gone` when there is none, or it was deleted and nothing of it is left on the host.
 */
int wireguard_look_at(struct api *api, const json_t *status, struct look *ret, struct error *err);

/* Steps of both writes. */
int wireguard_write_find(struct write *write, struct error *err);
int wireguard_write_look(struct write *write, struct error *err);
int wireguard_write_wish(struct write *write, struct plan_wish *ret, struct error *err);
void wireguard_write_committed(struct write *write);

#endif
