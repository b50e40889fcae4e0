/* VMMs without a jail by their command lines, for where no cgroup tells. */
#ifndef SMARTVM_HOST_VMM_FIND_H
#define SMARTVM_HOST_VMM_FIND_H

#include "core/error.h"

#include <sys/types.h>

/*
 * Calls `found` for each process of this host that was given the socket of a VM below `run_dir`, as Firecracker (<run_dir>/vm/<id>/api.sock) and QEMU
 * (unix:…/api.sock,…) are. `id` is what stands in the path: anyone may write it into a command line. One pass over /proc. Error: SYSTEM.
 */
int vmm_find_processes(const char *run_dir, void (*found)(pid_t pid, const char *id, void *ctx), void *ctx, struct error *err);

#endif
