/* An image as it is stored: a manifest that is wanted in the store, and how far its import is. */
#ifndef SMARTVM_CORE_IMAGE_ROW_H
#define SMARTVM_CORE_IMAGE_ROW_H

#include "core/limits.h"
#include "core/record.h"

enum image_state { IMAGE_IMPORTING, IMAGE_READY, IMAGE_FAILED, IMAGE_DELETING, IMAGE_STATE_COUNT_ };
const char *image_state_name(enum image_state state);
bool image_state_parse(const char *name, enum image_state *ret); /* false also for NULL */

struct image_row {
    char *id;
    char *manifest; /* JSON, snake_case, checked */
    enum image_state state;
    char *observed;                                      /* JSON: {"progress", "error", "kernel": {"sha256", "source_sha256", "size_bytes"}, …} */
    char *kernel_sha256, *rootfs_sha256, *initrd_sha256; /* names in the store once ready, else NULL */
    char request[REQUEST_TEXT_MAX];                      /* that the last change came with */
    int64_t revision;
    int64_t created_ms, updated_ms;
};
void image_row_free(struct image_row *row);
#define AUTO_IMAGE_ROW __attribute__((cleanup(image_row_free))) struct image_row

extern const struct record_table image_row_record;

#endif
