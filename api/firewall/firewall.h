/* Inside api/ only: what the operations on firewall policies and address sets share. */
#ifndef SMARTVM_API_FIREWALL_FIREWALL_H
#define SMARTVM_API_FIREWALL_FIREWALL_H

#include "api/write.h"
#include "core/policy.h"
#include "db/firewall.h"

/* The stored policy, or the default one. *ret is freed by the caller. *ret_row (zeroed) may be NULL. */
int firewall_read_policy(struct api *api, int64_t vm_uid, struct policy *ret, struct firewall_row *ret_row, bool *ret_found, struct error *err);

/* All address sets; freed by the caller with address_sets_free(). */
int firewall_read_sets(struct api *api, struct address_sets *ret, struct error *err);

/* *ret (zeroed) from what is stored, all of one moment; gone when the VM is. `counters` is text of JSON, or NULL for none. */
int firewall_look_at(struct api *api, int64_t vm_uid, const char *counters, struct look *ret, struct error *err);

/* Waits for policies: `identity` is FIREWALL_HOST, or the uid of the VM. */
extern const struct wait_subject firewall_host_subject, firewall_vm_subject;

/* The last step of every write to the firewall: wakes its reconciler. */
void firewall_write_committed(struct write *write);

/* The call's VM, or the host-wide policy when its path names none. NOT_FOUND. */
int firewall_find_scope(struct call *call, int64_t *ret_vm_uid, struct error *err);

/* Adds what is wrong with a policy to the call's faults, below `at` ("" for the body itself). */
void firewall_check_policy(struct call *call, const json_t *policy, const char *at);

/* In the transaction: are all sets that the policy names there? INVALID_FIREWALL_CONFIG. */
int firewall_check_sets(struct api *api, const struct policy *policy, struct error *err);

/* Stores a checked policy for a VM that is being made, in its transaction. */
int firewall_store_new(struct api *api, int64_t vm_uid, const json_t *policy, struct error *err);

/* 0 without `confirm_within`; else when the time is over, wall clock. */
int64_t firewall_confirm_until_ms(const struct call *call);

/* Is this generation in force, or did the attempt at it fail? */
void firewall_settle(struct look *look, const struct firewall_observed *observed, int64_t generation);

/* The generations, and {"type": "applied", …} of a row. */
void firewall_add_conditions(struct strbuf *b, const struct firewall_observed *observed, const struct firewall_row *row);

/* Adds `,"warnings":[…]`: rules of the policy that allow what stays closed all the same. */
int firewall_add_warnings(struct api *api, struct strbuf *b, const struct policy *policy, struct error *err);

/* "first-last", as the worker publishes what is closed. */
struct ip_range;
bool firewall_parse_range(const char *text, struct ip_range *ret);

static inline void cleanup_policy(struct policy *policy)
{
    policy_free(policy);
}
#define AUTO_POLICY __attribute__((cleanup(cleanup_policy))) struct policy

static inline void cleanup_address_sets(struct address_sets *sets)
{
    address_sets_free(sets);
}
#define AUTO_ADDRESS_SETS __attribute__((cleanup(cleanup_address_sets))) struct address_sets

#endif
