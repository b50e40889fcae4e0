/* What the VMM drivers share. Any thread. */
#ifndef SMARTVM_HOST_VMM_COMMON_H
#define SMARTVM_HOST_VMM_COMMON_H

#include "core/limits.h"
#include "host/vmm/vmm.h"

/* <dir>/api.sock into buf. VMM_FAILED when that is longer than the address of a unix socket. */
int vmm_socket_path(const char *dir, char buf[LIMIT_SOCKET_PATH_BYTES], struct error *err);

/* The i-th drive as the guest sees them: the root device first, the others as they stand in the
 * specification. */
const struct vmm_drive *vmm_drive_at(const struct vmm_spec *spec, size_t i);

/* Runs `<binary> --version` (at most 5 s) and takes the version out of its output. VMM_UNAVAILABLE. */
int vmm_run_version(const char *binary, const char *lead_in, char *ret, size_t size, struct error *err);

/* The word of digits and dots behind `lead_in`: ("Firecracker v1.12.1\n", "Firecracker v") gives "1.12.1".
 * False when there is none or it does not fit. Pure. */
bool vmm_parse_version(const char *output, const char *lead_in, char *ret, size_t size);

#endif
