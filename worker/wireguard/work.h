/* Inside worker/: one look at the WireGuard egress, shared by the wireguard*.c files. */
#ifndef SMARTVM_WORKER_WIREGUARD_WORK_H
#define SMARTVM_WORKER_WIREGUARD_WORK_H

#include "core/wireguard_row.h"
#include "host/link/route.h"
#include "host/tunnel/tunnel.h"
#include "host/tunnel/wireguard.h"
#include "worker/context.h"
#include "worker/wireguard/plan.h"

/* What was made on the host, or may have been: on record before it is made, so that a crash leaves nothing that is not known. */
enum { WIREGUARD_RECORDS_MAX = 8 };
struct wireguard_record {
    uint32_t tables[WIREGUARD_RECORDS_MAX];
    size_t table_count;
    char tunnels[WIREGUARD_RECORDS_MAX][INTERFACE_NAME_MAX]; /* managed */
    size_t tunnel_count;
    /* The interface whose parameters were changed, and what they were; "" for none. */
    char tuned[INTERFACE_NAME_MAX];
    bool forwarding, forwarding6;
    int rp_filter;
};

/* Routes that are wanted in the table. */
struct wireguard_routes {
    struct route *items;
    size_t count;
};

/* What is owned is freed by wireguard_work_free(). */
struct wireguard_work {
    struct worker *worker;
    const char *bridge;
    struct network_settings settings; /* that the network was set up with last */
    char alias[LINK_ALIAS_MAX];       /* of a managed tunnel */
    struct wireguard_row row;
    struct wireguard config; /* with its keys; only when row.wanted */
    struct wireguard_record record;
    struct wireguard_memory memory; /* a copy; its pointers are not owned */
    struct wireguard_observed observed;
    struct wireguard_plan plan;
    struct wireguard_routes closed, open;
    struct route_rule rules[2]; /* wanted */
    size_t rule_count;
    enum wireguard_backend backend; /* of the tunnel, if it is there */
    bool has_backend;
    struct wireguard_device wanted, seen;
    struct wireguard_change change; /* from seen to wanted */
    bool claims;                    /* what it works on is taken from other daemons first, or left to them */
    int tunnel_index;               /* as it was seen now; 0: not there */
};

int wireguard_work_init(struct wireguard_work *work, struct worker *worker, struct error *err);
void wireguard_work_free(struct wireguard_work *work);

/*
 * Takes the routing tables and the tunnel (host/link/claim.h): IN_USE when another daemon has what is wanted. A table of before that another one has by now is
 * left to it. wireguard_claim.c
 */
int wireguard_claim(struct wireguard_work *work, struct error *err);
/* Lets go of what is not used any more. */
void wireguard_unclaim(struct wireguard_work *work);
/* Does another daemon use the table, running or not? IN_USE, with its bridge's name. */
int wireguard_claim_check_table(struct worker *worker, uint32_t table, struct error *err);

/* Fills work->observed, and what it was told from. Reads only. */
int wireguard_observe(struct wireguard_work *work, struct error *err);

/* network.wireguard_lookup_s: a peer whose last handshake is older is silent, and names are looked up again so often. */
int64_t wireguard_lookup_ms(const struct wireguard_work *work);

/* Runs one operation of a plan. */
int wireguard_apply(struct wireguard_work *work, enum wireguard_op_type op, struct error *err);

/* wireguard_process.c: the process of a userspace implementation. */
void wireguard_process_reap(struct worker *worker);                            /* one of ours that has ended is collected */
void wireguard_process_started(struct worker *worker, int process, int words); /* takes both over */
void wireguard_process_stopped(struct worker *worker);                         /* by this daemon: there is nothing to tell */
void wireguard_process_adopt(struct worker *worker, const char *interface);    /* one of an earlier daemon */
/* "; wireguard-go ended with exit code 1: <its last words>", or "" when there was none. */
void wireguard_process_why(struct worker *worker, char *ret, size_t size);

/* wireguard_wanted.c: what is wanted, from the row. */
int wireguard_want(struct wireguard_work *work, struct error *err);
struct tunnel_wanted wireguard_tunnel(const struct wireguard_work *work, bool has_our_process);

/* wireguard_record.c */
int wireguard_record_load(struct memory *memory, struct wireguard_record *ret, struct error *err);
/* Adds what is about to be made. */
int wireguard_record_before(struct wireguard_work *work, struct error *err);
/* All is as wanted: what was of before is gone. */
int wireguard_record_after(struct wireguard_work *work, struct error *err);
int wireguard_record_tuned(struct wireguard_work *work, struct error *err);
bool wireguard_record_is_empty(const struct wireguard_record *record);

/* wireguard_routes.c: the table's routes and the rules that lead there. */
int wireguard_routes_observe(struct wireguard_work *work, struct error *err);
int wireguard_routes_add(const struct wireguard_work *work, const struct wireguard_routes *wanted, struct error *err);
int wireguard_rules_add(const struct wireguard_work *work, struct error *err);
int wireguard_rules_remove(const struct wireguard_work *work, struct error *err);
int wireguard_routes_remove(const struct wireguard_work *work, struct error *err);

/* wireguard_tune.c: the kernel's parameters of the tunnel. */
void wireguard_tuning_observe(struct wireguard_work *work);
int wireguard_tune(struct wireguard_work *work, struct error *err);
/* The parameters of the interface that was tuned, as they were before. sys_errno ENOENT when it is gone. */
int wireguard_give_back(const struct wireguard_record *record, struct error *err);
int wireguard_untune(struct wireguard_work *work, struct error *err);

#endif
