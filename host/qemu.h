/*
 * QEMU's microvm machine, driven by QMP (host/qmp.h); also runs without KVM. It gets an i8042 and a keyboard,
 * so that Ctrl-Alt-Del asks a guest to end just as under Firecracker (the power button is pressed as well),
 * and with -no-reboot a guest's own reboot ends the process, as it ends Firecracker. The first group is the
 * row in vmm_drivers[] (see host/vmm.h); the second is pure and exposed for tests.
 */
#ifndef SMARTVM_HOST_QEMU_H
#define SMARTVM_HOST_QEMU_H

#include "host/vmm.h"

extern const char qemu_boot_args[];
extern const char *const qemu_noise[];
extern const char *const qemu_lead_ins[];
int qemu_command(const struct vmm_spec *spec, char ***ret_argv, struct error *err);
int qemu_query(const char *dir, int timeout_ms, enum vmm_state *ret, struct error *err);
int qemu_pause(const char *dir, int timeout_ms, struct error *err);
int qemu_resume(const char *dir, int timeout_ms, struct error *err);
int qemu_shutdown(const char *dir, int timeout_ms, struct error *err);
int qemu_version(const char *binary, char *ret, size_t size, struct error *err);

/* The member `status` of the answer to query-status; NULL is refused like any word that is not known. */
int qemu_parse_status(const char *status, enum vmm_state *ret, struct error *err);

#endif
