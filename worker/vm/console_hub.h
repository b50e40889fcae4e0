/*
 * One thread that reads the consoles of all VMs into their bounded logs (host/vmm/console.h), so that a FIFO never fills for long. A console that is
 * flooded is read at most every 10 ms, as much as is there: what does not fit into the FIFO in between is dropped by the VMM, and nothing waits.
 * It also looks for signs of life, and for a kernel's last words (worker/vm/guest_sign.h). All functions: any thread.
 */
#ifndef SMARTVM_WORKER_VM_CONSOLE_HUB_H
#define SMARTVM_WORKER_VM_CONSOLE_HUB_H

#include "worker/context.h"
#include "worker/vm/guest_sign.h"

int console_hub_start(struct worker *worker, struct console_hub **ret, struct error *err);
void console_hub_stop(struct console_hub *hub); /* ends the thread and frees it */

/* Takes what the VM's shim kept, and reads the FIFOs in `dir` from now on (so the shim must have let go of both); replaces what was read for this VM before. The file `guest` there tells what this boot came to already. */
int console_hub_add(struct console_hub *hub, int64_t uid, const char *id, const char *dir, struct error *err);
/* Reads what is left and lets go. */
void console_hub_remove(struct console_hub *hub, int64_t uid);

/* Reads what is there now, so that the logs have it. */
void console_hub_flush(struct console_hub *hub, int64_t uid);

/* What the guest of the boot that is read came to. *ret_words: the words that tell it, borrowed, static; NULL for none. */
enum guest_sign console_hub_sign(struct console_hub *hub, int64_t uid, const char **ret_words);

/* Since when its last words are those of a kernel that does nothing any more (worker/vm/guest_end.h), monotonic; 0 when they are not. */
int64_t console_hub_halted_ms(struct console_hub *hub, int64_t uid);

#endif
