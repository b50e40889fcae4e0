/* Inside worker/ only: what all reconcilers share. Made by worker.c before the threads start, immutable but where it says so. */
#ifndef SMARTVM_WORKER_CONTEXT_H
#define SMARTVM_WORKER_CONTEXT_H

#include "core/boot_id.h"
#include "core/network_settings.h"
#include "core/seal.h"
#include "host/link/claim.h"
#include "host/process/process.h"
#include "worker/host_found.h"
#include "worker/network/memory.h"
#include "worker/queue.h"
#include "worker/wireguard/memory.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

struct runtimes;
struct worker_setup;
struct console_hub;
struct border;
struct memory;
struct slow_questions;
struct telling;
struct uids;

/* Before the network was looked at, no VM starts; while it fails, none that has an interface. */
enum network_state { NETWORK_UNKNOWN, NETWORK_READY, NETWORK_FAILED };

struct worker {
    const struct config *config;
    struct claims *claims; /* of this daemon, in its network namespace */
    struct border *border; /* to the keeper: worker/border/wanted.h */
    struct memory *memory; /* of its own: worker/memory.h */
    char mark[CONFIG_MARK_MAX];
    char boot_id[BOOT_ID_MAX];
    char stage_root[300];      /* <stage_dir>/<mark>: a directory per VM below it */
    char store_root[300];      /* <state_dir>/images */
    struct queue *queue;       /* VMs and the network */
    struct queue *image_queue; /* imports, apart so that a large file holds up nothing else */
    struct runtimes *runtimes;
    struct uids *uids;    /* that VMMs run under: worker/vm/uids.h */
    char jail_place[300]; /* <run_dir>/jail: empty, where each VMM's jail is attached in its own mount namespace */
    struct console_hub *consoles;
    struct slow_questions *slow_questions;
    struct telling *telling; /* events that wait to be stored */
    struct host_facts facts; /* has its own lock */
    const struct worker_setup *setup;
    int64_t start_ms; /* monotonic */
    int64_t start_wall_ms;
    int epoll; /* of the main loop: pidfds are added by any thread */
    int api_socket;
    atomic_bool api_behind; /* a notification could not be sent: tell the API to look at everything */
    _Atomic enum network_state network_state;
    atomic_bool database_anew; /* it had to be begun anew: VMs that run may have lost their rows */
    atomic_bool bridge_remade; /* TAPs may have lost it: every VM is to be looked at */
    struct network_memory_box network;
    struct wireguard_memory_box wireguard;
    atomic_bool wireguard_active;     /* there is, or was, a tunnel: what the kernel tells of links and routes may be about it */
    uint8_t seal_key[SEAL_KEY_BYTES]; /* private */
    pthread_mutex_t guests_lock;      /* of the firewall's elements of VMs, see network/guests.c */
    atomic_bool contested;            /* somebody undoes repairs of the network: it is looked at less often */
    atomic_int contested_vms;         /* the same, of TAPs of so many VMs */
    atomic_uint repair_epoch;         /* goes up when somebody asks for repair: back-offs are forgotten */
    atomic_bool settled;              /* everything was looked at once since the start */
    sem_t settled_once;               /* posted then */
    atomic_bool stop_vms;             /* the daemon ends, and every VM with it */
};

/* Tags in the upper byte of epoll data; the rest is a VM's uid for EPOLL_TAG_VMM. */
enum epoll_tag {
    EPOLL_TAG_VMM = 1,
    EPOLL_TAG_API_SOCKET,
    EPOLL_TAG_SIGNAL,
    EPOLL_TAG_API_PROCESS,
    EPOLL_TAG_KEEPER_PROCESS,
    EPOLL_TAG_KEEPER_SOCKET, /* only until the keeper is ready */
    EPOLL_TAG_KEEPER_BROKEN, /* an answer was late or wrong */
    EPOLL_TAG_LINKS,
    EPOLL_TAG_NFT,
    EPOLL_TAG_SWEEP
};
#define EPOLL_DATA(tag, value) ((uint64_t)(tag) << 56 | (uint64_t)(value))

/* The settings that the network was set up with last; before that, those that are wanted. Any thread. */
struct network_settings worker_network(struct worker *worker);

/* The generation of db/wireguard.h that the network lets guests leave by. Any thread. */
int64_t worker_egress_generation(struct worker *worker);

/* Tells the API process that something of this key changed, and whoever follows the events. Any thread. */
void worker_notify(struct worker *worker, const char *key);

#endif
