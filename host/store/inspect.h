/*
 * Is a file of an image what it is to be? Reading and unpacking what others made is the work of a process of its own without any rights, the inspector
 * (server/inspector_process.h), as the libraries that unpack may have faults. This is what it does, and what it and the worker say to each other.
 */
#ifndef SMARTVM_HOST_STORE_INSPECT_H
#define SMARTVM_HOST_STORE_INSPECT_H

#include "core/error.h"

#include <stdint.h>

/* What a file is to be. */
enum store_use {
    STORE_ANYTHING, /* not looked at */
    STORE_KERNEL,   /* an ELF (host/store/kernel_image.h); a bzImage (vmlinuz; gzip, LZMA, XZ, Zstandard, LZ4) is unpacked and the ELF stored: the digest
                       that is checked is that of the given file, the name is that of the stored one */
    STORE_ROOTFS,   /* host/store/rootfs_image.h */
    STORE_INITRD,   /* host/store/initrd_image.h */
    STORE_USE_COUNT_
};

enum { INSPECTION_TYPE_MAX = 16, INSPECTION_WORD_MAX = 64, INSPECTION_ANSWER_MAX = 2048 };

struct inspection {
    enum store_use use;
    uint64_t max_bytes;                    /* of what is unpacked */
    char rootfs_type[INSPECTION_TYPE_MAX]; /* of STORE_ROOTFS: "ext4" or "squashfs"; else "" */
};

/*
 * Looks at the file `in`, which nobody else may write to, from its beginning; a kernel that is packed is unpacked into the file `out`, which is empty, and
 * *ret_unpacked is set, also when what was in it is no kernel. The message goes on where the file's name ends. Uses no system call that opens anything.
 * Errors: INVALID_MANIFEST, PAYLOAD_TOO_LARGE, INSUFFICIENT_STORAGE, OUT_OF_MEMORY, SYSTEM.
 */
int inspect_file(const struct inspection *what, int in, int out, bool *ret_unpacked, struct error *err);

/* What is to be done, as one word of a command line: "kernel:536870912:". */
void inspection_word(const struct inspection *what, char ret[INSPECTION_WORD_MAX]);
bool inspection_parse(const char *word, struct inspection *ret);

/* What the inspector has found, as bytes of a pipe: `result` is that of inspect_file(). False when it could not be written. */
bool inspection_tell(int fd, int result, bool unpacked, const struct error *found);
/* The same, as it came from one that is believed nothing: what is no answer is an error of the code SYSTEM. Returns the result. */
int inspection_hear(const uint8_t *bytes, size_t len, bool *ret_unpacked, struct error *err);

#endif
