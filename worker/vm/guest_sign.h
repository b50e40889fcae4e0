/*
 * What a guest's console tells of its kernel: that it lives, that it panicked, that it found no root file system. Signs only ever get worse, as
 * the last words of a kernel come after its first ones, and a panic for want of a root file system says both.
 *
 * The scanner is pure and sees words that come in any number of reads. The sign of a boot stands in the file `guest` of the VM's runtime directory,
 * so that it outlives the daemon and the VMM; the file goes when the next boot begins. Any thread, one scanner per VM. Error: SYSTEM.
 */
#ifndef SMARTVM_WORKER_VM_GUEST_SIGN_H
#define SMARTVM_WORKER_VM_GUEST_SIGN_H

#include "core/condition.h"

enum guest_sign {
    GUEST_BOOTING,  /* nothing was said yet */
    GUEST_UP,       /* the first byte came */
    GUEST_PANICKED, /* "Kernel panic - not syncing" */
    GUEST_NO_ROOT,  /* the kernel, or its initramfs, found no root file system */
    GUEST_SIGN_COUNT_
};

enum condition_reason guest_sign_reason(enum guest_sign sign); /* of the condition `guest` */

/* The words that are looked for, for tests and messages. NULL behind the last one. */
struct guest_words {
    const char *words;
    enum guest_sign sign;
};
extern const struct guest_words guest_words[];

enum { GUEST_TAIL_BYTES = 64 }; /* all words are shorter */

struct guest_scan {
    enum guest_sign sign;
    const char *words; /* that were found, static; NULL for none */
    char tail[GUEST_TAIL_BYTES];
    size_t tail_len;
};

/* Returns whether the sign changed. */
bool guest_scan_add(struct guest_scan *scan, const char *bytes, size_t len);

/* The file; what can't be read is GUEST_BOOTING. *ret_words is static, NULL for none; may itself be NULL. */
enum guest_sign guest_sign_read(const char *dir, const char **ret_words);
int guest_sign_write(const char *dir, enum guest_sign sign, const char *words, struct error *err);

#endif
