#include "core/memory_file.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

int memory_file_make(const char *name, const uint8_t *data, size_t len, int *ret_fd, struct error *err)
{
    AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "no file in memory could be made");
    }
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, data + done, len - done, (off_t)done);
        if (n < 0 && errno != EINTR) {
            return error_sys(err, ERR_SYSTEM, errno, "the file in memory could not be written");
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the file in memory could not be sealed");
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int memory_file_read(int fd, size_t max, uint8_t **ret, size_t *ret_len, struct error *err)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return error_set(err, ERR_BAD_REQUEST, "what was handed over is no sealed file in memory");
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > max) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "what was handed over has more than %zu bytes", max);
    }
    size_t len = (size_t)st.st_size;
    AUTO_FREE uint8_t *data = malloc(len + 1);
    if (data == NULL) {
        return error_oom(err);
    }
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, data + done, len - done, (off_t)done);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return error_sys(err, ERR_SYSTEM, n == 0 ? EIO : errno, "what was handed over could not be read");
        }
        done += n > 0 ? (size_t)n : 0;
    }
    *ret = TAKE_PTR(data);
    *ret_len = len;
    return 0;
}
