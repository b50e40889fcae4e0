/* Is there room for a file? Asked before the first byte is written. Any thread. */
#ifndef SMARTVM_HOST_STORE_ROOM_H
#define SMARTVM_HOST_STORE_ROOM_H

#include "core/error.h"

#include <stdint.h>

/*
 * Fails with INSUFFICIENT_STORAGE when the file system that holds `fd` has fewer free bytes than `bytes`. On
 * a tmpfs the free memory of the host (MemAvailable) counts as well. `what` names the file in the message.
 * SYSTEM when it cannot be found out.
 */
int room_check(int fd, uint64_t bytes, const char *what, struct error *err);

/* INSUFFICIENT_STORAGE when errnum says that the room ran out, else `otherwise`. */
enum error_code room_error_code(int errnum, enum error_code otherwise);

#endif
