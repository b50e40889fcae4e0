/*
 * Questions of the API process: what is measured now, or a descriptor. A fixed table; answering never changes anything on the host.
 *   {"question":"read_manifest","path":…}   → {"answer": {"manifest": {…}}}
 *   {"question":"console_read","vm":id}     → {"answer": {"begin":n,"end":n}} and a descriptor of the log; none for a VM without a console
 *   {"question":"console_input","vm":id}    → {"answer": {}} and a descriptor to write to
 *   {"question":"vm_drops","vm":id}         → {"answer": {"network_interfaces":[{"iface_id","tap","dropped":{reason: packets}}]}}
 *   {"question":"drift"}                    → {"answer": {"items": […], "total": n}}, see worker/drift.h
 *   {"question":"firewall_counters","vm":id or ""} → {"answer": {"egress": …, "ingress": …}}, see worker/firewall/firewall.h
 *   {"question":"network_check","subnet":…} → {"answer": {}}, or IN_USE: another daemon of this host has it, see host/link/claim.h
 *   {"question":"port_listeners","ports":…} → {"answer": {"listeners": […], "busy": […]}}, see worker/network/listeners.h
 *   {"question":"plan"} and a descriptor     → {"answer": {"operations": […], "notes": […]}}, see worker/plan.h
 * An error is {"error":{"code":…,"message":…}}. Called from the worker's main loop, and for the slow ones (their row in the table says so) from threads
 * of their own, worker/slow_question.h.
 */
#ifndef SMARTVM_WORKER_QUESTION_H
#define SMARTVM_WORKER_QUESTION_H

#include "worker/context.h"

/* Never fails. `handed_over` came with the question, or is -1; it stays the caller's. *ret_text is owned by the caller (NULL when out of memory), *ret_fd too, -1 for none. */
void question_answer(struct worker *worker, const char *question, int handed_over, char **ret_text, int *ret_fd);

/* Has it to be handed to slow_questions_add()? */
bool question_is_slow(const char *question);

#endif
