/* VMs: what is wanted (written by the API process) and what was observed (written by the worker), one row each. */
#ifndef SMARTVM_DB_VMS_H
#define SMARTVM_DB_VMS_H

#include "core/image_row.h"
#include "core/vm_row.h"
#include "db/db.h"

/* *ret_found false when there is none; *ret must be zeroed before, and freed with vm_row_free(). */
int vms_get(struct db *db, const char *id, struct vm_row *ret, bool *ret_found, struct error *err);

/* At most `limit` rows with an id greater than `after` ("" = from the start), by id, in `state` if not NULL. */
int vms_list(struct db *db, const char *after, const enum vm_state *state, size_t limit, struct vm_row **ret, size_t *ret_count, struct error *err);

/* What tells one version of a VM from another. `updated_ms`: a revision may come again when the database was begun anew. */
struct vm_version {
    char id[LIMIT_VM_ID_BYTES + 1];
    int64_t uid, revision, updated_ms;
    enum vm_state state;
    bool deleting;
};

/* *ret_found false when there is none. */
int vms_version(struct db *db, const char *id, struct vm_version *ret, bool *ret_found, struct error *err);

/* As vms_list(), into `ret`, which has `room`. */
int vms_versions(struct db *db, const char *after, const enum vm_state *state, struct vm_version *ret, size_t room, size_t *ret_count, struct error *err);

/* Calls `found` with each id, by id. */
int vms_each_id(struct db *db, void (*found)(const char *id, void *ctx), void *ctx, struct error *err);

/* Is this very VM there, and not another one that has its id by now? */
int vms_created(struct db *db, int64_t uid, int64_t *ret_ms, bool *ret_found, struct error *err);

int vms_count(struct db *db, int64_t *ret, struct error *err);

/*
 * Inserts the wanted part of *row, its `config` and its interfaces, and takes their leases, inside the caller's transaction; *row's uid, revision, times and
 * `config_text` are filled in. ALREADY_EXISTS for a known id. A uid that is not 0 is taken over. Its ports: db/ports.h.
 */
int vms_insert(struct db *db, struct vm_row *row, struct error *err);

/*
 * Stores the address and the TAP's name of the interface `index` as they are in *row, of which `old_address` is stored: the old lease is freed, the new one
 * taken. With a revision one higher, inside the caller's transaction.
 */
int vms_readdress(struct db *db, struct vm_row *row, size_t index, uint32_t old_address, struct error *err);

/* Writes `config` alone, in the transaction that inserted the row or changes it; `config_text` is made anew. */
int vms_write_config(struct db *db, struct vm_row *row, struct error *err);

/*
 * Writes the wanted part back (`config` and desired … deleting; not the image and the interfaces), with generation and revision one higher. The document of a
 * row that is_damaged stays as it is.
 */
int vms_update_wanted(struct db *db, struct vm_row *row, struct error *err);

/* What the worker found. Writes only when something differs from the row as it is stored; *ret_changed tells. */
struct vm_observation {
    enum vm_state state;
    int64_t observed_generation;
    const char *observed;
    int64_t pid, start_time;
    const char *boot_id;
    int64_t boot_done;
    const char *boot_config;
};
int vms_set_observed(struct db *db, int64_t uid, const struct vm_observation *observation, bool *ret_changed, struct error *err);

/*
 * A VM that ended by itself is not started again: wanted becomes stopped, if nobody changed what is wanted since `generation`.
 * *ret_changed tells.
 */
int vms_give_up_running(struct db *db, int64_t uid, int64_t generation, bool *ret_changed, struct error *err);

/*
 * A VM that ended is to be started again: boot_wanted becomes `boot`, if it is one less and the VM still wanted. *ret_changed tells. Who changes what is
 * wanted at the same time loses nothing, since boots are only counted up.
 */
int vms_want_restart(struct db *db, int64_t uid, const struct vm_restart *restart, bool *ret_changed, struct error *err);

/* Removes the row and its interfaces, and frees its leases, in one transaction of its own with the event. */
int vms_remove(struct db *db, const struct vm_row *row, struct error *err);

/*
 * Puts a row back: its id, where one of its uid has another id; else all of it, if there never was a VM of that uid as far as the database knows, or with
 * `force`. In one transaction of its own with the event "vm.restored"; published ports that others have by now
 * are left out. NOT_FOUND: it was deleted. `image` (may be NULL) is inserted when there is none of its id. ALREADY_EXISTS for an id, a uid or an address that is taken;
 * IMAGE_NOT_FOUND.
 */
int vms_restore(struct db *db, const struct vm_row *row, const struct image_row *image, bool force, struct error *err);

/*
 * A row that can't be what it should be: only what is shown of it is written, with the event "vm.quarantined" when it was not so before. In one
 * transaction of its own.
 */
int vms_quarantine(struct db *db, const char *id, const char *observed, bool *ret_changed, struct error *err);

/* Of a row that may be damaged: *ret_uid 0 when there is none. */
int vms_wish(struct db *db, const char *id, int64_t *ret_uid, bool *ret_deleting, struct error *err);

#endif
