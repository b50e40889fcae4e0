/*
 * What wakes the reconcilers of the network and of TAPs: the kernel's news of links, addresses, routes, rules,
 * settings and the firewall; and, as the floor beneath them, a slow sweep over everything. The kernel does not tell
 * of every setting under /proc/sys (docs/drift.md has the list): those are found by the sweep, and by whatever
 * else makes the daemon look. Called by the main loop only.
 */
#ifndef SMARTVM_WORKER_NEWS_H
#define SMARTVM_WORKER_NEWS_H

#include "worker/context.h"

struct news {
    int links, nft, sweep; /* owned, in worker->epoll; -1 before */
};
#define NEWS_INIT ((struct news){-1, -1, -1})

int news_open(struct worker *worker, struct news *ret, struct error *err);
void news_close(struct news *news);

/* The key "tap/<name>": queues the VM whose TAP it is. An error means that it should be tried again later. */
int news_of_tap(struct worker *worker, const char *name, struct error *err);

/* What to do when their descriptors are readable. */
void news_on_links(struct worker *worker, const struct news *news);
void news_on_nft(struct worker *worker, const struct news *news);
void news_on_sweep(struct worker *worker, const struct news *news);

#endif
