/*
 * One thread that reads the consoles of all VMs into their bounded logs (host/console.h), so that a FIFO never fills for long. A console that is
 * flooded is read at most every 10 ms, as much as is there: what does not fit into the FIFO in between is dropped by the VMM, and nothing waits.
 * It also looks for a kernel's last words. All functions: any thread.
 */
#ifndef SMARTVM_WORKER_CONSOLE_HUB_H
#define SMARTVM_WORKER_CONSOLE_HUB_H

#include "worker/context.h"

int console_hub_start(struct worker *worker, struct console_hub **ret, struct error *err);
void console_hub_stop(struct console_hub *hub); /* ends the thread and frees it */

/* Reads the FIFOs in `dir` from now on; replaces what was read for this VM before. */
int console_hub_add(struct console_hub *hub, int64_t uid, const char *id, const char *dir, struct error *err);
/* Reads what is left and lets go. */
void console_hub_remove(struct console_hub *hub, int64_t uid);

/* Reads what is there now, so that the logs have it. */
void console_hub_flush(struct console_hub *hub, int64_t uid);

/* Has the guest's kernel said that it can't go on since it was added? *ret_words borrowed, static. */
bool console_hub_panicked(struct console_hub *hub, int64_t uid, const char **ret_words);

#endif
