/*
 * The reconciler of the WireGuard egress (the key "wireguard" of the queue): makes the tunnel, its routing table and the rules that lead guests
 * there as db/wireguard.h wants them, keeps them so, and publishes the fact "wireguard":
 *   {"observed_generation", "backend": "kernel" or "userspace" or null, "conditions": […]}
 * It works only while the network is set up; by which links guests may leave is the network's (worker/network/egress.c), and a change is not
 * told as observed before the network has followed it.
 */
#ifndef SMARTVM_WORKER_WIREGUARD_WIREGUARD_H
#define SMARTVM_WORKER_WIREGUARD_WIREGUARD_H

#include "core/wireguard_row.h"
#include "worker/context.h"
#include "worker/wireguard/plan.h"

#include <jansson.h>

/* One call at a time. An error means that it should be tried again later. */
int wireguard_reconcile(struct worker *worker, struct error *err);

/* Frees what is remembered; the tunnel goes on. When no thread works any more. */
void wireguard_forget(struct worker *worker);

/*
 * Each operation that would be done now, or with `wish` as what is wanted (NULL: what is stored, of which nothing may ever have been). Changes nothing.
 * Any thread.
 */
int wireguard_look(struct worker *worker, const struct wireguard_row *wish, void (*each)(const struct wireguard_op *op, int64_t waits_ms, void *ctx), void *ctx,
                   struct error *err);

/*
 * The answer to {"question":"wireguard_status"}: what the device says, {"listen_port", "peers": {<public key>: {"endpoint", "last_handshake_ms",
 * "received_bytes", "sent_bytes"}}}; {} while there is none. NULL on failure. Slow: a process is asked.
 */
json_t *wireguard_status(struct worker *worker, const json_t *question, struct error *err);

/*
 * The answer to {"question":"wireguard_check", "wireguard": <text of {"route_table", "interface_name", "managed"}>}: {}, or why that can't be had on this host:
 * routes of others in the table, a link of others with that name.
 */
json_t *wireguard_check(struct worker *worker, const json_t *question, struct error *err);

#endif
