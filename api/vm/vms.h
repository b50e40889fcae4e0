/* Inside api/ only: what the operations on VMs share. */
#ifndef SMARTVM_API_VM_VMS_H
#define SMARTVM_API_VM_VMS_H

#include "api/capacity.h"
#include "api/write.h"
#include "db/vms.h"

extern const struct wait_subject vm_subject;

/* NOT_FOUND when there is none. */
int vm_find(struct api *api, const char *id, struct vm_row *ret, struct error *err);

/* Fills *ret (zeroed) from the row, with its body. `settled` for a VM that nobody is working on any more. */
void vm_look_at(struct api *api, const struct vm_row *row, struct look *ret);
bool vm_is_settled(const struct vm_row *row);

/* The steps of every write to the VM of the call, and their state. What is wanted of it changes `change` alone, which ends with vm_write_changed(). */
struct vm_write {
    struct vm_row old; /* as it was found */
    struct vm_row row; /* as it is wanted */
    bool is_done;      /* by `change`: nothing is left for the worker to do */
    bool is_resized;   /* by `change`: `size` is what it is to have reserved from now on */
    struct reservation size;
    struct vm_listeners *listeners; /* of ports that the request names: api/vm/ports.h */
};
int vm_write_ask(struct write *write, struct write_question *ret, struct error *err);
int vm_write_answered(struct write *write, const json_t *answer, struct error *err);
int vm_write_find(struct write *write, struct error *err);
void vm_write_changed(struct write *write);
int vm_write_store(struct write *write, struct error *err);
int vm_write_look(struct write *write, struct error *err);
int vm_write_wish(struct write *write, struct plan_wish *ret, struct error *err);
void vm_write_committed(struct write *write);
void vm_write_free(void *state);
#define VM_WRITE_STEPS(of_kind, by_change) \
    { \
        .subject = &vm_subject, .kind = (of_kind), .state_size = sizeof(struct vm_write), .free_state = vm_write_free, .ask = vm_write_ask, \
        .answered = vm_write_answered, .find = vm_write_find, .change = (by_change), .store = vm_write_store, .look = vm_write_look, .wish = vm_write_wish, \
        .committed = vm_write_committed \
    }

/* For the plan of a dry run: the VM as it is stored in the transaction. */
int vm_wish(struct api *api, const char *id, struct plan_wish *ret, struct error *err);

/* INSUFFICIENT_MEMORY when the host has less than this, as far as that is known. */
int vm_check_memory(const struct capacity_host *host, unsigned mem_size_mib, struct error *err);

#endif
