/*
 * What is stored, as the worker asks for it: a function for each message of core/message.h. Threads and errors as in worker/border/border.h. What
 * a caller gets is freed as its header says; *ret is untouched or empty after a failure.
 */
#ifndef SMARTVM_WORKER_BORDER_WANTED_H
#define SMARTVM_WORKER_BORDER_WANTED_H

#include "core/config.h"
#include "worker/border/border.h"

/* Each VM, image and pending task; freed with border_keys_free(). */
int border_keys(struct border *border, struct message_keys *ret, struct error *err);
void border_keys_free(struct message_keys *keys);

/* *ret_found false when there is none. Freed with vm_row_free(). */
int border_vm_get(struct border *border, const char *id, struct vm_row *ret, bool *ret_found, struct error *err);
/* All VMs, or those in *state; freed with vm_rows_free(). */
int border_vm_list(struct border *border, const enum vm_state *state, struct vm_row **ret, size_t *ret_count, struct error *err);
int border_vm_any(struct border *border, enum vm_state state, bool *ret, struct error *err);
int border_vm_report(struct border *border, const struct message_vm_report *report, bool *ret_changed, struct error *err);
int border_vm_give_up_running(struct border *border, int64_t uid, int64_t generation, bool *ret_changed, struct error *err);
int border_vm_want_restart(struct border *border, int64_t uid, const struct vm_restart *restart, bool *ret_changed, struct error *err);
/* Addresses and names of TAPs of this network, for the interfaces of another one: written into *row, which stays as it is on failure. IP_EXHAUSTED. */
int border_vm_readdress(struct border *border, const struct network_settings *settings, struct vm_row *row, struct error *err);
int border_vm_forget(struct border *border, const struct vm_row *row, struct error *err);
int border_vm_restore(struct border *border, const struct message_vm_restore *vm, struct error *err);

/* What can be read of a row that was ROW_DAMAGED: its number (0: there is none), and whether it shall go. */
int border_vm_wish(struct border *border, const char *id, struct message_vm_wish *ret, struct error *err);
/* What is shown of a row that was ROW_DAMAGED; *ret_changed: it was not so before. */
int border_vm_quarantine(struct border *border, const char *id, const char *observed, bool *ret_changed, struct error *err);
int border_image_quarantine(struct border *border, const char *id, const char *observed, bool *ret_changed, struct error *err);

int border_image_get(struct border *border, const char *id, struct image_row *ret, bool *ret_found, struct error *err);
/* `event` NULL: none. */
int border_image_report(struct border *border, const struct image_row *row, const enum event_type *event, struct error *err);
int border_image_needs_file(struct border *border, const char *sha256, const char *except, bool *ret, struct error *err);
int border_image_forget(struct border *border, const char *id, struct error *err);

/* *ret_changed may be NULL. */
int border_fact_set(struct border *border, enum message_fact_name fact, const char *value, bool *ret_changed, struct error *err);
int border_event_add(struct border *border, enum event_type type, const char *kind, const char *id, const char *data, struct error *err);

int border_firewall_load(struct border *border, struct firewall_rows *ret, struct error *err);
int border_firewall_policy_get(struct border *border, int64_t vm_uid, struct firewall_row *ret, bool *ret_found, struct error *err);
int border_firewall_set_get(struct border *border, const char *name, struct firewall_row *ret, bool *ret_found, struct error *err);
int border_firewall_roll_back(struct border *border, int64_t now_ms, size_t *ret_count, struct error *err);
int border_firewall_next_deadline(struct border *border, int64_t *ret_ms, struct error *err);
int border_firewall_observed_get(struct border *border, struct firewall_observed *ret, struct error *err);
int border_firewall_observed_set(struct border *border, const struct firewall_observed *observed, bool *ret_changed, struct error *err);
/* What firewall_roll_back() of db/firewall.h would take back. */
int border_firewall_overdue(struct border *border, int64_t now_ms, struct message_overdue_list *ret, struct error *err);
void border_firewall_overdue_free(struct message_overdue_list *list);

/* The overrides over the configuration; those that are damaged count as not set. */
int border_network_settings(struct border *border, const struct config *config, struct network_settings *ret, struct error *err);
/* The same of overrides that came another way. */
void border_network_settings_of(const struct network_overrides *overrides, const struct config *config, struct network_settings *ret);
int border_addresses_outside(struct border *border, uint32_t first, uint32_t last, struct network_address_row *ret, size_t limit, size_t *ret_count,
                             size_t *ret_total, struct error *err);
int border_interface_list(struct border *border, struct interface_row **ret, size_t *ret_count, struct error *err); /* free() */
int border_address_changes(struct border *border, uint32_t address, bool *ret, struct error *err);
/* *ret_found false: no VM has this TAP. */
int border_tap_owner(struct border *border, const char *tap, char ret[LIMIT_VM_ID_BYTES + 1], bool *ret_found, struct error *err);
int border_port_list(struct border *border, struct port_row **ret, size_t *ret_count, struct error *err); /* free() */
int border_wireguard_get(struct border *border, struct wireguard_row *ret, struct error *err);

int border_task_get(struct border *border, int64_t id, struct task_row *ret, bool *ret_found, struct error *err);
int border_task_report(struct border *border, int64_t id, const char *outcome, bool ended, struct error *err);

#endif
