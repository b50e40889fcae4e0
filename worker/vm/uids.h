/*
 * The uids that VMMs run under: a file for each one that is taken, <dir>/<uid>, in a directory that only root can enter and that all daemons of a host share (so two of
 * them never give out the same one). Its content is the state_dir of the daemon and the VM's id. The directory lies in /run: with the host's reboot all VMMs end, and all
 * uids are free.
 *
 * A uid that was given back rests for UIDS_QUARANTINE_S as an empty file, and is never given out while any process of the host has it. Any thread.
 * Error: SYSTEM, also when all of the range are taken.
 */
#ifndef SMARTVM_WORKER_VM_UIDS_H
#define SMARTVM_WORKER_VM_UIDS_H

#include "core/config.h"
#include "core/error.h"

#include <sys/types.h>

#define UIDS_DIR "/run/smartvm.uids"
enum { UIDS_QUARANTINE_S = 60 };

struct uids;

/* Reads what is there. Files of a daemon whose state_dir is gone are removed. */
int uids_open(const char *dir, const struct config *config, struct uids **ret, struct error *err);
void uids_close(struct uids *uids); /* harmless on NULL; what is taken stays taken */

/* The VM's own: the one that it has, else another. Idempotent. */
int uids_take(struct uids *uids, const char *id, uid_t *ret, struct error *err);

/* The VM has this one, as its boot's record says; somebody may have removed the file. Nothing happens when the VM has one, or somebody else has that. */
void uids_restore(struct uids *uids, const char *id, uid_t uid);

/* Ends whatever runs under it (there should be nothing any more), and gives it back; none is no failure. */
int uids_free(struct uids *uids, const char *id, struct error *err);

uid_t uids_of(struct uids *uids, const char *id); /* 0: it has none */

/* Of this daemon. With no lock held: `each` may free. */
int uids_each(struct uids *uids, int (*each)(const char *id, uid_t uid, void *ctx, struct error *err), void *ctx, struct error *err);

/* Is a part of the range somebody's by the files passwd, group, subuid and subgid below `etc`? *ret_words says whose; "" when it is not. */
enum { UIDS_WORDS_MAX = 256 };
int uids_check_range(const char *etc, uid_t first, uint32_t count, char ret_words[UIDS_WORDS_MAX], struct error *err);

#endif
