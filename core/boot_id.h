/* The kernel's id of this boot of the host (random(4)): by it a time since the boot, or a pid, is known to be of another boot. Any thread. */
#ifndef SMARTVM_CORE_BOOT_ID_H
#define SMARTVM_CORE_BOOT_ID_H

#include "core/error.h"

enum { BOOT_ID_MAX = 37 }; /* a UUID, with the terminator */

/* Error: SYSTEM. */
int boot_id_read(char ret[BOOT_ID_MAX], struct error *err);

#endif
