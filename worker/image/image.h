/* The reconciler of images: imports what is wanted into the store, removes what is not needed any more. */
#ifndef SMARTVM_WORKER_IMAGE_IMAGE_H
#define SMARTVM_WORKER_IMAGE_IMAGE_H

#include "worker/context.h"
#include "worker/image/plan.h"

/* From the one thread of the image queue. An error means that it should be tried again later. */
int image_reconcile(struct worker *worker, const char *id, struct error *err);

/* What would be done with this row as what is wanted. Changes nothing; any thread. */
int image_look(struct worker *worker, const struct image_row *row, struct image_plan *ret, struct error *err);

/* Removes files of the store that no image needs (left by a crash). At start, before the image thread runs. */
int image_sweep(struct worker *worker, struct error *err);

#endif
