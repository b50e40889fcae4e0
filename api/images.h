/* Inside api/ only: what the operations on images share. */
#ifndef SMARTVM_API_IMAGES_H
#define SMARTVM_API_IMAGES_H

#include "api/wait.h"
#include "db/images.h"

extern const struct wait_subject image_subject;

/* Fills *ret (zeroed) from the row, with its body. */
int image_look_at(const struct image_row *row, struct look *ret, struct error *err);

#endif
