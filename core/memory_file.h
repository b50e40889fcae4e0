/*
 * Files in memory that nobody can change any more: data that is too large for a message, handed over as a descriptor. Who gets one believes
 * nothing of it, but that reading it does not wait, and gives the same bytes each time. Any thread.
 */
#ifndef SMARTVM_CORE_MEMORY_FILE_H
#define SMARTVM_CORE_MEMORY_FILE_H

#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

/* A sealed file of these bytes; the name is for whoever looks at the process. */
int memory_file_make(const char *name, const uint8_t *data, size_t len, int *ret_fd, struct error *err);

/* All of it; *ret is owned by the caller (free). BAD_REQUEST for what is no sealed file, PAYLOAD_TOO_LARGE above `max` bytes. */
int memory_file_read(int fd, size_t max, uint8_t **ret, size_t *ret_len, struct error *err);

#endif
