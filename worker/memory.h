/*
 * The worker's own memory: what it made and tuned on the host, and what it told last. Small texts in <state_dir>/worker, a directory that only root can
 * enter; nothing here ever comes from the database. Each is written whole or not at all, also when the power fails. Any thread. Error: SYSTEM.
 */
#ifndef SMARTVM_WORKER_MEMORY_H
#define SMARTVM_WORKER_MEMORY_H

#include "core/error.h"

struct memory;

enum memory_item {
    MEMORY_FORWARDED_UPLINKS,  /* interface_names_format() of those whose IPv4 forwarding was turned on */
    MEMORY_FORWARDED6_UPLINKS, /* the same of IPv6 */
    MEMORY_FORWARDED_ENTRIES,  /* the same of those by which clients of published ports come */
    MEMORY_WIREGUARD_MADE,     /* JSON: worker/wireguard/record.c */
    MEMORY_NETWORK,            /* JSON: what was told of the network last, for the times of its conditions */
    MEMORY_WIREGUARD,          /* the same of the tunnel */
    MEMORY_COUNT_
};
const char *memory_item_name(enum memory_item item);

/* Makes the directory where there is none, and reads everything. A text that can't be read counts as "". */
int memory_open(const char *state_dir, struct memory **ret, struct error *err);
void memory_close(struct memory *memory); /* harmless on NULL */

/* A copy; "" when there is none. Owned by the caller; NULL when out of memory. */
char *memory_get(struct memory *memory, enum memory_item item);

/* On disk when it returns 0. Nothing is written when it is so already. */
int memory_set(struct memory *memory, enum memory_item item, const char *text, struct error *err);

#endif
