/* What the VMM drivers share. Any thread. */
#ifndef SMARTVM_HOST_VMM_COMMON_H
#define SMARTVM_HOST_VMM_COMMON_H

#include "core/limits.h"
#include "host/vmm/vmm.h"

/* Where the VMM makes its socket, as it sees it. VMM_FAILED when that is longer than the address of a unix socket. */
int vmm_socket_path(const struct vmm_spec *spec, char buf[LIMIT_SOCKET_PATH_BYTES], struct error *err);

/* As the VMM itself sees them: a file of its runtime directory, its kernel and initrd (NULL: none), and a drive. */
enum { VMM_PATH_MAX = 256 };
int vmm_path(const struct vmm_spec *spec, const char *name, char buf[VMM_PATH_MAX], struct error *err);
const char *vmm_kernel(const struct vmm_spec *spec);
const char *vmm_initrd(const struct vmm_spec *spec);
const char *vmm_drive(const struct vmm_spec *spec, const struct vmm_drive *drive, char buf[VMM_PATH_MAX]);

/* Binds those into a jail, below `prefix` ("" or "…/"), and bounds the size of its files by that of the drives and `bytes`. */
int vmm_jail_files(const struct vmm_spec *spec, const char *prefix, uint64_t bytes, struct jail *jail, struct error *err);

/* The i-th drive as the guest sees them: the root device first, the others as they stand in the
 * specification. */
const struct vmm_drive *vmm_drive_at(const struct vmm_spec *spec, size_t i);

/* Runs `<binary> --version` (at most 5 s) and takes the version out of its output. VMM_UNAVAILABLE. */
int vmm_run_version(const char *binary, const char *lead_in, char *ret, size_t size, struct error *err);

/* The word of digits and dots behind `lead_in`: ("Firecracker v1.12.1\n", "Firecracker v") gives "1.12.1".
 * False when there is none or it does not fit. Pure. */
bool vmm_parse_version(const char *output, const char *lead_in, char *ret, size_t size);

#endif
