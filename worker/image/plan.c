#include "worker/image/plan.h"

static const char *const part_names[IMAGE_PART_COUNT_] = {[IMAGE_KERNEL] = "kernel", [IMAGE_ROOTFS] = "rootfs", [IMAGE_INITRD] = "initrd"};

static const struct {
    const char *name;
    const char *description;
} op_table[IMAGE_OP_COUNT_] = {
    [IMAGE_OP_IMPORT] = {"import", "check the file and copy it into the store"},
    [IMAGE_OP_REMOVE] = {"remove", "remove the file, which no other image has"},
    [IMAGE_OP_FORGET] = {"forget", "forget the image"},
};

const char *image_part_name(enum image_part part)
{
    return part_names[part];
}

const char *image_part_digest(const struct image_row *row, enum image_part part)
{
    switch (part) {
    case IMAGE_KERNEL:
        return row->kernel_sha256;
    case IMAGE_ROOTFS:
        return row->rootfs_sha256;
    case IMAGE_INITRD:
        return row->initrd_sha256;
    case IMAGE_PART_COUNT_:
        break;
    }
    return NULL;
}

const char *image_op_name(enum image_op_type type)
{
    return op_table[type].name;
}

const char *image_op_description(enum image_op_type type)
{
    return op_table[type].description;
}

static void add(struct image_plan *plan, enum image_op_type type, enum image_part part)
{
    plan->ops[plan->count++] = (struct image_op){type, part};
}

void image_plan_make(enum image_state state, const struct image_row *row, const json_t *manifest, const bool needed[IMAGE_PART_COUNT_], struct image_plan *ret)
{
    ret->count = 0;
    for (int i = 0; i < IMAGE_PART_COUNT_; i++) {
        const enum image_part part = (enum image_part)i;
        if (state == IMAGE_IMPORTING && json_object_get(manifest, part_names[part]) != NULL) {
            add(ret, IMAGE_OP_IMPORT, part);
        } else if (state == IMAGE_DELETING && image_part_digest(row, part) != NULL && !needed[part]) {
            add(ret, IMAGE_OP_REMOVE, part);
        }
    }
    if (state == IMAGE_DELETING) {
        add(ret, IMAGE_OP_FORGET, IMAGE_KERNEL);
    }
}
