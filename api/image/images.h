/* Inside api/ only: what the operations on images share. */
#ifndef SMARTVM_API_IMAGE_IMAGES_H
#define SMARTVM_API_IMAGE_IMAGES_H

#include "api/write.h"
#include "db/images.h"

extern const struct wait_subject image_subject;

/* Fills *ret (zeroed) from the row, with its body. */
int image_look_at(const struct image_row *row, struct look *ret, struct error *err);

/* For the plan of a dry run: the image as it is stored in the transaction. */
int image_write_wish(struct write *write, struct plan_wish *ret, struct error *err);

/* The last step of every write to an image: wakes its reconciler. */
void image_write_committed(struct write *write);

#endif
