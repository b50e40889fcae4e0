/*
 * What was probed of the host: KVM, VMMs, cgroups, memory; shown at /host. VMMs and cgroups are probed at the start, KVM in a thread of its own. What
 * can change while the daemon runs is looked at again when it is needed: before a start, and when a client asks. That costs a few stat(2); only a file
 * that is another one than before is asked for its version, and KVM is measured again only when its device node has changed.
 */
#ifndef SMARTVM_WORKER_HOST_FACTS_H
#define SMARTVM_WORKER_HOST_FACTS_H

#include "core/error.h"

struct worker;

/* The quick part: VMMs, cgroups, memory; writes the fact "host". Called before VMs are looked at. */
int host_facts_probe(struct worker *worker, struct error *err);
/* The slow part: KVM, about a second where it is unusable. Writes the fact "host" again. */
void host_facts_probe_kvm(struct worker *worker);

/* Looks again. Any thread; an error means that what was found could not be stored. */
int host_facts_refresh(struct worker *worker, struct error *err);

#endif
