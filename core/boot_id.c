#include "core/boot_id.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int boot_id_read(char ret[BOOT_ID_MAX], struct error *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char text[BOOT_ID_MAX + 1] = {0};
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read %s", path);
    }
    text[strcspn(text, "\n")] = '\0';
    if (strlen(text) != BOOT_ID_MAX - 1) {
        return error_set(err, ERR_SYSTEM, "the kernel's boot id is not a UUID: %s", text);
    }
    memcpy(ret, text, BOOT_ID_MAX);
    return 0;
}
