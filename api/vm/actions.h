/*
 * Inside api/ only: what may be wanted of a VM in which state. Pure functions over a row; nothing is written
 * here.
 */
#ifndef SMARTVM_API_VM_ACTIONS_H
#define SMARTVM_API_VM_ACTIONS_H

#include "db/vms.h"

enum vm_action { VM_ACTION_START, VM_ACTION_STOP, VM_ACTION_KILL, VM_ACTION_PAUSE, VM_ACTION_RESUME, VM_ACTION_REBOOT, VM_ACTION_COUNT_ };

const char *vm_action_name(enum vm_action action);
bool vm_action_allowed(enum vm_action action, enum vm_state state);

/*
 * Changes what is wanted in *row. `stop_timeout_ms` is that of stop and reboot: -1 for the configured one.
 * INVALID_STATE, naming the state, where the action is possible, and what is possible now.
 */
int vm_action_apply(enum vm_action action, struct vm_row *row, int64_t stop_timeout_ms, struct error *err);

/* Wants it in this state, whatever it is in now: what PATCH does. Wants another boot where that takes one. */
void vm_want(struct vm_row *row, enum vm_desired desired);

/* Refuses everything but its deletion to a VM that is being deleted. INVALID_STATE. */
int vm_check_not_deleting(const struct vm_row *row, struct error *err);

#endif
