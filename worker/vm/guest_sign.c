#include "worker/vm/guest_sign.h"

#include "core/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const enum condition_reason reasons[GUEST_SIGN_COUNT_] = {
    [GUEST_BOOTING] = REASON_BOOTING, [GUEST_UP] = REASON_UP, [GUEST_PANICKED] = REASON_PANICKED, [GUEST_NO_ROOT] = REASON_NO_ROOT};

/* Linux: kernel/panic.c, init/do_mounts.c. The rest: what the usual initramfs say before they give up. */
const struct guest_words guest_words[] = {
    {"Kernel panic - not syncing", GUEST_PANICKED},
    {"Unable to mount root fs", GUEST_NO_ROOT},
    {"VFS: Cannot open root device", GUEST_NO_ROOT},
    {"Unable to find a medium containing a live file system", GUEST_NO_ROOT}, /* live-boot, casper */
    {"does not exist.  Dropping to a shell!", GUEST_NO_ROOT},                 /* initramfs-tools: ALERT!  … */
    {"does not exist. Dropping to a shell!", GUEST_NO_ROOT},
    {"dracut: FATAL: Don't know how to handle 'root=", GUEST_NO_ROOT},
    {"Warning: Could not boot.", GUEST_NO_ROOT},                          /* dracut */
    {"You are now being dropped into an emergency shell", GUEST_NO_ROOT}, /* mkinitcpio */
    {"Unable to find root device", GUEST_NO_ROOT},                        /* mkinitcpio */
    {"initramfs emergency recovery shell launched", GUEST_NO_ROOT},       /* Alpine */
    {"smartvm-guest: the root device", GUEST_NO_ROOT},                    /* deploy/image/initrd-init: … did not appear */
    {"has no file system of the kind", GUEST_NO_ROOT},                    /* the same */
    {NULL, GUEST_BOOTING},
};

enum condition_reason guest_sign_reason(enum guest_sign sign)
{
    return reasons[sign];
}

static void look_for_words(struct guest_scan *scan, const char *bytes, size_t len)
{
    for (const struct guest_words *entry = guest_words; entry->words != NULL; entry++) {
        if (entry->sign > scan->sign && memmem(bytes, len, entry->words, strlen(entry->words)) != NULL) {
            scan->sign = entry->sign;
            scan->words = entry->words;
        }
    }
}

bool guest_scan_add(struct guest_scan *scan, const char *bytes, size_t len)
{
    const enum guest_sign before = scan->sign;
    char joined[2 * GUEST_TAIL_BYTES];
    const size_t head = len < GUEST_TAIL_BYTES ? len : GUEST_TAIL_BYTES;
    if (len > 0 && scan->sign == GUEST_BOOTING) {
        scan->sign = GUEST_UP;
    }
    memcpy(joined, scan->tail, scan->tail_len);
    memcpy(joined + scan->tail_len, bytes, head);
    look_for_words(scan, joined, scan->tail_len + head);
    look_for_words(scan, bytes, len);
    /* A guest writes byte by byte, so the words may come in many reads. */
    const char *last = len < GUEST_TAIL_BYTES ? joined : bytes;
    const size_t last_len = len < GUEST_TAIL_BYTES ? scan->tail_len + len : len;
    const size_t keep = last_len < GUEST_TAIL_BYTES ? last_len : GUEST_TAIL_BYTES;
    memmove(scan->tail, last + last_len - keep, keep);
    scan->tail_len = keep;
    return scan->sign != before;
}

static const char *known_words(const char *text)
{
    for (const struct guest_words *entry = guest_words; entry->words != NULL; entry++) {
        if (strcmp(entry->words, text) == 0) {
            return entry->words;
        }
    }
    return NULL;
}

enum guest_sign guest_sign_read(const char *dir, const char **ret_words)
{
    char path[256];
    char name[16];
    char words[GUEST_TAIL_BYTES + 1] = "";
    (void)snprintf(path, sizeof path, "%s/guest", dir);
    AUTO_FCLOSE FILE *file = fopen(path, "re");
    const bool read = file != NULL && fscanf(file, "%15s %64[^\n]", name, words) >= 1;
    if (ret_words != NULL) {
        *ret_words = read ? known_words(words) : NULL;
    }
    for (int i = 0; read && i < GUEST_SIGN_COUNT_; i++) {
        if (strcmp(name, condition_reason_name(reasons[i])) == 0) {
            return (enum guest_sign)i;
        }
    }
    return GUEST_BOOTING;
}

int guest_sign_write(const char *dir, enum guest_sign sign, const char *words, struct error *err)
{
    char path[256];
    char temporary[256];
    (void)snprintf(path, sizeof path, "%s/guest", dir);
    (void)snprintf(temporary, sizeof temporary, "%s/guest.new", dir);
    AUTO_FCLOSE FILE *file = fopen(temporary, "we");
    if (file == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be written", temporary);
    }
    if (fprintf(file, "%s %s\n", condition_reason_name(reasons[sign]), words != NULL ? words : "") < 0 || fflush(file) != 0 || rename(temporary, path) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be written", path);
    }
    return 0;
}
