/* Who listens on ports of the host that are to be published: a question of the API process. Any thread. */
#ifndef SMARTVM_WORKER_NETWORK_LISTENERS_H
#define SMARTVM_WORKER_NETWORK_LISTENERS_H

#include "worker/context.h"

#include <jansson.h>

/*
 * question: {"ports": text of the list `ports` of a VM (openapi.yaml)}; the answer:
 *   {"listeners": [{"index": of the entry, "port": 22, "message": "sshd (pid 812) listens on the host's tcp port 22 at 0.0.0.0"}, …],   one of each entry at most
 *    "busy": [{"protocol": "tcp", "port": 30000}, …]}   those from which ports that are left to the daemon (host_port 0) are chosen, as many as fit
 * A new reference.
 */
json_t *network_listeners(struct worker *worker, const json_t *question, struct error *err);

#endif
