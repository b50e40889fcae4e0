/*
 * Opening a file of the host that a client named. Only for host/store*.c.
 *
 * The path counts as allowed when it lies below one of the roots both as it is written and as the kernel
 * resolved it: what is judged is the path of the opened descriptor, so nothing that changes meanwhile can
 * lead elsewhere. Before that the file is only held by O_PATH: no device is touched, no FIFO waits for its
 * other side.
 */
#ifndef SMARTVM_HOST_STORE_SOURCE_H
#define SMARTVM_HOST_STORE_SOURCE_H

#include "core/error.h"

#include <sys/stat.h>

/* For reading; *ret owned by the caller. PATH_NOT_ALLOWED, INVALID_MANIFEST when there is none, SYSTEM. */
int store_source_open(const char *const *roots, size_t root_count, const char *path, int *ret, struct stat *ret_stat, struct error *err);

#endif
