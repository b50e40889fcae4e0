/* The planner of images: what an import, or a deletion, consists of. Pure. */
#ifndef SMARTVM_WORKER_IMAGE_PLAN_H
#define SMARTVM_WORKER_IMAGE_PLAN_H

#include "core/image_row.h"

#include <jansson.h>

enum image_part { IMAGE_KERNEL, IMAGE_ROOTFS, IMAGE_INITRD, IMAGE_PART_COUNT_ };
const char *image_part_name(enum image_part part);                                /* "kernel": in manifests, too */
const char *image_part_digest(const struct image_row *row, enum image_part part); /* its name in the store; NULL: none */

enum image_op_type {
    IMAGE_OP_IMPORT, /* a part: looked at, checked, copied into the store */
    IMAGE_OP_REMOVE, /* a file of the store that no other image has */
    IMAGE_OP_FORGET, /* the row */
    IMAGE_OP_COUNT_
};

struct image_op {
    enum image_op_type type;
    enum image_part part;
};

enum { IMAGE_PLAN_OPS_MAX = IMAGE_PART_COUNT_ + 1 };

struct image_plan {
    struct image_op ops[IMAGE_PLAN_OPS_MAX];
    size_t count;
};

/* `manifest`: that of the row. `needed`: of each part, whether another image has its file, too. */
void image_plan_make(enum image_state state, const struct image_row *row, const json_t *manifest, const bool needed[IMAGE_PART_COUNT_], struct image_plan *ret);

const char *image_op_name(enum image_op_type type);        /* "import" */
const char *image_op_description(enum image_op_type type); /* "check the file and copy it into the store" */

#endif
