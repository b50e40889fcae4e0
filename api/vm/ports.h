/* Inside api/ only: published ports of a VM, between JSON and rows. */
#ifndef SMARTVM_API_VM_PORTS_H
#define SMARTVM_API_VM_PORTS_H

#include "api/write.h"
#include "core/port_set.h"
#include "core/strbuf.h"
#include "db/vms.h"

/*
 * What depends on this host's configuration, and not on the list (core/vm_config.h): is an address of a version that guests have, and one that ports may be published
 * at, and are they of the range that may be? Adds to call->faults. An entry without an address gets the configured one.
 */
void vm_ports_check(struct call *call);

/* A port of `now` that is left to the daemon keeps the number that `before` has for it. */
void vm_ports_keep(const struct config *host, struct vm_config *now, const struct vm_config *before);

/* Who listens on ports of the host that the request wants published, and on those from which some are chosen: the worker is asked. */
struct vm_listeners {
    struct {
        bool is_there;
        uint16_t port;
        char message[200];
    } items[LIMIT_PORTS]; /* of each entry of the list, by its position */
    struct port_set busy;
};
int vm_ports_ask(const struct call *call, struct write_question *ret, struct error *err);  /* value NULL: the request wants none */
int vm_ports_answered(const json_t *answer, struct vm_listeners **ret, struct error *err); /* *ret is freed by the caller (free) */

/*
 * Stores the ports of row->config, in the transaction that has the row, and fills in those that are chosen. IN_USE with the field: another VM has one of them, or
 * one of `listeners` (may be NULL) does, unless it was published by `before` (NULL: a new VM) already.
 */
int vm_ports_store(struct call *call, struct vm_row *row, const struct vm_listeners *listeners, const struct vm_config *before, struct error *err);

bool vm_ports_equal(const struct vm_row *a, const struct vm_row *b);

/* Adds `,"ports":[…]`. */
void vm_ports_json(const struct vm_row *row, struct strbuf *b);

#endif
