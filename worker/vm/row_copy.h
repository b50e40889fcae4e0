/*
 * The file `row` of a VM's runtime directory: the VM and its image as they were stored when it was started. A VM that runs is put back by it when the database
 * lost its row; only root can write there.
 */
#ifndef SMARTVM_WORKER_VM_ROW_COPY_H
#define SMARTVM_WORKER_VM_ROW_COPY_H

#include "core/image_row.h"
#include "core/message.h"
#include "core/vm_row.h"
#include "worker/context.h"

/* Whole or not at all. */
int vm_row_copy_write(const char *dir, const struct vm_row *row, const struct image_row *image, struct error *err);

/* What was kept of the VM in <run_dir>/vm/<id>; *ret is empty when there is nothing that can be read. Its row's `config` is read. */
void vm_row_copy_read(struct worker *worker, const char *id, struct message_vm_restore *ret);
void vm_row_copy_free(struct message_vm_restore *copy);

/*
 * Puts back each VM that has a runtime directory with such a file, and no row of its id, unless the database knows that it was deleted; with `force` also
 * then (the database had to be begun anew). What can't be put back is left over, and told in the log.
 */
int vm_rows_restore(struct worker *worker, bool force, struct error *err);

#endif
