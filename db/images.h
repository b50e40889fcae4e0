/* Images: a manifest that is wanted in the store, and how far its import is. */
#ifndef SMARTVM_DB_IMAGES_H
#define SMARTVM_DB_IMAGES_H

#include "core/image_row.h"
#include "db/db.h"

int images_get(struct db *db, const char *id, struct image_row *ret, bool *ret_found, struct error *err);
int images_list(struct db *db, const char *after, size_t limit, struct image_row **ret, size_t *ret_count, struct error *err);
void images_list_free(struct image_row *rows, size_t count);
int images_each_id(struct db *db, void (*found)(const char *id, void *ctx), void *ctx, struct error *err);
int images_count(struct db *db, int64_t *ret, struct error *err);

/* Inserts id and manifest, state importing. ALREADY_EXISTS. A failed import of that id is replaced. */
int images_insert(struct db *db, struct image_row *row, struct error *err);
/* state := deleting. IN_USE, naming a VM, when one uses it. Inside the caller's transaction. */
int images_mark_deleting(struct db *db, struct image_row *row, struct error *err);
/* State, observed and digests; an image that is being deleted stays so. */
int images_set_observed(struct db *db, const struct image_row *row, struct error *err);
int images_remove(struct db *db, const char *id, struct error *err);
/* Does any image (other than `except_id`, may be NULL) need this file of the store? */
int images_need_file(struct db *db, const char *sha256, const char *except_id, bool *ret, struct error *err);

/* As vms_quarantine(), with the event "image.quarantined". */
int images_quarantine(struct db *db, const char *id, const char *observed, bool *ret_changed, struct error *err);

#endif
