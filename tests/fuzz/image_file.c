/* Files of images, whose first byte here says what they are to be: kernel, root file system of either kind, initrd. */
#include "core/cleanup.h"
#include "host/store/file_kind.h"
#include "host/store/initrd_image.h"
#include "host/store/kernel_image.h"
#include "host/store/rootfs_image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"ext4", "squashfs"};
    struct error err = {.code = ERR_INTERNAL};
    int result = -1;
    if (size == 0) {
        return 0;
    }
    size_t len = size - 1;
    AUTO_FREE uint8_t *bytes = malloc(len > 0 ? len : 1); /* so that a byte behind the end is noticed */
    if (bytes == NULL) {
        return 0;
    }
    memcpy(bytes, data + 1, len);
    if (file_kind_of(bytes, len) == NULL) {
        abort();
    }
    switch (data[0] & 3) {
    case 0:
    case 1:
        result = rootfs_image_check(bytes, len, types[data[0] & 1], &err);
        break;
    case 2:
        result = initrd_image_check(bytes, len, 1 << 20, &err);
        break;
    default:
        result = kernel_image_check_elf(bytes, len, &err);
        break;
    }
    if (result != 0 && err.message[0] == '\0') {
        abort();
    }
    return 0;
}
