/* Inside worker/: one look at the network, shared by network.c, network_observe.c and network_apply.c. */
#ifndef SMARTVM_WORKER_NETWORK_WORK_H
#define SMARTVM_WORKER_NETWORK_WORK_H

#include "host/link.h"
#include "host/nft.h"
#include "worker/context.h"
#include "worker/network_plan.h"

/* What is owned is freed by network_work_free(). */
struct network_work {
    struct worker *worker;
    const char *bridge;
    struct network_observed observed;
    struct link_info *links;
    size_t link_count;
    struct nft_guest *guests; /* in the firewall */
    size_t guest_count;
    const char **orphan_taps; /* names in links */
    size_t orphan_tap_count;
    struct nft_guest *orphan_guests;
    size_t orphan_guest_count;
};

void network_work_free(struct network_work *work);

/* Fills work->observed, and the lists that it was told from. */
int network_observe(struct network_work *work, struct error *err);

/* Runs one operation of a plan. */
int network_apply(struct network_work *work, enum network_op_type op, struct error *err);

/* "<mark>:bridge" */
void network_bridge_alias(const struct worker *worker, char *buf, size_t size);

/* What the static part of the firewall is made from. */
struct nft_base network_firewall_base(const struct worker *worker);

#endif
