/*
 * QEMU's microvm machine, driven by QMP (host/vmm/qmp.h); also runs without KVM. It gets an i8042 and a keyboard,
 * so that Ctrl-Alt-Del asks a guest to end just as under Firecracker (the power button is pressed as well),
 * and with -no-reboot a guest's own reboot ends the process, as it ends Firecracker. The first group is the
 * row in vmm_drivers[] (see host/vmm/vmm.h); the second is pure and exposed for tests.
 */
#ifndef SMARTVM_HOST_VMM_QEMU_H
#define SMARTVM_HOST_VMM_QEMU_H

#include "core/device.h"
#include "host/vmm/vmm.h"

extern const char *const qemu_noise[];
extern const char *const qemu_lead_ins[];
int qemu_jail(const struct vmm_spec *spec, struct jail *ret, struct error *err);
int qemu_command(const struct vmm_spec *spec, char ***ret_argv, struct error *err);
int qemu_query(const struct vmm_peer *peer, int timeout_ms, enum vmm_state *ret, struct error *err);
int qemu_pause(const struct vmm_peer *peer, int timeout_ms, struct error *err);
int qemu_resume(const struct vmm_peer *peer, int timeout_ms, struct error *err);
int qemu_shutdown(const struct vmm_peer *peer, int timeout_ms, struct error *err);
int qemu_version(const char *binary, char *ret, size_t size, struct error *err);
enum vmm_cause qemu_cause(const char *output, size_t len); /* pure */

/* What adds a device's arguments; NULL: there are none. */
struct argv;
extern void (*const qemu_writers[DEVICE_COUNT_])(struct argv *argv, const struct vmm_spec *spec);

/* The member `status` of the answer to query-status; NULL is refused like any word that is not known. */
int qemu_parse_status(const char *status, enum vmm_state *ret, struct error *err);

#endif
