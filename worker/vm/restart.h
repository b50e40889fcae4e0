/*
 * Is a VM that ended started again, and when? Pure.
 *
 * A guest's reboot is a reboot, whatever the policy. Restarts in a row come at growing intervals: 1 s, doubled up to RESTART_DELAY_MAX_MS; the first
 * reboot at once. A VM that ran for RESTART_RESET_MS begins anew.
 */
#ifndef SMARTVM_WORKER_VM_RESTART_H
#define SMARTVM_WORKER_VM_RESTART_H

#include "core/vm_row.h"
#include "worker/vm/exit_reason.h"

enum { RESTART_DELAY_MS = 1000, RESTART_DELAY_MAX_MS = 60000, RESTART_RESET_MS = 300000 };

bool restart_is_wanted(enum vm_restart_policy policy, enum exit_reason reason);

/* How many restarts in a row it will be then: `before` so far, and it ran for lasted_ms since the last one. */
int64_t restart_streak(int64_t before, int64_t lasted_ms);

/* Before the restart that makes them so many, 1 at least. */
int64_t restart_delay_ms(int64_t streak, bool is_reboot);

#endif
